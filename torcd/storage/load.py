"""Loads a workflow's state from the database, a million jobs in a few seconds.

Numbers come as one text per block of ids (`group_concat`), several times faster than row by row; a block keeps
each text far below SQLite's limit.
"""

import sqlite3
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.fingerprint import Definition
from torcd.core.graph import build_graph, make_rows, pack, sorted_unique
from torcd.core.placement import Requirement
from torcd.core.ranges import find_blocks
from torcd.core.state import DIGEST, NEVER, Digests, Files, Ids, Jobs, State, Values
from torcd.protocol.errors import NotFound
from torcd.protocol.specification import FailureHandlerSpec
from torcd.storage.actions import load_actions

Int64 = NDArray[np.int64]
STEP = 200_000
"""Ids in one block."""
GAP = 50
"""Rows of other workflows between two of a workflow's: more cost more to read over than a statement of its own."""


class _Header(msgspec.Struct, frozen=True):
    """What decisions need of a workflow's header."""

    failure_handlers: list[FailureHandlerSpec] = []


@dataclass(frozen=True, slots=True)
class Region:
    """Where the rows of a workflow's jobs, or of its files, lie."""

    workflow_id: int
    ids: Int64
    """Ascending."""
    blocks: list[tuple[int, int]]
    """First and last ids, for tables in which the workflow's rows lie among those of others."""
    stretches: list[tuple[int, int]]
    """The same for tables that are clustered by workflow, where gaps cost nothing."""


def load_state(db: sqlite3.Connection, workflow_id: int) -> State:
    """The state of one workflow; raises NotFound."""
    row = db.execute(
        "SELECT name, submission_directory, detect, sort_method, run_id, counter, event_seq,"
        " attempt_floor, is_canceled, is_archived, header FROM workflow WHERE id = ?",
        (workflow_id,),
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no workflow {workflow_id}", noun="workflow", id=workflow_id)
    name, directory, detect, sort_method, run_id, counter, event_seq, floor, is_canceled, is_archived, header = row
    job_region = _find_region(db, "SELECT group_concat(job_id, ' ') FROM job_state", workflow_id)
    file_region = _find_region(db, "SELECT group_concat(id, ' ') FROM file INDEXED BY file_by_workflow", workflow_id)
    job_ids, file_ids = job_region.ids, file_region.ids
    by_id, files_by_id = Ids(job_ids), Ids(file_ids)
    inputs = _pairs(db, "job_input", "file_id", job_region)
    outputs = _pairs(db, "job_output", "file_id", job_region)
    values = _load_values(db, workflow_id)
    data_inputs, data_outputs = _load_value_edges(db, workflow_id, by_id, values.ids)
    input_of = by_id.find(inputs[0]), files_by_id.find(inputs[1])
    output_of = by_id.find(outputs[0]), files_by_id.find(outputs[1])
    explicit = _pairs(db, "job_dependency", "upstream_id", job_region)
    edges = np.concatenate(
        [
            pack(by_id.find(explicit[1]), by_id.find(explicit[0])),
            _edges_by_output(output_of, input_of, len(file_ids)),
            _edges_by_output(data_outputs, data_inputs, len(values.ids)),
        ]
    )
    graph, order = build_graph(len(job_ids), edges)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))

    requirements, requirement_index = _load_requirements(db, workflow_id)
    handlers = msgspec.json.decode(header, type=_Header).failure_handlers
    handler = _load_handlers(db, job_region, by_id, [each.name for each in handlers])[order]
    jobs = _load_jobs(db, job_region, Ids(job_ids[order]), order, requirement_index, handler)
    files = _load_files(db, file_region, files_by_id, place, input_of, output_of, len(job_ids))
    for job, index in zip(*_lists(data_inputs), strict=True):
        values.inputs.append((int(place[job]), index))
    for job, index in zip(*_lists(data_outputs), strict=True):
        values.outputs_of.setdefault(int(place[job]), []).append(index)
        values.producer[index] = place[job]
    return State(
        workflow_id=workflow_id,
        name=name,
        submission_directory=directory,
        detect=detect,
        run_id=run_id,
        version_counter=counter,
        event_seq=event_seq,
        attempt_floor=floor,
        is_canceled=bool(is_canceled),
        is_archived=bool(is_archived),
        graph=graph,
        jobs=jobs,
        files=files,
        values=values,
        requirements=requirements,
        sort_method=sort_method,
        handlers=handlers,
        actions=load_actions(db, workflow_id, jobs.ids),
        definitions=_load_definitions(db, workflow_id, jobs.ids),
    )


