"""What the roster keeps of one worker."""

from dataclasses import dataclass, field, replace

import trio
from msgspec import structs

from torcd.actors.mailbox import Message
from torcd.core.placement import Room
from torcd.protocol.worker_requests import Capacity

FRESH_S = 1.0
"""For so long nothing is taken off the time that a worker says it has left. At its beginning that is all of its time,
and jobs may take just as much as was asked for: a millisecond less, and no worker would ever start them."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A report that is answered as soon as there is something for the worker."""

    message: Message
    capacity: Capacity | None
    """None: the worker is full and waits only to be told what to stop."""
    lingers: bool
    """Waits even when nothing is left for the worker."""
    timer: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass(slots=True)
class Entry:
    """One worker."""

    worker_id: int
    hostname: str
    total: Room
    pid: int = 0
    process: str = ""
    """What tells its process from all others (`protocol.process`)."""
    allocation_id: int | None = None
    """The allocation that started it."""
    session: object | None = None
    """The connection it speaks on; None while it is away."""
    waiting: Waiting | None = None
    to_stop: dict[tuple[int, int], None] = field(default_factory=dict)
    """(job id, attempt) that must end: their processes may still be alive."""
    told: set[tuple[int, int]] = field(default_factory=set)
    """Those of them that the worker was told of on its present connection."""
    lease: trio.CancelScope | None = None
    told_s: float | None = None
    """How much time it last said that it had left; None: it has no limit."""
    told_at: float = 0.0
    """When it said so, by the clock of this process."""

    def take_time(self, capacity: Capacity) -> None:
        """Notes how much time the worker has left now."""
        self.told_s, self.told_at = capacity.time_left_s, trio.current_time()

    @property
    def time_left_s(self) -> float | None:
        """How much time the worker has left."""
        if self.told_s is None:
            return None
        passed_s = trio.current_time() - self.told_at
        return self.told_s if passed_s < FRESH_S else max(self.told_s - passed_s, 0.0)

    def capacity_now(self, capacity: Capacity) -> Capacity:
        """What a report said that it would take, less the time that went by since."""
        return capacity if self.told_s is None else structs.replace(capacity, time_left_s=self.time_left_s)

    @property
    def total_now(self) -> Room:
        """What it has in all, with the time that it has left."""
        return self.total if self.told_s is None else replace(self.total, time_left_s=self.time_left_s)


def room_of(num_cpus: int, memory_bytes: int, num_gpus: int, max_parallel_jobs: int | None) -> Room:
    """What a worker has in all; with `max_parallel_jobs` resources are not counted (SEMANTICS 8.1)."""
    if max_parallel_jobs is not None:
        return Room(max_parallel_jobs, None, None, None)
    return Room(2**31, num_cpus, memory_bytes, num_gpus)
