"""Which Slurm allocations suit the requirements of jobs. Pure.

A partition counts as its smallest node: Slurm may give any of them.
"""

import math
from collections.abc import Sequence

import msgspec

from torcctl.output import format_size
from torcctl.partitions import NodeKind
from torcd.protocol.errors import Refused

HEADROOM = 1.2
"""Of the walltime over the longest runtime, where the partition allows it."""

STEP_S = 300
"""Walltimes are rounded up to five minutes."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What the jobs of one resource requirement need; `name` is None for jobs without one."""

    name: str | None
    num_cpus: int
    memory_bytes: int
    num_gpus: int
    runtime_s: float


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduler for some needs, and how many jobs of each run on its node at once."""

    node: NodeKind
    walltime_s: int
    needs: list[Need]
    jobs_per_node: list[int]


def choose(needs: Sequence[Need], kinds: Sequence[NodeKind], *, single: bool = False) -> list[Sized]:
    """A scheduler for each partition that is the smallest fitting one of some needs; with `single` one for all.

    Raises Refused where a need fits nowhere.
    """
    groups: dict[NodeKind, list[Need]] = {}
    if single and needs:
        groups[_smallest(_largest(needs), kinds)] = list(needs)
    else:
        for need in needs:
            groups.setdefault(_smallest(need, kinds), []).append(need)
    return [
        Sized(
            node=node,
            walltime_s=find_walltime(max(need.runtime_s for need in members), node.max_time_s),
            needs=members,
            jobs_per_node=[_count_fitting(need, node) for need in members],
        )
        for node, members in groups.items()
    ]


def find_walltime(runtime_s: float, max_time_s: float) -> int:
    """The runtime with headroom, at most what the partition allows: that is enough for a job to be started."""
    return int(min(math.ceil(runtime_s * HEADROOM / STEP_S) * STEP_S, max_time_s))


def _largest(needs: Sequence[Need]) -> Need:
    return Need(
        name="all jobs together",
        num_cpus=max(need.num_cpus for need in needs),
        memory_bytes=max(need.memory_bytes for need in needs),
        num_gpus=max(need.num_gpus for need in needs),
        runtime_s=max(need.runtime_s for need in needs),
    )


def _smallest(need: Need, kinds: Sequence[NodeKind]) -> NodeKind:
    nodes = _nodes_for(need, kinds)
    fitting = [node for node in nodes if not _lacks(need, node)]
    if fitting:
        return min(fitting, key=lambda node: (*_size(node), not node.is_default, node.partition))
    nearest = min(nodes, key=lambda node: (len(_lacks(need, node)), *(-part for part in _size(node)), node.partition))
    raise Refused(
        f"{_title(need)} fits no partition; the nearest is {nearest.partition!r}: {', '.join(_lacks(need, nearest))}",
        resource_requirements=need.name,
        partition=nearest.partition,
    )


def _nodes_for(need: Need, kinds: Sequence[NodeKind]) -> list[NodeKind]:
    """Each partition as its smallest node; of those with GPUs where GPUs are needed, which are then asked for."""
    by_name: dict[str, list[NodeKind]] = {}
    for kind in kinds:
        by_name.setdefault(kind.partition, []).append(kind)
    nodes = []
    for members in by_name.values():
        with_gpus = [kind for kind in members if kind.num_gpus] if need.num_gpus else []
        usable = with_gpus or members
        least = {name: min(getattr(kind, name) for kind in usable) for name in ("num_cpus", "memory_bytes", "num_gpus")}
        nodes.append(msgspec.structs.replace(usable[0], **least))
    return nodes


def _size(node: NodeKind) -> tuple[float, ...]:
    return node.num_gpus, node.num_cpus, node.memory_bytes, node.max_time_s


def _lacks(need: Need, node: NodeKind) -> list[str]:
    """What the node has too little of, in words."""
    lacks = []
    if need.num_cpus > node.num_cpus:
        lacks.append(f"{node.num_cpus} CPUs of {need.num_cpus}")
    if need.memory_bytes > node.memory_bytes:
        lacks.append(f"{format_size(node.memory_bytes)} of {format_size(need.memory_bytes)} memory")
    if need.num_gpus > node.num_gpus:
        lacks.append(f"{node.num_gpus} GPUs of {need.num_gpus}")
    if math.ceil(need.runtime_s) > node.max_time_s:
        lacks.append(f"{node.max_time_s:g} s of {need.runtime_s:g} s runtime")
    return lacks


def _count_fitting(need: Need, node: NodeKind) -> int:
    counts = [node.num_cpus // need.num_cpus, node.memory_bytes // max(need.memory_bytes, 1)]
    return min([*counts, node.num_gpus // need.num_gpus] if need.num_gpus else counts)


def _title(need: Need) -> str:
    return "a job without resource_requirements" if need.name is None else f"{need.name!r}"