def _lists(pair: tuple[Int64, Int64]) -> tuple[list[int], list[int]]:
    return pair[0].tolist(), pair[1].tolist()


def _numbers(texts: list[str | None]) -> Int64:
    columns = [np.fromstring(text, dtype=np.int64, sep=" ") for text in texts if text]
    return np.concatenate(columns) if columns else np.empty(0, dtype=np.int64)


def _find_region(db: sqlite3.Connection, select: str, workflow_id: int) -> Region:
    """The region of the ids that `select` gives in their order."""
    ids = _numbers([db.execute(f"{select} WHERE workflow_id = ?", (workflow_id,)).fetchone()[0]])
    return Region(workflow_id, ids, find_blocks(ids, STEP, GAP), find_blocks(ids, STEP))


def _texts(db: sqlite3.Connection, select: str, key: str, region: Region) -> list[str | None]:
    """One text for each block of a region."""
    is_wide = key == "id"
    where = f"WHERE {'+' if is_wide else ''}workflow_id = ? AND {key} BETWEEN ? AND ?"
    return [
        db.execute(f"{select} {where}", (region.workflow_id, first, last)).fetchone()[0]
        for first, last in (region.blocks if is_wide else region.stretches)
    ]


def _column(db: sqlite3.Connection, select: str, key: str, region: Region) -> Int64:
    return _numbers(_texts(db, select, key, region))


def _pairs(db: sqlite3.Connection, table: str, other: str, region: Region) -> tuple[Int64, Int64]:
    """(job ids, other ids) of a table of pairs. Ids stay below 2**31 here, so a pair fits one number."""
    packed = _column(db, f"SELECT group_concat(job_id * 4294967296 + {other}, ' ') FROM {table}", "job_id", region)
    return packed >> 32, packed & 0xFFFFFFFF


def _edges_by_output(outputs: tuple[Int64, Int64], inputs: tuple[Int64, Int64], count: int) -> Int64:
    """Edges from each thing's producer to all that take it; a thing has at most one producer."""
    producer = np.full(count, -1, dtype=np.int64)
    producer[outputs[1]] = outputs[0]
    upstream = producer[inputs[1]]
    made = upstream >= 0
    return sorted_unique(pack(upstream[made], inputs[0][made]))


def _load_requirements(db: sqlite3.Connection, workflow_id: int) -> tuple[list[Requirement], dict[int, int]]:
    rows = db.execute(
        "SELECT id, name, num_cpus, memory_bytes, num_gpus, num_nodes, runtime_s FROM requirement"
        " WHERE workflow_id = ? ORDER BY id",
        (workflow_id,),
    ).fetchall()
    return [Requirement(*row[1:]) for row in rows], {row[0]: index for index, row in enumerate(rows)}


def _load_handlers(db: sqlite3.Connection, region: Region, jobs: Ids, names: list[str]) -> NDArray[np.int32]:
    """Of each job, in the order of the ids, which of the handlers it has; -1: none."""
    handler = np.full(len(jobs), -1, dtype=np.int32)
    place = {name: index for index, name in enumerate(names)}
    for first, last in region.blocks if names else ():
        for name, text in db.execute(
            "SELECT failure_handler, group_concat(id, ' ') FROM job WHERE +workflow_id = ? AND id BETWEEN ? AND ?"
            " AND failure_handler IS NOT NULL GROUP BY failure_handler",
            (region.workflow_id, first, last),
        ):
            handler[jobs.find(_numbers([text]))] = place[name]
    return handler


