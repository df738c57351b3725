"""A workflow's present state as arrays: what its actor keeps in memory and decides on.

It is a cache of the database: after a failed commit it is thrown away and loaded again. Indexes of jobs are
places in topological order, indexes of files and user data are places by id.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from torcd.core.fingerprint import Definition
from torcd.core.graph import Graph, Rows, make_rows, pack, sorted_unique
from torcd.core.holder import as_current, as_history
from torcd.core.placement import ReadyQueue, Requirement
from torcd.core.status import BAD, SETTLED, Status, ends_attempt, mask_of, revives_attempt, status_name
from torcd.protocol.specification import ActionSpec, FailureHandlerSpec

NEVER = -3
"""`Files.size` of a file that was never recorded."""
ABSENT = -1
"""`Files.size` of a file that was recorded, or seen, as absent."""
UNKNOWN = -2
"""Size in an observation that could not be made."""

DIGEST = np.dtype([("high", "<i8"), ("low", "<i8")])
"""The digest of a file's content; all zero: not known."""
Digests = NDArray[np.void]
NO_DIGEST = np.zeros((), dtype=DIGEST)


def has_digest(digests: Digests) -> NDArray[np.bool_]:
    """Which of them are known."""
    known: NDArray[np.bool_] = digests != NO_DIGEST
    return known


IS_SETTLED = mask_of(SETTLED)
IS_BAD = mask_of(BAD)


class Ids:
    """Database ids and the indexes that stand for them.

    Those that a workflow was created with are a block of consecutive numbers, found by their offset; any number of
    later ones, which updates have added, are found by bisection.
    """

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self.ids = ids
        """`ids[index]` is the id."""
        self._first = int(ids.min()) if len(ids) else 0
        in_block = ids < self._first + 2 * len(ids)
        self._index = np.full(int(ids[in_block].max()) - self._first + 1 if len(ids) else 0, -1, dtype=np.int32)
        self._index[ids[in_block] - self._first] = np.flatnonzero(in_block)
        later = np.flatnonzero(~in_block)
        self._later = later[np.argsort(ids[later])]
        self._later_ids = ids[self._later]

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of each id, -1 where there is none."""
        places = ids - self._first
        known = (places >= 0) & (places < len(self._index))
        found = np.full(len(ids), -1, dtype=np.int64)
        found[known] = self._index[places[known]]
        if len(self._later) and not known.all():
            rest = np.flatnonzero(~known)
            near = np.minimum(np.searchsorted(self._later_ids, ids[rest]), len(self._later) - 1)
            is_it = self._later_ids[near] == ids[rest]
            found[rest[is_it]] = self._later[near[is_it]]
        return found

    def find_one(self, wanted: int) -> int:
        """The index of one id, -1 when there is none."""
        place = wanted - self._first
        if 0 <= place < len(self._index):
            return int(self._index[place])
        near = int(np.searchsorted(self._later_ids, wanted))
        return int(self._later[near]) if near < len(self._later) and self._later_ids[near] == wanted else -1


@dataclass(slots=True)
class Jobs:
    """Columns over jobs, in topological order."""

    ids: Ids
    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    attempt: NDArray[np.int32]
    run_id: NDArray[np.int32]
    worker: NDArray[np.int32]
    """Who holds or held the latest attempt, 0: nobody; see `holder`."""
    claim_counter: NDArray[np.int64]
    counter: NDArray[np.int64]
    """The version counter at the start of the last attempt, -1: never started."""
    cancel_on_failure: NDArray[np.bool_]
    priority: NDArray[np.int32]
    requirement: NDArray[np.int32]
    length: NDArray[np.int32]
    """About how many bytes it takes to tell a worker of the job."""
    handler: NDArray[np.int32]
    """The failure handler, an index in `State.handlers`; -1: none."""
    retries: NDArray[np.int32]
    """How often it was retried since an operation last touched it."""
    may_return: NDArray[np.bool_]
    """Of a job that was reset: it returns to completed if all that it takes turns out unchanged (SEMANTICS 4.9)."""

    def settle_attempts(self, jobs: NDArray[np.int64], status: int, reason: int) -> None:
        """Notes what a move means for the latest attempts of jobs."""
        if ends_attempt(status, reason):
            self.worker[jobs] = as_history(self.worker[jobs])
        elif revives_attempt(status, reason):
            self.worker[jobs] = as_current(self.worker[jobs])


@dataclass(slots=True)
class Files:
    """Columns over files: paths as one blob, records, and who makes and takes them."""

    ids: Ids
    paths: bytes
    """Absolute paths, each ended by NUL, in the order of the ids."""
    offsets: NDArray[np.int64]
    """Path `i` is `paths[offsets[i]:offsets[i + 1] - 1]`."""
    is_script: NDArray[np.bool_]
    mtime_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    version: NDArray[np.int64]
    digest: Digests
    """Of the recorded content."""
    is_racy: NDArray[np.bool_]
    """The content was read so soon after the mtime that a later write may have left the same time and size."""
    may_be_missing: NDArray[np.bool_]
    """`on_missing: ignore`: its absence alone makes nothing stale."""
    producer: NDArray[np.int32]
    """The job that declares the file as output, -1: a user input."""
    inputs: Rows
    """Of each job, the files it takes, scripts included."""
    outputs: Rows

    def path(self, index: int) -> bytes:
        """One path, as bytes."""
        return self.paths[self.offsets[index] : self.offsets[index + 1] - 1]


@dataclass(slots=True)
class Values:
    """User data: every version's digest, and who makes and takes them."""

    ids: Ids
    names: list[str]
    by_name: dict[str, int]
    is_ephemeral: list[bool]
    """Whether a value is cleared when its producer is to run again."""
    history: list[list[tuple[int, bytes | None]]]
    """Of each user data: (version, digest), oldest first; empty: no value yet."""
    producer: NDArray[np.int32]
    inputs: list[tuple[int, int]]
    """(job, user data) pairs."""
    outputs_of: dict[int, list[int]]
    """Of each job that writes any, the user data it must write."""

    def digest_at(self, index: int, counter: int) -> bytes | None:
        """The digest of the value in force when the version counter stood at `counter`."""
        digest = None
        for version, each in self.history[index]:
            if version > counter:
                break
            digest = each
        return digest

    def version_at(self, index: int, counter: int) -> int:
        """The version in force when the version counter stood at `counter`, -1: none."""
        return max((version for version, _ in self.history[index] if version <= counter), default=-1)

    def latest(self, index: int) -> tuple[int, bytes | None]:
        """The newest (version, digest); (-1, None) when there is no value."""
        return self.history[index][-1] if self.history[index] else (-1, None)


