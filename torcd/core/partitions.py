"""Which of a cluster's partitions suits a need. Pure.

A partition counts as its smallest node: Slurm may give any of them.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from torcd.core.placement import Requirement, Room, describe_seconds
from torcd.core.sizing import Limits
from torcd.protocol.errors import Refused
from torcd.protocol.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKind:
    """What nodes of one kind have, how long they may be had, and the partition that they are in."""

    partition: str
    num_cpus: int
    memory_bytes: int
    num_gpus: int
    max_time_s: float
    is_default: bool = False

    def fits(self, need: Requirement) -> int:
        """How many jobs with this need run on such a node at once."""
        return Room(2**31, self.num_cpus, self.memory_bytes, self.num_gpus, self.max_time_s).fits(need)

    @property
    def size(self) -> tuple[float, ...]:
        """By which the smaller of two nodes is told; a GPU is dearer than anything else."""
        return self.num_gpus, self.num_cpus, self.memory_bytes, self.max_time_s


def smallest_of(kinds: Collection[NodeKind], *, with_gpus: bool) -> NodeKind:
    """What any of these nodes has; of those with GPUs alone, if there are any, where GPUs are asked for."""
    usable = [kind for kind in kinds if kind.num_gpus] if with_gpus else []
    usable = usable or list(kinds)
    return replace(
        usable[0],
        num_cpus=min(kind.num_cpus for kind in usable),
        memory_bytes=min(kind.memory_bytes for kind in usable),
        num_gpus=min(kind.num_gpus for kind in usable),
        max_time_s=min(kind.max_time_s for kind in usable),
    )


def choose_partition(need: Requirement, kinds: Iterable[NodeKind]) -> NodeKind:
    """The smallest that has room and time for a job. Raises Refused, with what the nearest one lacks."""
    by_name: dict[str, list[NodeKind]] = {}
    for kind in kinds:
        by_name.setdefault(kind.partition, []).append(kind)
    nodes = [smallest_of(members, with_gpus=need.num_gpus > 0) for members in by_name.values()]
    fitting = [node for node in nodes if node.fits(need)]
    if fitting:
        return min(fitting, key=lambda node: (*node.size, not node.is_default, node.partition))
    nearest = min(nodes, key=lambda node: (len(find_lacks(need, node)), *(-part for part in node.size), node.partition))
    raise Refused(
        f"{describe_jobs(need)} fit no partition; the nearest is {nearest.partition!r}, with "
        f"{', '.join(find_lacks(need, nearest))}. Ask for less, or for a machine that has more",
        resource_requirements=need.name or None,
        partition=nearest.partition,
    )


def find_lacks(need: Requirement, node: NodeKind) -> list[str]:
    """What a node has too little of, in words."""
    lacks = []
    if need.num_cpus > node.num_cpus:
        lacks.append(f"{node.num_cpus} of {need.num_cpus} CPUs")
    if need.memory_bytes > node.memory_bytes:
        lacks.append(f"{node.memory_bytes / MIB:.9g} of {need.memory_bytes / MIB:.9g} MiB of memory")
    if need.num_gpus > node.num_gpus:
        lacks.append(f"{node.num_gpus} of {need.num_gpus} GPUs")
    if not need.ends_within(node.max_time_s):
        lacks.append(f"{describe_seconds(node.max_time_s)} of {describe_seconds(math.ceil(need.runtime_s))} of time")
    return lacks


def find_members(kinds: Iterable[NodeKind], names: Collection[str]) -> list[NodeKind]:
    """The kinds of nodes of these partitions; of the default one where none is named."""
    return [kind for kind in kinds if (kind.partition in names if names else kind.is_default)]


def find_limits(kinds: Iterable[NodeKind], names: Collection[str]) -> Limits:
    """The most that these partitions give, or the default one where none is named; what has no limit is not known."""
    usable = find_members(kinds, names)
    longest_s = max((kind.max_time_s for kind in usable), default=math.inf)
    return Limits(
        walltime_s=None if longest_s == math.inf else longest_s,
        memory_bytes=max((kind.memory_bytes for kind in usable), default=None),
    )


def describe_jobs(need: Requirement) -> str:
    """Whose need it is, in words."""
    return f"jobs of {need.name!r}" if need.name else "jobs without resource_requirements"


def largest_of(needs: Sequence[Requirement]) -> Requirement:
    """One that has room for each."""
    return Requirement(
        name="all requirements together",
        num_cpus=max(need.num_cpus for need in needs),
        memory_bytes=max(need.memory_bytes for need in needs),
        num_gpus=max(need.num_gpus for need in needs),
        runtime_s=max(need.runtime_s for need in needs),
    )
