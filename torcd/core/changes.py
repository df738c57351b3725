"""What changed since each job last ran: files, definitions, user data, missing outputs (SEMANTICS §4).

Examined are jobs that have ended after at least one attempt, each against what its last attempt used. Reasons
are kept as columns, since a plan may hold millions of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torcd.core.fingerprint import Definition, find_definition_changes, read_definition
from torcd.core.observation import Observation, has_changed, has_moved, needs_recording
from torcd.core.state import ABSENT, NEVER, State, has_digest
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
    OUTPUT_NEEDED = 9
    ACCEPTED = 10
    UPSTREAM_SETTLED = 11
    UNDONE = 12


@dataclass(frozen=True, slots=True)
class Reasons:
    """Columns of reasons. `ref` is a file, a user data, an entry of `details` or a status, by kind.

    `old_*` and `new_*` are (mtime_ns, size) of a file, or the versions of a user data in `old_a`, `new_a`. A status has
    its own reason in `old_a`.
    """

    job: Int64 = field(default_factory=lambda: _EMPTY)
    kind: Int64 = field(default_factory=lambda: _EMPTY)
    ref: Int64 = field(default_factory=lambda: _EMPTY)
    old_a: Int64 = field(default_factory=lambda: _EMPTY)
    old_b: Int64 = field(default_factory=lambda: _EMPTY)
    new_a: Int64 = field(default_factory=lambda: _EMPTY)
    new_b: Int64 = field(default_factory=lambda: _EMPTY)
    details: tuple[tuple[str, object, object], ...] = ()

    def of(self, jobs: NDArray[np.bool_]) -> "Reasons":
        """The reasons of some jobs, given as a mask."""
        kept = jobs[self.job]
        if kept.all():
            return self
        return replace(self, **{name: getattr(self, name)[kept] for name in COLUMNS})


COLUMNS = ("job", "kind", "ref", "old_a", "old_b", "new_a", "new_b")


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


class Record(NamedTuple):
    """A record that was replaced since."""

    mtime_ns: int
    size: int
    digest: bytes | None


History = Mapping[tuple[int, int], Record]
"""By (file, version counter): the record in force when the counter stood there, where it was replaced since."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a scan changes: the records to accept, and the jobs that are stale by themselves."""

    records: Observation
    reasons: list[Reasons]


def find_changes(state: State, seen: Observation, history: History) -> Changes:
    """Compares what was seen, and what was edited, with what each job's last attempt used.

    `seen` must not hold unknown files any more: the caller has refused them or taken them out.
    """
    examined = mask_of(ENDED)[state.jobs.status] & (state.jobs.counter >= 0)
    changed = has_changed(state.files, seen)
    recording = changed if seen.digest is None else needs_recording(state.files, seen)
    reasons = [
        _changed_inputs(state, examined, seen, changed, history),
        _missing_outputs(state, seen),
        _changed_definitions(state, examined),
        _changed_user_data(state, examined),
    ]
    return Changes(records=seen.rows(recording), reasons=reasons)


def _changed_inputs(
    state: State, examined: NDArray[np.bool_], seen: Observation, changed: NDArray[np.bool_], history: History
) -> Reasons:
    """SEMANTICS 4.1, 4.7 and 4.9: an input has a newer version than the job's last attempt started with.

    Where the record was replaced since then the job's own is an older one, from the history: content that is
    the same as then makes nothing stale.
    """
    files, counter = state.files, state.jobs.counter
    version = files.version.copy()
    version[seen.files[changed]] = state.version_counter + 1
    owner, item = files.inputs.owners(), files.inputs.items
    edges = np.flatnonzero(version[item] > counter[owner])
    edges = edges[examined[owner[edges]]]
    job, file = owner[edges].astype(np.int64), item[edges].astype(np.int64)
    mtime_ns, size, digest = files.mtime_ns.copy(), files.size.copy(), files.digest
    mtime_ns[seen.files] = seen.mtime_ns
    size[seen.files] = seen.size
    if seen.digest is not None:
        digest = digest.copy()
        told = has_digest(seen.digest) | has_moved(files, seen)  # what was not read is as recorded
        digest[seen.files[told]] = seen.digest[told]
    old_mtime_ns, old_size = files.mtime_ns[file], files.size[file]
    is_same = np.zeros(len(edges), dtype=np.bool_)
    for place in np.flatnonzero(files.version[file] > counter[job]).tolist():
        then = history.get((int(file[place]), int(counter[job[place]])))
        old_mtime_ns[place], old_size[place] = (0, NEVER) if then is None else then[:2]
        if seen.digest is not None and then is not None and then.digest is not None:
            is_same[place] = then.digest == digest[file[place]].tobytes()
    reasons = make_reasons(
        Kind.INPUT_CHANGED,
        job[~is_same],
        file[~is_same],
        old=(old_mtime_ns[~is_same], old_size[~is_same]),
        new=(mtime_ns[file][~is_same], size[file][~is_same]),
    )
    reasons.kind[reasons.new_b == ABSENT] = Kind.INPUT_MISSING
    return reasons


def _missing_outputs(state: State, seen: Observation) -> Reasons:
    """SEMANTICS 4.4: a completed job whose output is not there."""
    absent = seen.absent
    producer = state.files.producer[absent].astype(np.int64)
    lost = producer >= 0
    lost[lost] = state.jobs.status[producer[lost]] == Status.COMPLETED
    return make_reasons(Kind.OUTPUT_MISSING, producer[lost], absent[lost])


def definition_at(versions: list[tuple[int, Definition | str]], counter: int) -> Definition:
    """The definition in force when the version counter stood at `counter`."""
    found = versions[0][1]
    for version, definition in versions:
        if version > counter:
            break
        found = definition
    return read_definition(found)


def _changed_definitions(state: State, examined: NDArray[np.bool_]) -> Reasons:
    """SEMANTICS 4.2: an edited job whose last attempt ran with another definition."""
    jobs: list[int] = []
    details: list[tuple[str, object, object]] = []
    for job, versions in state.definitions.items():
        if examined[job]:
            then = definition_at(versions, int(state.jobs.counter[job]))
            for change in find_definition_changes(then, read_definition(versions[-1][1])):
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
