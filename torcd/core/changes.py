"""What changed since each job last ran: files, definitions, user data, missing outputs (SEMANTICS §4).

Examined are jobs that have ended after at least one attempt, each against what its last attempt used. Reasons
are kept as columns, since a plan may hold millions of them.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from torcd.core.fingerprint import Definition, find_definition_changes
from torcd.core.state import ABSENT, NEVER, UNKNOWN, State
from torcd.core.status import ENDED, Status, mask_of

Int64 = NDArray[np.int64]
_EMPTY = np.empty(0, dtype=np.int64)


class Kind(IntEnum):
    """The kinds of reasons; numbers are stored with plans."""

    INPUT_CHANGED = 1
    INPUT_MISSING = 2
    OUTPUT_MISSING = 3
    DEFINITION_CHANGED = 4
    USER_DATA_CHANGED = 5
    UPSTREAM_STALE = 6
    NOT_COMPLETED = 7
    REQUESTED = 8


@dataclass(frozen=True, slots=True)
class Observation:
    """What a scan saw. `files` are indexes; size -1 is absent, -2 unknown with its text in `errors`."""

    files: Int64
    mtime_ns: Int64
    size: Int64
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def unknown(self) -> Int64:
        """The files whose state could not be found out."""
        files: Int64 = self.files[self.size == UNKNOWN]
        return files

    @property
    def absent(self) -> Int64:
        """The files that do not exist."""
        files: Int64 = self.files[self.size == ABSENT]
        return files


def drop_outdated(state: State, seen: Observation, counter: int) -> Observation:
    """What was seen, without the files that were recorded after the version counter stood at `counter`.

    Their record is newer than the look: a job has ended meanwhile, and its worker has seen its outputs.
    """
    newest = state.files.version[seen.files] <= counter
    if newest.all():
        return seen
    return replace(seen, files=seen.files[newest], mtime_ns=seen.mtime_ns[newest], size=seen.size[newest])


@dataclass(frozen=True, slots=True)
class Reasons:
    """Columns of reasons. `ref` is a file, a user data, an entry of `details` or a status, by kind.

    `old_*` and `new_*` are (mtime_ns, size) of a file, or the versions of a user data in `old_a`, `new_a`.
    """

    job: Int64 = field(default_factory=lambda: _EMPTY)
    kind: Int64 = field(default_factory=lambda: _EMPTY)
    ref: Int64 = field(default_factory=lambda: _EMPTY)
    old_a: Int64 = field(default_factory=lambda: _EMPTY)
    old_b: Int64 = field(default_factory=lambda: _EMPTY)
    new_a: Int64 = field(default_factory=lambda: _EMPTY)
    new_b: Int64 = field(default_factory=lambda: _EMPTY)
    details: tuple[tuple[str, object, object], ...] = ()


def make_reasons(
    kind: Kind,
    job: Int64,
    ref: Int64 | int = 0,
    old: tuple[Int64, Int64] | None = None,
    new: tuple[Int64, Int64] | None = None,
    details: tuple[tuple[str, object, object], ...] = (),
) -> Reasons:
    """Reasons of one kind."""
    zero = np.zeros(len(job), dtype=np.int64)
    old_a, old_b = old or (zero, zero)
    new_a, new_b = new or (zero, zero)
    return Reasons(
        job=job.astype(np.int64),
        kind=np.full(len(job), kind, dtype=np.int64),
        ref=np.broadcast_to(np.asarray(ref, dtype=np.int64), job.shape),
        old_a=old_a,
        old_b=old_b,
        new_a=new_a,
        new_b=new_b,
        details=details,
    )


def join_reasons(parts: list[Reasons]) -> Reasons:
    """All reasons, sorted by job; those of one job keep the order of `parts`."""
    details: tuple[tuple[str, object, object], ...] = ()
    refs = []
    for part in parts:
        refs.append(part.ref + len(details) if part.details else part.ref)
        details += part.details
    if not parts:
        return Reasons()
    job = np.concatenate([part.job for part in parts])
    order = np.argsort(job, kind="stable")

    def column(name: str) -> Int64:
        joined: Int64 = np.concatenate([getattr(part, name) for part in parts])[order]
        return joined

    return Reasons(
        job=job[order],
        kind=column("kind"),
        ref=np.concatenate(refs)[order],
        old_a=column("old_a"),
        old_b=column("old_b"),
        new_a=column("new_a"),
        new_b=column("new_b"),
        details=details,
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """What a scan changes: the records to accept, and the jobs that are stale by themselves."""

    files: Int64
    mtime_ns: Int64
    size: Int64
    reasons: list[Reasons]


def find_changes(state: State, seen: Observation) -> Changes:
    """Compares what was seen, and what was edited, with what each job's last attempt used.

    `seen` must not hold unknown files any more: the caller has refused them or taken them out.
    """
    jobs, files = state.jobs, state.files
    examined = mask_of(ENDED)[jobs.status] & (jobs.counter >= 0)
    differs = (files.mtime_ns[seen.files] != seen.mtime_ns) | (files.size[seen.files] != seen.size)
    changed = seen.files[differs]
    reasons = [
        _changed_inputs(state, examined, seen, differs),
        _missing_outputs(state, seen),
        _changed_definitions(state, examined),
        _changed_user_data(state, examined),
    ]
    return Changes(
        files=changed,
        mtime_ns=seen.mtime_ns[differs],
        size=seen.size[differs],
        reasons=reasons,
    )


def _changed_inputs(
    state: State, examined: NDArray[np.bool_], seen: Observation, differs: NDArray[np.bool_]
) -> Reasons:
    """SEMANTICS 4.1 and 4.7: an input has a newer version than the job's last attempt started with.

    Where the record was replaced since then, the job's own is an older one: its size is left as NEVER, for
    the caller to look up in the history.
    """
    files, counter = state.files, state.jobs.counter
    version = files.version.copy()
    version[seen.files[differs]] = state.version_counter + 1
    owner, item = files.inputs.owners(), files.inputs.items
    edges = np.flatnonzero(version[item] > counter[owner])
    edges = edges[examined[owner[edges]]]
    job, file = owner[edges].astype(np.int64), item[edges].astype(np.int64)
    mtime_ns, size = files.mtime_ns.copy(), files.size.copy()
    mtime_ns[seen.files] = seen.mtime_ns
    size[seen.files] = seen.size
    reasons = make_reasons(
        Kind.INPUT_CHANGED,
        job,
        file,
        old=(files.mtime_ns[file], files.size[file]),
        new=(mtime_ns[file], size[file]),
    )
    reasons.kind[size[file] == ABSENT] = Kind.INPUT_MISSING
    reasons.old_b[files.version[file] > counter[job]] = NEVER
    return reasons


def _missing_outputs(state: State, seen: Observation) -> Reasons:
    """SEMANTICS 4.4: a completed job whose output is not there."""
    absent = seen.absent
    producer = state.files.producer[absent].astype(np.int64)
    lost = producer >= 0
    lost[lost] = state.jobs.status[producer[lost]] == Status.COMPLETED
    return make_reasons(Kind.OUTPUT_MISSING, producer[lost], absent[lost])


def definition_at(versions: list[tuple[int, Definition]], counter: int) -> Definition:
    """The definition in force when the version counter stood at `counter`."""
    found = versions[0][1]
    for version, definition in versions:
        if version > counter:
            break
        found = definition
    return found


def _changed_definitions(state: State, examined: NDArray[np.bool_]) -> Reasons:
    """SEMANTICS 4.2: an edited job whose last attempt ran with another definition."""
    jobs: list[int] = []
    details: list[tuple[str, object, object]] = []
    for job, versions in state.definitions.items():
        if examined[job]:
            then = definition_at(versions, int(state.jobs.counter[job]))
            for change in find_definition_changes(then, versions[-1][1]):
                jobs.append(job)
                details.append(change)
    return make_reasons(
        Kind.DEFINITION_CHANGED,
        np.array(jobs, dtype=np.int64),
        np.arange(len(jobs), dtype=np.int64),
        details=tuple(details),
    )


def _changed_user_data(state: State, examined: NDArray[np.bool_]) -> Reasons:
    """SEMANTICS 4.3: an input value differs from the one that the last attempt consumed."""
    values = state.values
    found = []
    for job, index in values.inputs:
        if not examined[job]:
            continue
        counter = int(state.jobs.counter[job])
        version, digest = values.latest(index)
        if version > counter and values.digest_at(index, counter) != digest:
            found.append((job, index, values.version_at(index, counter), version))
    columns = np.array(found, dtype=np.int64).reshape(-1, 4)
    zero = np.zeros(len(columns), dtype=np.int64)
    return make_reasons(
        Kind.USER_DATA_CHANGED,
        columns[:, 0],
        columns[:, 1],
        old=(columns[:, 2], zero),
        new=(columns[:, 3], zero),
    )
