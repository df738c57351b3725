"""Makes workflows from small descriptions: a State in memory alone, or rows in a real database.

A graph is written as chains of names, `"a>b>c"`, `"a>d"`: an arrow goes from a job to one that depends on it.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torcd.core.fingerprint import Definition, user_data_digest
from torcd.core.graph import build_graph, make_rows, pack
from torcd.core.placement import Requirement
from torcd.core.specification import expand
from torcd.core.state import ABSENT, DIGEST, NEVER, Files, Ids, Jobs, State, Values
from torcd.core.status import Status, StatusReason
from torcd.protocol.specification import FailureHandlerSpec, FileSpec, Header, JobSpec, Piece, UserDataSpec
from torcd.storage.create import NewWorkflow, insert_workflow
from torcd.storage.migrate import migrate
from torcd.storage.update import Specification

Int64 = NDArray[np.int64]
Record = tuple[int, int, int]
"""(mtime_ns, size, version) of a file."""

DIRECTORY = "/submitted"
"""The submission directory of every workflow that is made here."""

FIRST_JOB, FIRST_FILE, FIRST_VALUE = 101, 501, 901
"""The first ids in a sketch: none of them is an index."""


def parse_chains(chains: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The names, each once in the order of their appearance, and the arrows of chains such as "a>b>c"."""
    names: dict[str, None] = {}
    arrows = []
    for chain in chains:
        steps = [step.strip() for step in chain.split(">")]
        names |= dict.fromkeys(steps)
        arrows += list(itertools.pairwise(steps))
    return list(names), arrows


def links(edges: Iterable[tuple[int, int]]) -> Int64:
    """Edges (upstream, downstream) as the graph takes them."""
    columns = np.array(list(edges), dtype=np.int64).reshape(-1, 2)
    return pack(columns[:, 0], columns[:, 1])


@dataclass
class Sketch:
    """A State that no database knows, and the names of its parts."""

    state: State
    place: dict[str, int]
    """The index of each job."""
    file: dict[str, int]
    value: dict[str, int]

    def jobs(self, *names: str) -> Int64:
        """The sorted indexes of some jobs."""
        return np.array(sorted(self.place[name] for name in names), dtype=np.int64)

    def names(self, jobs: Iterable[int]) -> list[str]:
        """The names of some jobs, in their order."""
        by_place = {index: name for name, index in self.place.items()}
        return [by_place[int(job)] for job in jobs]

    def status(self) -> dict[str, Status]:
        """The status of each job."""
        return {name: Status(int(self.state.jobs.status[index])) for name, index in self.place.items()}

    def reason(self, name: str) -> StatusReason:
        """The status reason of a job."""
        return StatusReason(int(self.state.jobs.reason[self.place[name]]))


