"""How many Slurm jobs it takes to run what is ready, and how large ones: from what jobs need, and from what one node is
known to offer.

Pure. It rather asks for too few: what is left over waits for the next ones, while nodes without work are wasted. What
ends within the scheduler's walltime and fits on its nodes gets Slurm jobs as the scheduler says; for the rest others
are asked for, with more time or memory, as far as the partition allows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torcd.core.placement import NO_REQUIREMENT, Requirement, Room
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import MIB, find_slurm_memory, parse_walltime, round_walltime

MOST = 100
"""Slurm jobs that are proposed at most: more should be somebody's decision."""

ROUNDING = 1e-9
"""By so much a sum of shares may be too large: no Slurm job is started for it."""

ENDING_S = 120
"""Of a walltime, for the worker to start, and to stop its jobs in order before Slurm ends it."""

WORKER_BYTES = 128 * MIB
"""For the worker itself, which shares the memory of its Slurm job with its jobs: three times what it takes."""


@dataclass(frozen=True, slots=True)
class Node:
    """What one node offers, as far as it is known from workers that ran there; None: it is not."""

    num_cpus: int | None = None
    memory_bytes: int | None = None
    num_gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What Slurm says that a scheduler's partition gives at most; None: that is not known."""

    walltime_s: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class OnTheirWay:
    """Slurm jobs that wait already."""

    count: int
    walltime_s: int
    memory_bytes: int | None = None
    """Per node, where it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many Slurm jobs, how large, and for how many jobs none of them would do."""

    count: int
    fitting: int
    walltime_s: int | None = None
    """To be asked for; None: what the scheduler says."""
    memory_bytes: int | None = None
    """As the walltime, per node."""
    pending: int = 0
    """Slurm jobs that wait already and were taken off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfits:
    """Jobs that no Slurm job of the scheduler would do for, however large one is asked for."""

    too_long: int = 0
    longest_s: float = 0.0
    too_large: int = 0
    largest_bytes: int = 0


Needs = Sequence[tuple[Requirement, int]]


def size_allocations(
    needs: Iterable[tuple[Requirement, int]],
    scheduler: SlurmSchedulerSpec,
    node: Node,
    pending: Sequence[OnTheirWay] = (),
    limits: Limits | None = None,
    *,
    is_memory_fixed: bool = False,
) -> tuple[list[Size], Misfits]:
    """The Slurm jobs for so many jobs with each need: as the scheduler says, then larger ones, where any are needed.

    `limits` None: nobody has asked Slurm yet. `is_memory_fixed`: no other memory can be asked for.
    """
    limits = limits or Limits()
    walltime_s = parse_walltime(scheduler.walltime)
    plain, larger, long, large = [], [], [], []
    own = _with_memory(node, find_slurm_memory(scheduler.mem))
    for need, count in needs:
        is_long, is_large = not need.ends_within(walltime_s), not _fits(need, own)
        if not (is_long or is_large):
            plain.append((need, count))
        elif is_long and limits.walltime_s is not None and need.runtime_s > max(limits.walltime_s, walltime_s):
            long.append((need, count))
        elif is_large and (is_memory_fixed or not _could_fit(need, node, limits)):
            large.append((need, count))
        else:
            larger.append((need, count))
    sizes = []
    waiting = sum(each.count for each in pending)
    if larger:
        size = _enlarge(larger, scheduler, own, limits)
        enough = sum(each.count for each in pending if _is_enough(each, size, walltime_s))
        taken = min(size.count, enough)
        waiting -= taken
        sizes.append(replace(size, count=size.count - taken, pending=taken))
    if plain:
        count = _count(plain, walltime_s, own, scheduler.nodes)
        taken = min(count, waiting)
        sizes.insert(0, Size(count=count - taken, fitting=_total(plain), pending=taken))
    return sizes, Misfits(
        too_long=_total(long),
        longest_s=max((need.runtime_s for need, _ in long), default=0.0),
        too_large=_total(large),
        largest_bytes=max((need.memory_bytes for need, _ in large), default=0),
    )


def _enlarge(needs: Needs, scheduler: SlurmSchedulerSpec, own: Node, limits: Limits) -> Size:
    """Slurm jobs in which the longest of these jobs ends, and the largest has room beside the worker."""
    walltime_s = memory_bytes = None
    longest_s = max((need.runtime_s for need, _ in needs if need is not NO_REQUIREMENT), default=0.0)
    if longest_s > parse_walltime(scheduler.walltime):
        wanted_s = round_walltime(longest_s + ENDING_S)
        walltime_s = int(min(wanted_s, max(limits.walltime_s or wanted_s, longest_s)))
    largest = max(need.memory_bytes for need, _ in needs)
    if own.memory_bytes is not None and largest > own.memory_bytes:
        wanted = math.ceil((largest + WORKER_BYTES) / MIB) * MIB
        memory_bytes = min(wanted, max(limits.memory_bytes or wanted, largest))
    node = own if memory_bytes is None else replace(own, memory_bytes=memory_bytes)
    count = _count(needs, walltime_s or parse_walltime(scheduler.walltime), node, scheduler.nodes)
    return Size(count=count, fitting=_total(needs), walltime_s=walltime_s, memory_bytes=memory_bytes)


def _is_enough(pending: OnTheirWay, size: Size, walltime_s: int) -> bool:
    """Whether a Slurm job that waits is as large as one that would be asked for."""
    has_memory = size.memory_bytes is None or (pending.memory_bytes or 0) >= size.memory_bytes
    return has_memory and pending.walltime_s >= (size.walltime_s or walltime_s)


def _count(needs: Needs, walltime_s: int, node: Node, num_nodes: int) -> int:
    """How many Slurm jobs they share, side by side on each node and one after the other."""
    share = 0.0
    for need, count in needs:
        share += count / (count_rounds(need, walltime_s) * _count_slots(need, node) * num_nodes)
    return count_allocations(share)


def count_rounds(need: Requirement, walltime_s: float) -> int:
    """How many such jobs run one after the other; of one without requirements nobody knows: one."""
    return max(int(walltime_s // need.runtime_s), 1) if need.name and need.runtime_s else 1


def count_allocations(share: float, pending: int = 0) -> int:
    """The Slurm jobs for jobs that take this share of one (of many: more than 1), besides those on their way."""
    whole = max(math.ceil(share - ROUNDING), 1) if share else 0
    return max(min(whole, MOST) - pending, 0)


def _count_slots(need: Requirement, node: Node) -> int:
    """How many such jobs a node runs at once; of one that nobody has seen yet: one."""
    return max(_room(node).fits(need), 1) if node.num_cpus is not None else 1


def _fits(need: Requirement, node: Node) -> bool:
    return _room(node).fits(need) > 0


def _could_fit(need: Requirement, node: Node, limits: Limits) -> bool:
    """Whether a node with more memory would do, and the partition may have one."""
    has_memory = limits.memory_bytes is None or need.memory_bytes <= limits.memory_bytes
    return has_memory and _fits(need, replace(node, memory_bytes=None))


def _room(node: Node) -> Room:
    return Room(2**31, node.num_cpus, node.memory_bytes, node.num_gpus)


def _with_memory(node: Node, memory_bytes: int | None) -> Node:
    """The node as far as it is given to Slurm jobs that ask for so much of it."""
    known = [each for each in (node.memory_bytes, memory_bytes) if each is not None]
    return replace(node, memory_bytes=min(known, default=None))


def _total(needs: Needs) -> int:
    return sum(count for _, count in needs)