def _load_jobs(
    db: sqlite3.Connection,
    region: Region,
    ids: Ids,
    order: Int64,
    requirement_index: dict[int, int],
    handler: NDArray[np.int32],
) -> Jobs:
    wide = {
        name: _column(db, f"SELECT group_concat({expression}, ' ') FROM job", "id", region)[order]
        for name, expression in (
            ("priority", "priority"),
            ("cancel", "cancel_on_failure"),
            ("requirement", "coalesce(requirement_id, 0)"),
            ("length", "200 + length(name) + length(command) + length(env)"),
        )
    }
    narrow = {
        name: _column(db, f"SELECT group_concat({name}, ' ') FROM job_state", "job_id", region)[order]
        for name in ("reason", "attempt", "run_id", "worker_id", "claim_counter", "counter", "retries")
    }
    standing = _column(db, "SELECT group_concat(2 * status + may_return, ' ') FROM job_state", "job_id", region)[order]
    requirement = np.full(len(order), -1, dtype=np.int32)
    if requirement_index:
        known = np.array(list(requirement_index), dtype=np.int64)  # ascending, with indexes 0, 1, 2, …
        places = np.minimum(np.searchsorted(known, wide["requirement"]), len(known) - 1)
        found = known[places] == wide["requirement"]
        requirement[found] = places[found]
    return Jobs(
        ids=ids,
        status=(standing >> 1).astype(np.uint8),
        reason=narrow["reason"].astype(np.uint8),
        attempt=narrow["attempt"].astype(np.int32),
        run_id=narrow["run_id"].astype(np.int32),
        worker=narrow["worker_id"].astype(np.int32),
        claim_counter=narrow["claim_counter"],
        counter=narrow["counter"],
        cancel_on_failure=wide["cancel"].astype(np.bool_),
        priority=wide["priority"].astype(np.int32),
        requirement=requirement,
        length=wide["length"].astype(np.int32),
        handler=handler,
        retries=narrow["retries"].astype(np.int32),
        may_return=(standing & 1).astype(np.bool_),
    )


def _load_files(
    db: sqlite3.Connection,
    region: Region,
    ids: Ids,
    place: Int64,
    inputs: tuple[Int64, Int64],
    outputs: tuple[Int64, Int64],
    job_count: int,
) -> Files:
    count = len(ids)
    texts = _texts(db, "SELECT group_concat(path, char(0)) FROM file", "id", region)
    paths = b"".join(text.encode(errors="surrogateescape") + b"\0" for text in texts if text)
    ends = np.flatnonzero(np.frombuffer(paths, dtype=np.uint8) == 0) + 1
    kind = _column(db, "SELECT group_concat(2 * may_be_missing + is_script, ' ') FROM file", "id", region)
    mtime_ns = np.zeros(count, dtype=np.int64)
    size = np.full(count, NEVER, dtype=np.int64)
    version = np.zeros(count, dtype=np.int64)
    recorded = ids.find(_column(db, "SELECT group_concat(file_id, ' ') FROM file_record", "file_id", region))
    for column, name in ((mtime_ns, "mtime_ns"), (size, "size"), (version, "version")):
        column[recorded] = _column(db, f"SELECT group_concat({name}, ' ') FROM file_record", "file_id", region)
    digest, is_racy = _load_digests(db, region, ids)
    producer = np.full(count, -1, dtype=np.int32)
    producer[outputs[1]] = place[outputs[0]]
    return Files(
        ids=ids,
        paths=paths,
        offsets=np.concatenate(([0], ends)).astype(np.int64),
        is_script=(kind & 1).astype(np.bool_),
        mtime_ns=mtime_ns,
        size=size,
        version=version,
        digest=digest,
        is_racy=is_racy,
        may_be_missing=kind > 1,
        producer=producer,
        inputs=make_rows(np.sort(pack(place[inputs[0]], inputs[1])), job_count),
        outputs=make_rows(np.sort(pack(place[outputs[0]], outputs[1])), job_count),
    )


