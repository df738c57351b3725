"""How many Slurm jobs it takes to run what is ready: from what jobs need, and from what one node is known to offer.

Pure. It rather asks for too few: what is left over waits for the next ones, while nodes without work are wasted.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torcd.core.placement import Requirement, Room
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import parse_walltime

MOST = 100
"""Slurm jobs that are proposed at most: more should be somebody's decision."""

ROUNDING = 1e-9
"""By so much a sum of shares may be too large: no Slurm job is started for it."""


@dataclass(frozen=True, slots=True)
class Node:
    """What one node offers, as far as it is known from workers that ran there; None: it is not."""

    num_cpus: int | None = None
    memory_bytes: int | None = None
    num_gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """How many Slurm jobs, and for how many jobs none of them would do."""

    count: int
    fitting: int
    too_long: int
    """Jobs that take longer than the walltime."""
    too_large: int
    """Jobs that need more than a node has."""


def size_allocations(
    needs: Iterable[tuple[Requirement, int]], scheduler: SlurmSchedulerSpec, node: Node, pending: int
) -> Size:
    """The Slurm jobs for so many jobs with each need; `pending` are on their way already."""
    walltime_s = parse_walltime(scheduler.walltime)
    share = 0.0
    fitting = too_long = too_large = 0
    for need, count in needs:
        rounds = count_rounds(need, walltime_s)
        slots = _count_slots(need, node)
        if rounds < 1:
            too_long += count
        elif slots < 1:
            too_large += count
        else:
            fitting += count
            share += count / (rounds * slots * scheduler.nodes)
    return Size(count_allocations(share, pending), fitting, too_long, too_large)


def count_rounds(need: Requirement, walltime_s: float) -> int:
    """How many such jobs run one after the other; of one without requirements nobody knows: one."""
    return int(walltime_s // need.runtime_s) if need.name and need.runtime_s else 1


def count_allocations(share: float, pending: int = 0) -> int:
    """The Slurm jobs for jobs that take this share of one (of many: more than 1), besides those on their way."""
    whole = max(math.ceil(share - ROUNDING), 1) if share else 0
    return max(min(whole, MOST) - pending, 0)


def _count_slots(need: Requirement, node: Node) -> int:
    """How many such jobs a node runs at once; of one that nobody has seen yet: one."""
    room = Room(2**31, node.num_cpus, node.memory_bytes, node.num_gpus)
    return room.fits(need) if node.num_cpus is not None else min(room.fits(need), 1)
