"""What the roster keeps of one worker."""

from dataclasses import dataclass, field

import trio

from torcd.actors.mailbox import Message
from torcd.core.placement import Room
from torcd.protocol.worker_requests import Capacity


@dataclass(slots=True, eq=False)
class Waiting:
    """A report that is answered as soon as there is something for the worker."""

    message: Message
    capacity: Capacity | None
    """None: the worker is full and waits only to be told what to stop."""
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


def room_of(num_cpus: int, memory_bytes: int, num_gpus: int, max_parallel_jobs: int | None) -> Room:
    """What a worker has in all; with `max_parallel_jobs` resources are not counted (SEMANTICS 8.1)."""
    if max_parallel_jobs is not None:
        return Room(max_parallel_jobs, None, None, None)
    return Room(2**31, num_cpus, memory_bytes, num_gpus)
