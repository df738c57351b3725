"""A cluster's partitions, as sinfo tells of them."""

import re
import subprocess
from collections.abc import Mapping

import msgspec

from torcctl.worker.slurm_environment import MIB, parse_time_left
from torcd.protocol.errors import Refused, Unavailable
from torcd.protocol.slurm import lacks_configuration, unconfigured_text

SINFO = ("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%c|%m|%G")
"""A line for each kind of node of each partition."""

TIMEOUT_S = 30.0

_GPUS = re.compile(r"gpu(?::[^:,()]+)?:(\d+)(?:\([^)]*\))?", re.ASCII)


class NodeKind(msgspec.Struct, frozen=True, kw_only=True):
    """What the nodes of one kind have, and the partition that they are in."""

    partition: str
    num_cpus: int
    memory_bytes: int
    num_gpus: int
    max_time_s: float
    is_default: bool


def parse_partitions(out: str) -> list[NodeKind]:
    """The kinds of nodes in what SINFO prints, of partitions that are up; other lines are passed over."""
    kinds = []
    for line in out.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6 or fields[1] != "up":
            continue
        name, _, limit, cpus, memory, gres = fields
        max_time_s = float("inf") if limit == "infinite" else parse_time_left(limit)
        if max_time_s is None or not cpus.isdecimal() or not memory.isdecimal():
            continue
        kinds.append(
            NodeKind(
                partition=name.removesuffix("*"),
                num_cpus=int(cpus),
                memory_bytes=int(memory) * MIB,
                num_gpus=sum(int(count) for count in _GPUS.findall(gres)),
                max_time_s=max_time_s,
                is_default=name.endswith("*"),
            )
        )
    return kinds


def load_partitions(environ: Mapping[str, str]) -> list[NodeKind]:
    """Asks the cluster that this host belongs to. Raises Refused without sinfo, Unavailable without an answer."""
    try:
        ran = subprocess.run(
            SINFO, env={**environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise Refused("there is no sinfo in PATH: run this on a login node of the cluster") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"sinfo has not answered within {TIMEOUT_S:g} s") from error
    if ran.returncode != 0:
        words = "; ".join(ran.stderr.strip().splitlines())
        if lacks_configuration(words):
            raise Refused(unconfigured_text(words))
        raise Unavailable(f"sinfo: {words}")
    kinds = parse_partitions(ran.stdout)
    if not kinds:
        raise Refused("sinfo lists no partition that is up: see sinfo -s")
    return kinds
