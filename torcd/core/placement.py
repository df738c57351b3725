"""Which ready jobs a worker is handed: what fits, by priority, then by the workflow's sort method.

Jobs that need the same resources and have the same priority wait in one bucket. A claim goes through the
buckets in order and takes from each what still fits, so that one large job at the head of the queue never
keeps the small ones behind it from running.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from torcd.protocol.units import MIB
from torcd.protocol.worker_requests import Capacity


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a job needs, in the units in which it is counted."""

    name: str
    num_cpus: int = 1
    memory_bytes: int = 0
    num_gpus: int = 0
    num_nodes: int = 1
    runtime_s: float = 3600.0

    def ends_within(self, time_left_s: float | None) -> bool:
        """Whether a job with this need has time to end; of one without requirements nobody knows how long it takes."""
        return time_left_s is None or self is NO_REQUIREMENT or self.runtime_s <= time_left_s


def describe_need(need: Requirement) -> str:
    """What a job needs, in words."""
    parts = [f"{need.num_cpus} CPU" + ("s" if need.num_cpus != 1 else "")]
    if need.memory_bytes:
        parts.append(f"{need.memory_bytes / MIB:.6g} MiB of memory")
    if need.num_gpus:
        parts.append(f"{need.num_gpus} GPU" + ("s" if need.num_gpus != 1 else ""))
    return ", ".join(parts)


def describe_lack(need: Requirement, time_left_s: float | None) -> str:
    """That a job takes longer than there is time, in words."""
    return f"the job takes {describe_seconds(need.runtime_s)}, {describe_seconds(time_left_s or 0)} are left"


def describe_seconds(seconds: float) -> str:
    """A length of time, in words: 42 s, 0:12:10."""
    whole = int(seconds)
    return f"{seconds:.3g} s" if seconds < 60 else f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


NO_REQUIREMENT = Requirement(name="")


