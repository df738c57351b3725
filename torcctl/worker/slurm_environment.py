"""What Slurm tells a worker that runs in one of its jobs: its share of the node, and the job's time. Pure.

Slurm sets these variables for the batch script on its node, and for each task of `srun` on the task's own
(sbatch(1), srun(1): "OUTPUT ENVIRONMENT VARIABLES").
"""

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

import msgspec

from torcd.protocol.units import MIB, parse_slurm_time

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
"""By which programs are told their GPUs: NVIDIA's, AMD's, Intel's."""

_DEVICE = re.compile(r"\d+(?:\.\d+)?|(?:GPU|MIG)-[\w/-]+", re.ASCII)

LEFT_FORMAT = "%A %L"
"""What `squeue` is asked for: a job's own id, and the time that it has left."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's share of its node; None: Slurm does not say."""

    slurm_job_id: str
    num_cpus: int | None = None
    memory_bytes: int | None = None
    num_gpus: int = 0
    limit_s: float | None = None
    """The time of the whole job, by the clock of Slurm's controller alone. How much of it is left does not follow."""
    num_nodes: int = 1
    """Of the whole job."""


def find_share(environ: Mapping[str, str]) -> Share | None:
    """The share that Slurm gave; None outside its jobs: also in a shell of `salloc` that is not on the job's node."""
    job_id = environ.get("SLURM_JOB_ID", "")
    if not job_id.isdecimal() or not environ.get("SLURMD_NODENAME"):
        return None
    num_cpus, num_gpus = _find_cpus(environ), _find_gpus(environ)
    return Share(
        slurm_job_id=job_id,
        num_cpus=num_cpus,
        memory_bytes=_find_memory(environ, num_cpus, num_gpus),
        num_gpus=num_gpus,
        limit_s=_find_limit(environ),
        num_nodes=_number(environ, "SLURM_JOB_NUM_NODES") or 1,
    )


def _find_cpus(environ: Mapping[str, str]) -> int | None:
    on_node = _number(environ, "SLURM_CPUS_ON_NODE")
    if on_node:
        return on_node
    per_task = _number(environ, "SLURM_CPUS_PER_TASK")
    return None if per_task is None else per_task * _count_tasks(environ)


def _count_tasks(environ: Mapping[str, str]) -> int:
    """The tasks on this node, from "2(x3),1": two on each of the first three nodes, one on the fourth."""
    counts: list[int] = []
    for part in environ.get("SLURM_TASKS_PER_NODE", "").split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part, re.ASCII)
        if found is None:
            return 1
        counts += [int(found[1])] * min(int(found[2] or 1), 1 << 16)
    node = _number(environ, "SLURM_NODEID") or 0
    return max(counts[node] if node < len(counts) else counts[0], 1)


def _find_memory(environ: Mapping[str, str], num_cpus: int | None, num_gpus: int) -> int | None:
    """All three variables count MiB; 0 stands for all memory of the node."""
    per_node = _number(environ, "SLURM_MEM_PER_NODE")
    if per_node is not None:
        return per_node * MIB or None
    for name, count in (("SLURM_MEM_PER_CPU", num_cpus), ("SLURM_MEM_PER_GPU", num_gpus)):
        each = _number(environ, name)
        if each is not None and count:
            return each * count * MIB or None
    return None


def _find_gpus(environ: Mapping[str, str]) -> int:
    on_node = _number(environ, "SLURM_GPUS_ON_NODE")
    return len(find_devices(environ)) if on_node is None else on_node


def find_devices(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that programs here are told to use, as they are told; empty: none, or nobody said.

    What stands behind a word that is no device does not count for CUDA, either; Slurm writes `NoDevFiles` for none.
    """
    for name in (*DEVICE_VARIABLES, "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        if environ.get(name):
            words = (each for word in environ[name].split(",") for each in _expand(word.strip()))
            return tuple(takewhile(_DEVICE.fullmatch, words))
    return ()


def _expand(word: str) -> Iterator[str]:
    """The devices of a range, 0-3, as Slurm shortens numbers elsewhere; else the word itself."""
    found = re.fullmatch(r"(\d{1,3})-(\d{1,3})", word, re.ASCII)
    return iter([word]) if found is None else map(str, range(int(found[1]), int(found[2]) + 1))


def _find_limit(environ: Mapping[str, str]) -> float | None:
    start, end = _number(environ, "SLURM_JOB_START_TIME"), _number(environ, "SLURM_JOB_END_TIME")
    return float(end - start) if start and end and start < end else None


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def find_time_left(listed: str, job_id: str) -> float | None:
    """The seconds that are left of one of the jobs that `squeue -o LEFT_FORMAT` lists.

    They are several for an array: its own id is also that of its last task.
    """
    for line in listed.splitlines():
        found, _, left = line.strip().partition(" ")
        if found == job_id:
            return parse_slurm_time(left)
    return None
