"""What one of `slurm_schedulers` is on a cluster: the node that it is sure to get. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torcd.core.partitions import NodeKind, find_members, smallest_of
from torcd.core.placement import describe_seconds
from torcd.core.schedulers import Standing
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import find_slurm_memory, parse_walltime
from torcd.slurm.partitions import count_gpus
from torcd.slurm.script import MEMORY, SHARES_NODES, find_options, find_partitions, read_options


def find_standing(spec: SlurmSchedulerSpec, defaults: dict[str, Any], kinds: Sequence[NodeKind]) -> Standing:
    """A scheduler on a cluster with these kinds of nodes; `defaults` are the `slurm_defaults`.

    Raises Refused for options that are none, or that sbatch must not be given.
    """
    find_options(spec, defaults)
    options = read_options(spec, defaults)
    names = find_partitions(spec, defaults)
    members = find_members(kinds, names)
    if not members:
        named = f"its partition, {','.join(names)!r}," if names else "a default partition"
        return Standing(spec, None, f"{named} is not up here")
    num_gpus = _count_gpus(options)
    node = smallest_of(members, with_gpus=num_gpus > 0)
    walltime_s = parse_walltime(spec.walltime)
    if walltime_s > node.max_time_s:
        limit = describe_seconds(node.max_time_s)
        return Standing(spec, None, f"its walltime, {spec.walltime}, is more than its partition allows, {limit}")
    num_cpus, memory_bytes = _find_share(options, node)
    return Standing(
        spec,
        replace(
            node,
            num_cpus=num_cpus,
            memory_bytes=memory_bytes,
            num_gpus=min(num_gpus, node.num_gpus),
            max_time_s=walltime_s,
        ),
    )


def _count_gpus(options: Mapping[str, str]) -> int:
    """Those that are asked for on a node: what is not asked for may be somebody else's."""
    for name in ("gpus-per-node", "gpus"):
        number = options.get(name, "").rpartition(":")[2]
        if number.isdecimal():
            return int(number)
    gres = options.get("gres", "")
    return count_gpus(gres) or int("gpu" in gres.split(","))


def _find_share(options: Mapping[str, str], node: NodeKind) -> tuple[int, int]:
    """The processors and the memory that a job gets of a node: all, unless it says how much (`script.find_options`)."""
    shared = {name for name in SHARES_NODES if name in options} - {"exclusive"}
    is_whole = "exclusive" in options or not shared
    tasks = _number(options, "ntasks-per-node") or _number(options, "ntasks") or 1
    num_cpus = node.num_cpus if is_whole else min(tasks * (_number(options, "cpus-per-task") or 1), node.num_cpus)
    for name in MEMORY:
        size = find_slurm_memory(options.get(name))
        if size is not None:
            return num_cpus, min(size * (num_cpus if name == "mem-per-cpu" else 1), node.memory_bytes)
    if is_whole:
        return num_cpus, node.memory_bytes
    return num_cpus, node.memory_bytes * num_cpus // node.num_cpus  # what a cluster gives by default, mostly


def _number(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else None