@dataclass(slots=True)
class Room:
    """What is left of a worker's capacity while a claim is filled; None: not counted."""

    jobs: int
    num_cpus: int | None
    memory_bytes: int | None
    num_gpus: int | None
    time_left_s: float | None = None

    def fits(self, need: Requirement) -> int:
        """How many jobs with this need fit."""
        if not need.ends_within(self.time_left_s):
            return 0
        fitting = self.jobs
        for left, each in (
            (self.num_cpus, need.num_cpus),
            (self.memory_bytes, need.memory_bytes),
            (self.num_gpus, need.num_gpus),
        ):
            if left is not None and each > 0:
                fitting = min(fitting, left // each)
        return max(fitting, 0)

    def take(self, need: Requirement, count: int) -> None:
        """Uses up what `count` such jobs need."""
        self.jobs -= count
        if self.num_cpus is not None:
            self.num_cpus -= need.num_cpus * count
        if self.memory_bytes is not None:
            self.memory_bytes -= need.memory_bytes * count
        if self.num_gpus is not None:
            self.num_gpus -= need.num_gpus * count


SORT_KEYS: dict[str, Callable[[Requirement], tuple[float, ...]]] = {
    "none": lambda need: (),
    "gpus_runtime_memory": lambda need: (-need.num_gpus, -need.runtime_s, -need.memory_bytes),
    "gpus_memory_runtime": lambda need: (-need.num_gpus, -need.memory_bytes, -need.runtime_s),
}
"""The sort methods: requirements with the smaller key are handed out first."""


class Bucket:
    """Ready jobs of one priority and requirement, smallest number first.

    Jobs that became ready together are kept as one array; later ones in a heap.
    """

    __slots__ = ("block", "later", "place")

    def __init__(self) -> None:
        self.block: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.place = 0
        self.later: list[int] = []

    def add(self, jobs: NDArray[np.int64]) -> None:
        """Adds sorted jobs."""
        if self.place == len(self.block):
            self.block, self.place = jobs, 0
        elif len(jobs) < 32:
            for job in jobs.tolist():
                heappush(self.later, job)
        else:
            self.later += jobs.tolist()
            heapify(self.later)

    def pop(self) -> int:
        """The smallest job, or -1 when there is none."""
        if self.place < len(self.block):
            head = int(self.block[self.place])
            if not self.later or head <= self.later[0]:
                self.place += 1
                return head
        return heappop(self.later) if self.later else -1


class ReadyQueue:
    """All ready jobs of a workflow. Entries are dropped lazily: one whose job is not ready any more is skipped."""

    def __init__(
        self,
        requirements: list[Requirement],
        sort_method: str,
        requirement_of: NDArray[np.int32],
        priority_of: NDArray[np.int32],
    ) -> None:
        self.requirements = [*requirements, NO_REQUIREMENT]  # index -1: a job without requirements
        self.sort_key = SORT_KEYS[sort_method]
        self.requirement_of = requirement_of
        self.priority_of = priority_of
        self.buckets: dict[tuple[int, int], Bucket] = {}
        self.order: list[tuple[int, int]] = []
        self.longest_first: list[tuple[int, int]] = []
        """The same for workers whose time is limited, where the sort method leaves it open."""

    def add_requirement(self, need: Requirement) -> None:
        """Takes in requirements that the workflow gets, under the next index."""
        self.requirements.insert(-1, need)

    def _bucket(self, priority: int, requirement: int) -> Bucket:
        key = (priority, requirement)
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = Bucket()
            self.order = sorted(self.buckets, key=lambda each: (*self._rank(each), each[1]))
            self.longest_first = sorted(self.order, key=lambda each: (*self._rank(each), *self._length(each)))
        return bucket

    def _rank(self, key: tuple[int, int]) -> tuple[float, tuple[float, ...]]:
        priority, requirement = key
        return -priority, self.sort_key(self.requirements[requirement])

    def _length(self, key: tuple[int, int]) -> tuple[float, int]:
        """The longest and then the largest first: what is short ends in the time that is left after them, but a Slurm
        job that was asked for because they are long would be too short for them once it has run others."""
        need = self.requirements[key[1]]
        return -need.runtime_s if need is not NO_REQUIREMENT else 0.0, -need.memory_bytes

    def add(self, jobs: NDArray[np.int64]) -> None:
        """Adds jobs that became ready."""
        if not len(jobs):
            return
        jobs = np.sort(jobs)
        requirement, priority = self.requirement_of[jobs], self.priority_of[jobs]
        if (requirement == requirement[0]).all() and (priority == priority[0]).all():
            self._bucket(int(priority[0]), int(requirement[0])).add(jobs)
            return
        keys = (priority.astype(np.int64) << 32) | (requirement.astype(np.int64) & 0xFFFFFFFF)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for group in np.split(order, edges):
            first = group[0]
            self._bucket(int(priority[first]), int(requirement[first])).add(jobs[group])

    def misfits(self, total: Room) -> list[int]:
        """The requirements, as indexes, that exceed what a worker has in all, or the time that it has left."""
        return [index for index, need in enumerate(self.requirements[:-1]) if total.fits(need) < 1]

    def take(self, capacity: Capacity, total: Room, is_ready: Callable[[int], bool]) -> list[int]:
        """Jobs for a worker: first what fits into its free `capacity`, then `capacity.ahead` more.

        `total` is what the worker has in all: a job that exceeds it is left for another worker. A job that would not
        end in the time that the worker has left is left for another one, too, be it ahead or not.
        """
        time_left_s = capacity.time_left_s
        room = Room(capacity.jobs, capacity.num_cpus, capacity.memory_bytes, capacity.num_gpus, time_left_s)
        taken: dict[int, None] = {}
        ahead = capacity.ahead

        def pop(bucket: Bucket, count: int) -> int:
            before = len(taken)
            while len(taken) - before < count:
                job = bucket.pop()
                if job < 0:
                    break
                if is_ready(job):
                    taken[job] = None  # a job that became ready twice is in its bucket twice
            return len(taken) - before

        for key in self.order if time_left_s is None else self.longest_first:
            if room.jobs <= 0 and ahead <= 0:
                break
            need = self.requirements[key[1]]
            if total.fits(need) < 1 or not need.ends_within(time_left_s):
                continue
            bucket = self.buckets[key]
            count = room.fits(need)
            got = pop(bucket, count)
            room.take(need, got)
            if got == count:
                ahead -= pop(bucket, ahead)
        return list(taken)