@dataclass(slots=True)
class Action:
    """Something to do when the workflow, or some of its jobs, get somewhere."""

    id: int
    number: int
    """Its place in the specification, from 1."""
    spec: ActionSpec
    jobs: NDArray[np.int64]
    """Those that it is about, ascending; none: the workflow as a whole."""
    is_armed: bool
    """Whether it fires when its moment comes."""
    fired: int
    """How often it has fired."""
    witness: int = field(default=0, compare=False)
    """The place in `jobs` of one that it was last seen to wait for; where to look first."""

    @property
    def is_of_workflow(self) -> bool:
        """Whether it is about the workflow as a whole."""
        return self.spec.trigger_type in {"on_workflow_start", "on_workflow_complete"}


@dataclass
class State:
    """All of one workflow that decisions need."""

    workflow_id: int
    name: str
    submission_directory: str
    detect: str
    run_id: int
    version_counter: int
    event_seq: int
    attempt_floor: int
    """Attempts are numbered above this: up to it, a past that a restored backup does not know of may have used them."""
    is_canceled: bool
    is_archived: bool
    graph: Graph
    jobs: Jobs
    files: Files
    values: Values
    requirements: list[Requirement]
    sort_method: str
    handlers: list[FailureHandlerSpec]
    actions: list[Action]
    definitions: dict[int, list[tuple[int, Definition | str]]]
    """Of each job that was edited since its last attempt began, and perhaps of others: (version, definition), oldest
    first. What was in force before the first one is that one."""
    ready: ReadyQueue = field(init=False)
    waiting: NDArray[np.int32] = field(init=False)
    """Of each job, how many of its dependencies are not settled."""
    bad: NDArray[np.int32] = field(init=False)
    """Of each job, how many of its dependencies failed, were canceled or terminated."""
    counts: NDArray[np.int64] = field(init=False)
    """How many jobs have each status."""

    def __post_init__(self) -> None:
        self.ready = ReadyQueue(self.requirements, self.sort_method, self.jobs.requirement, self.jobs.priority)
        self.recount()
        self.ready.add(np.flatnonzero(self.jobs.status == Status.READY))

    @property
    def count(self) -> int:
        """The number of jobs."""
        return len(self.jobs.status)

    @cached_property
    def order(self) -> Rows:
        """Of each job, the upstream jobs of which it takes nothing: they only have to come before it."""
        files, values, up = self.files, self.values, self.graph.upstream
        taker, producer = files.inputs.owners(), files.producer[files.inputs.items]
        by_value = [(job, int(values.producer[index])) for job, index in values.inputs]
        pairs = np.array(by_value, dtype=np.int64).reshape(-1, 2)
        implied = np.concatenate((pack(taker[producer >= 0], producer[producer >= 0]), pack(pairs[:, 0], pairs[:, 1])))
        edges = pack(up.owners(), up.items)
        return make_rows(edges[~np.isin(edges, implied)], self.count)

    @cached_property
    def takes_values(self) -> dict[int, list[int]]:
        """Of each job that takes any, the user data it takes."""
        taken: dict[int, list[int]] = {}
        for job, index in self.values.inputs:
            taken.setdefault(job, []).append(index)
        return taken

    def recount(self) -> None:
        """Computes what is derived from the statuses anew."""
        self.counts = np.bincount(self.jobs.status, minlength=len(Status)).astype(np.int64)
        self.waiting, self.bad = count_dependencies(self.graph, self.jobs.status)

    def counts_by_name(self) -> dict[str, int]:
        """How many jobs have each status that occurs."""
        return {status_name(status): int(n) for status, n in enumerate(self.counts.tolist()) if n}

    @property
    def is_complete(self) -> bool:
        """Whether every job has ended (SEMANTICS 2.2)."""
        return int(self.counts[IS_SETTLED].sum()) == self.count

    def set_status(
        self, jobs: NDArray[np.int64], status: int, reason: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sets a status and keeps what is derived from it true.

        Returns the blocked jobs whose dependencies have now all settled: those that become ready, and those
        that an upstream failure cancels.
        """
        before = self.jobs.status[jobs]
        self.counts -= np.bincount(before, minlength=len(Status))
        self.counts[status] += len(jobs)
        self.jobs.status[jobs] = status
        self.jobs.reason[jobs] = reason
        self.jobs.settle_attempts(jobs, status, reason)
        settles = int(IS_SETTLED[status]) - IS_SETTLED[before].astype(np.int32)
        spoils = int(IS_BAD[status]) - IS_BAD[before].astype(np.int32)
        if not (settles.any() or spoils.any()):
            return _NO_JOBS, _NO_JOBS
        touched, lengths = self.graph.downstream.gather(jobs)
        np.subtract.at(self.waiting, touched, np.repeat(settles, lengths))
        np.add.at(self.bad, touched, np.repeat(spoils, lengths))
        free = touched[(self.waiting[touched] == 0) & (self.jobs.status[touched] == Status.BLOCKED)]
        if not len(free):
            return _NO_JOBS, _NO_JOBS
        free = sorted_unique(free.astype(np.int64))
        canceled = (self.bad[free] > 0) & self.jobs.cancel_on_failure[free]
        return free[~canceled], free[canceled]


_NO_JOBS = np.empty(0, dtype=np.int64)


def count_dependencies(graph: Graph, status: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Of each job: its dependencies that are not settled, and those that failed, were canceled or terminated."""
    waiting = np.zeros(graph.count, dtype=np.int32)
    bad = np.zeros(graph.count, dtype=np.int32)
    if len(graph.upstream.items):
        upstream = status[graph.upstream.items]
        waiting[:] = _sum_rows(graph.upstream, ~IS_SETTLED[upstream])
        if IS_BAD[status].any():
            bad[:] = _sum_rows(graph.upstream, IS_BAD[upstream])
    return waiting, bad


def _sum_rows(rows: Rows, flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    total = np.zeros(len(flags) + 1, dtype=np.int64)
    np.cumsum(flags, out=total[1:])
    return total[rows.start[1:]] - total[rows.start[:-1]]