def _load_digests(db: sqlite3.Connection, region: Region, ids: Ids) -> tuple[Digests, NDArray[np.bool_]]:
    """Of each file: the digest of its recorded content, and whether that was read too soon after its mtime."""
    digest, is_racy = np.zeros(len(ids), dtype=DIGEST), np.zeros(len(ids), dtype=np.bool_)

    def select(expression: str) -> str:
        return f"SELECT group_concat({expression}, ' ') FILTER (WHERE digest IS NOT NULL) FROM file_record"

    known = ids.find(_column(db, select("file_id"), "file_id", region))
    texts = _texts(db, select("hex(digest)"), "file_id", region)
    digest[known] = np.frombuffer(bytes.fromhex("".join(text for text in texts if text)), dtype=DIGEST)
    is_racy[known] = _column(db, select("is_racy"), "file_id", region).astype(np.bool_)
    return digest, is_racy


def _load_values(db: sqlite3.Connection, workflow_id: int) -> Values:
    rows = db.execute(
        "SELECT id, name, is_ephemeral FROM user_data WHERE workflow_id = ? ORDER BY id", (workflow_id,)
    ).fetchall()
    ids = Ids(np.array([row[0] for row in rows], dtype=np.int64))
    index = {row[0]: place for place, row in enumerate(rows)}
    history: list[list[tuple[int, bytes | None]]] = [[] for _ in rows]
    for user_data_id, version, digest in db.execute(
        "SELECT user_data_id, version, digest FROM user_data_version WHERE workflow_id = ?"
        " ORDER BY user_data_id, version",
        (workflow_id,),
    ):
        history[index[user_data_id]].append((version, digest))
    return Values(
        ids=ids,
        names=[row[1] for row in rows],
        by_name={row[1]: place for place, row in enumerate(rows)},
        is_ephemeral=[bool(row[2]) for row in rows],
        history=history,
        producer=np.full(len(rows), -1, dtype=np.int32),
        inputs=[],
        outputs_of={},
    )


def _load_value_edges(
    db: sqlite3.Connection, workflow_id: int, jobs: Ids, values: Ids
) -> tuple[tuple[Int64, Int64], tuple[Int64, Int64]]:
    """(job, user data) pairs of the inputs and of the outputs, in the order of the ids."""
    found = []
    for is_output in (0, 1):
        rows = db.execute(
            "SELECT job_id, user_data_id FROM job_user_data WHERE workflow_id = ? AND is_output = ?",
            (workflow_id, is_output),
        ).fetchall()
        columns = np.array(rows, dtype=np.int64).reshape(-1, 2)
        found.append((jobs.find(columns[:, 0]), values.find(columns[:, 1])))
    return found[0], found[1]


def _load_definitions(
    db: sqlite3.Connection, workflow_id: int, jobs: Ids
) -> dict[int, list[tuple[int, Definition | str]]]:
    """Only of jobs that have not run with their latest one: an update may edit all jobs of a large workflow."""
    definitions: dict[int, list[tuple[int, Definition | str]]] = {}
    for job_id, version, text in db.execute(
        "SELECT d.job_id, d.version, d.definition FROM job_definition d"
        " JOIN job_state s ON s.workflow_id = d.workflow_id AND s.job_id = d.job_id JOIN job j ON j.id = d.job_id"
        " WHERE d.workflow_id = ? AND j.definition_version > s.counter ORDER BY d.job_id, d.version",
        (workflow_id,),
    ):
        definitions.setdefault(jobs.find_one(job_id), []).append((version, text))
    return definitions