def sketch(
    *chains: str,
    status: Mapping[str, Status] | Status = Status.UNINITIALIZED,
    reason: Mapping[str, StatusReason] | None = None,
    inputs: Mapping[str, Sequence[str]] | None = None,
    outputs: Mapping[str, Sequence[str]] | None = None,
    scripts: Sequence[str] = (),
    records: Mapping[str, Record] | None = None,
    reads: Mapping[str, Sequence[str]] | None = None,
    writes: Mapping[str, Sequence[str]] | None = None,
    values: Mapping[str, Sequence[tuple[int, Any]]] | None = None,
    counter: Mapping[str, int] | int = -1,
    version_counter: int | None = None,
    run_id: int = 1,
    never_cancels: Iterable[str] = (),
    priority: Mapping[str, int] | None = None,
    requirements: Sequence[Requirement] = (),
    needs: Mapping[str, str] | None = None,
    sort_method: str = "none",
    definitions: Mapping[str, list[tuple[int, Definition]]] | None = None,
    purgeable: Sequence[str] = (),
    ephemeral: Sequence[str] = (),
    handlers: Sequence[FailureHandlerSpec] = (),
) -> Sketch:
    """A State of the jobs in `chains`; a mapping that leaves a job out gives it the default.

    `inputs`, `outputs`, `reads`, `writes` name files and user data of jobs (and so imply dependencies);
    `values` is the history of user data as (version, value); `counter` the version counter at a job's last
    start. The version counter itself is by default the highest that is mentioned. `purgeable` files may be missing,
    `ephemeral` values end when their producer is to run again. The first of the `handlers` is that of all jobs.
    """
    names, arrows = parse_chains(chains)
    inputs, outputs, reads, writes = inputs or {}, outputs or {}, reads or {}, writes or {}
    number = {name: index for index, name in enumerate(names)}
    files = list(dict.fromkeys(name for each in (outputs, inputs) for listed in each.values() for name in listed))
    data = list(dict.fromkeys(name for each in (writes, reads) for listed in each.values() for name in listed))
    for takers, makers in ((inputs, outputs), (reads, writes)):
        maker = {thing: job for job, things in makers.items() for thing in things}
        arrows += [(maker[thing], job) for job, things in takers.items() for thing in things if thing in maker]
    graph, order = build_graph(len(names), links((number[a], number[b]) for a, b in arrows))
    ordered = [names[index] for index in order.tolist()]
    place = {name: index for index, name in enumerate(ordered)}
    file_at = {name: index for index, name in enumerate(files)}
    value_at = {name: index for index, name in enumerate(data)}

    def column(given: Mapping[str, int] | int | None, default: int, kind: type) -> NDArray[Any]:
        if isinstance(given, int):
            return np.full(len(ordered), given, dtype=kind)
        return np.array([(given or {}).get(name, default) for name in ordered], dtype=kind)

    def rows(of: Mapping[str, Sequence[str]]) -> Any:
        pairs = sorted((place[job], file_at[name]) for job, listed in of.items() for name in listed)
        return make_rows(links(pairs), len(ordered))

    handled = dict.fromkeys(names, 0) if handlers else {}
    need_at = {need.name: index for index, need in enumerate(requirements)}
    known = [(records or {}).get(name, (0, NEVER, 0)) for name in files]
    blobs = [f"{DIRECTORY}/{name}".encode() + b"\0" for name in files]
    producer = np.full(len(files), -1, dtype=np.int32)
    for job, listed in outputs.items():
        for name in listed:
            producer[file_at[name]] = place[job]
    value_producer = np.full(len(data), -1, dtype=np.int32)
    for job, listed in writes.items():
        for name in listed:
            value_producer[value_at[name]] = place[job]
    counters = [counter] if isinstance(counter, int) else list(counter.values())
    written = [version for history in (values or {}).values() for version, _ in history]
    edited = [version for versions in (definitions or {}).values() for version, _ in versions]
    mentioned = [*(max(each, 0) for each in counters), *(record[2] for record in known), *written, *edited]
    zeros = np.zeros(len(ordered), dtype=np.int32)
    state = State(
        workflow_id=1,
        name="sketch",
        submission_directory=DIRECTORY,
        detect="mtime",
        run_id=run_id,
        version_counter=max(mentioned, default=0) if version_counter is None else version_counter,
        event_seq=0,
        attempt_floor=0,
        is_canceled=False,
        is_archived=False,
        graph=graph,
        jobs=Jobs(
            ids=Ids(np.array([FIRST_JOB + number[name] for name in ordered], dtype=np.int64)),
            status=column(status, Status.UNINITIALIZED, np.uint8),
            reason=column(reason, StatusReason.NONE, np.uint8),
            attempt=(column(counter, -1, np.int64) >= 0).astype(np.int32),
            run_id=zeros.copy(),
            worker=zeros.copy(),
            claim_counter=column(counter, -1, np.int64),
            counter=column(counter, -1, np.int64),
            cancel_on_failure=np.array([name not in set(never_cancels) for name in ordered], dtype=np.bool_),
            priority=column(priority, 0, np.int32),
            requirement=np.array([need_at.get((needs or {}).get(name, ""), -1) for name in ordered], dtype=np.int32),
            length=np.full(len(ordered), 200, dtype=np.int32),
            handler=np.array([handled.get(name, -1) for name in ordered], dtype=np.int32),
            retries=zeros.copy(),
            may_return=np.zeros(len(ordered), dtype=np.bool_),
        ),
        files=Files(
            ids=Ids(np.arange(FIRST_FILE, FIRST_FILE + len(files), dtype=np.int64)),
            paths=b"".join(blobs),
            offsets=np.cumsum([0, *(len(blob) for blob in blobs)], dtype=np.int64),
            is_script=np.array([name in scripts for name in files], dtype=np.bool_),
            mtime_ns=np.array([record[0] for record in known], dtype=np.int64),
            size=np.array([record[1] for record in known], dtype=np.int64),
            version=np.array([record[2] for record in known], dtype=np.int64),
            digest=np.zeros(len(files), dtype=DIGEST),
            is_racy=np.zeros(len(files), dtype=np.bool_),
            may_be_missing=np.array([name in purgeable for name in files], dtype=np.bool_),
            producer=producer,
            inputs=rows(inputs),
            outputs=rows(outputs),
        ),
        values=Values(
            ids=Ids(np.arange(FIRST_VALUE, FIRST_VALUE + len(data), dtype=np.int64)),
            names=data,
            by_name=value_at,
            is_ephemeral=[name in ephemeral for name in data],
            history=[
                [(version, user_data_digest(value)) for version, value in (values or {}).get(name, ())] for name in data
            ],
            producer=value_producer,
            inputs=[(place[job], value_at[name]) for job, listed in reads.items() for name in listed],
            outputs_of={place[job]: [value_at[name] for name in listed] for job, listed in writes.items()},
        ),
        requirements=list(requirements),
        sort_method=sort_method,
        handlers=list(handlers),
        actions=[],
        definitions={place[name]: list(versions) for name, versions in (definitions or {}).items()},
    )
    return Sketch(state=state, place=place, file=file_at, value=value_at)


