"""A cluster's partitions, as sinfo tells of them. Pure."""

import re

from torcd.core.partitions import NodeKind
from torcd.protocol.units import MIB, parse_slurm_time

SINFO = ("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%c|%m|%G")
"""A line for each kind of node of each partition."""

_GPUS = re.compile(r"gpu(?::[^:,()]+)?:(\d+)(?:\([^)]*\))?", re.ASCII)


def parse_partitions(out: str) -> list[NodeKind]:
    """The kinds of nodes in what SINFO prints, of partitions that are up; other lines are passed over."""
    kinds = []
    for line in out.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6 or fields[1] != "up":
            continue
        name, _, limit, cpus, memory, gres = fields
        max_time_s = parse_slurm_time(limit)
        if max_time_s is None or not cpus.isdecimal() or not memory.isdecimal():
            continue
        kinds.append(
            NodeKind(
                partition=name.removesuffix("*"),
                num_cpus=int(cpus),
                memory_bytes=int(memory) * MIB,
                num_gpus=count_gpus(gres),
                max_time_s=max_time_s,
                is_default=name.endswith("*"),
            )
        )
    return kinds


def count_gpus(gres: str) -> int:
    """The GPUs in a list of generic resources with their counts, such as "gpu:a100:4(S:0-1),gpu:2"; others are none."""
    return sum(int(count) for count in _GPUS.findall(gres))