def layered(*widths: int) -> State:
    """A State of so many jobs in each layer, each waiting for all jobs of the layer before. The first layer runs."""
    small = sketch("first").state
    count = sum(widths)
    ends = list(itertools.accumulate(widths))
    layers = [range(end - width, end) for end, width in zip(ends, widths, strict=True)]
    graph, _ = build_graph(
        count, links((a, b) for above, below in itertools.pairwise(layers) for a in above for b in below)
    )
    columns = {field.name: getattr(small.jobs, field.name) for field in fields(Jobs) if field.name != "ids"}
    jobs = Jobs(
        ids=Ids(np.arange(FIRST_JOB, FIRST_JOB + count, dtype=np.int64)),
        **{name: np.repeat(column, count) for name, column in columns.items()},
    )
    jobs.status[:] = Status.BLOCKED
    jobs.status[: widths[0]] = Status.RUNNING
    no_files = make_rows(links([]), count)
    return replace(small, graph=graph, jobs=jobs, files=replace(small.files, inputs=no_files, outputs=no_files))


PRESENT = (1_000, 10, 1)
"""An ordinary record."""
GONE = (-1, ABSENT, 1)
"""The record of a file that was seen to be absent."""


# ---- in a database ----


@cache
def _schema() -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, Path("memory"))
    schema = connection.serialize()
    connection.close()
    return schema


def open_memory() -> sqlite3.Connection:
    """A database of this version that lives in memory; the caller closes it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(_schema())
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def job(name: str, command: str | None = None, **fields: Any) -> JobSpec:
    """A job's specification."""
    return JobSpec(name=name, command=command or f"run {name}", **fields)


def new_specification(
    jobs: Sequence[JobSpec],
    files: Iterable[str] = (),
    user_data: Iterable[UserDataSpec] = (),
    *,
    purgeable: Sequence[str] = (),
    scripts: Sequence[tuple[str, str]] = (),
    paths: Mapping[str, str] | None = None,
    **header: Any,
) -> Specification:
    """A specification, expanded.

    `files` are names; files that jobs name need not be listed; those in `purgeable` may be missing. A file's path is
    its name, unless `paths` has another one. `scripts` are (job, path) pairs.
    """
    named = [name for spec in jobs for name in (*spec.output_files, *spec.input_files)]
    specs = [
        FileSpec(name=name, path=(paths or {}).get(name, name), on_missing="ignore" if name in purgeable else "rerun")
        for name in dict.fromkeys([*files, *named])
    ]
    head = Header(name=header.pop("name", "test"), **header)
    expansion = expand(head, [Piece(jobs=list(jobs), files=specs, user_data=list(user_data))], DIRECTORY)
    place = {each.name: index for index, each in enumerate(expansion.jobs)}
    return Specification(
        header=head, expansion=expansion, scripts=[(place[name], f"{DIRECTORY}/{path}") for name, path in scripts]
    )


def new_workflow(*arguments: Any, request_key: str | None = None, **options: Any) -> NewWorkflow:
    """A workflow ready to be inserted, from what `new_specification` takes."""
    specification = new_specification(*arguments, **options)
    return NewWorkflow(
        header=specification.header,
        expansion=specification.expansion,
        scripts=specification.scripts,
        user="tester",
        directory=DIRECTORY,
        request_key=request_key,
        created_at_ms=1_000,
    )


def chained(*chains: str, **fields: Any) -> list[JobSpec]:
    """Jobs with explicit dependencies, from chains; `fields` are those of every job."""
    names, arrows = parse_chains(chains)
    return [job(name, depends_on=[a for a, b in arrows if b == name], **fields) for name in names]


def linked(*names: str, **fields: Any) -> list[JobSpec]:
    """Jobs of which each takes what the one before makes, `<name>.out`; the first takes x."""
    taken = ["x", *(f"{name}.out" for name in names)]
    return [
        job(name, input_files=[taken[place]], output_files=[f"{name}.out"], **fields)
        for place, name in enumerate(names)
    ]


def insert(db: sqlite3.Connection, new: NewWorkflow) -> int:
    """Inserts a workflow in one transaction."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        return insert_workflow(db, new)
