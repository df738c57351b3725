"""What this machine offers to jobs, and what the jobs that run leave of it.

Counting is plain arithmetic: nothing here starts, measures or limits a process.
"""

import os
import resource
from pathlib import Path

import msgspec
import psutil

from torcctl.worker.slurm_environment import Share
from torcd.protocol.errors import Refused
from torcd.protocol.worker_requests import Capacity, JobLaunch

MAX_RUNNING = 500
"""Most jobs that run at once unless `max_parallel_jobs` says more; only jobs without processors get here."""

SPARE_DESCRIPTORS = 64
"""Of the limit on open files, what is left to the worker; each running job needs one."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker offers. With `max_parallel_jobs` only the number of jobs counts."""

    num_cpus: int
    memory_bytes: int
    num_gpus: int = 0
    max_parallel_jobs: int | None = None
    devices: tuple[str, ...] = ()
    """The GPUs, as programs are told them; where they are fewer than `num_gpus`, they are numbered from 0."""


def find_offer(
    *,
    num_cpus: int | None,
    memory_bytes: int | None,
    num_gpus: int | None,
    max_parallel_jobs: int | None,
    share: Share | None = None,
    devices: tuple[str, ...] = (),
) -> Offer:
    """The given numbers; where they are None, a worker's share of this machine, or all of it but its GPUs.

    A share is never taken for more than this process may use. Raises Refused for impossible numbers.
    """
    for name, value, least in (
        ("num_cpus", num_cpus, 1),
        ("memory_bytes", memory_bytes, 1),
        ("num_gpus", num_gpus, 0),
        ("max_parallel_jobs", max_parallel_jobs, 1),
    ):
        if value is not None and value < least:
            raise Refused(f"a worker's {name} must be at least {least}, not {value}", field=name)
    if num_cpus is None:
        num_cpus = usable_cpus()
        if share is not None and share.num_cpus is not None:
            num_cpus = min(num_cpus, share.num_cpus)
    if memory_bytes is None:
        memory_bytes = usable_memory_bytes()
        if share is not None and share.memory_bytes is not None:
            memory_bytes = min(memory_bytes, share.memory_bytes)
    if num_gpus is None:
        num_gpus = 0 if share is None else share.num_gpus
    return Offer(
        num_cpus=num_cpus,
        memory_bytes=memory_bytes,
        num_gpus=num_gpus,
        max_parallel_jobs=max_parallel_jobs,
        devices=devices,
    )


def usable_cpus(cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """The processors this process may use: its affinity, and the quota of its control groups."""
    usable = len(os.sched_getaffinity(0))
    for group in _control_groups(cgroups, membership):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            usable = min(usable, max(1, int(quota) // int(period)))
    return usable


def usable_memory_bytes(cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """The memory this process may use: the machine's, and the limit of its control groups."""
    usable = int(psutil.virtual_memory().total)
    for group in _control_groups(cgroups, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _read(group / name)
            if limit.isdigit():
                usable = min(usable, int(limit))
    return usable


def _control_groups(cgroups: Path, membership: Path) -> list[Path]:
    """The directories of this process's control groups and all that enclose them, of both versions."""
    found = []
    for line in _read(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers not in {"", "memory"}:
            continue
        top = cgroups / controllers
        group = top / path.lstrip("/")
        found += [group, *(parent for parent in group.parents if parent.is_relative_to(top))]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""  # no such controller here: no limit to heed


class Room:
    """What the running jobs leave free. Every job that was taken in must be given back once."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        most = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS)
        self.num_jobs = min(most, offer.max_parallel_jobs or max(MAX_RUNNING, offer.num_cpus))
        self.counts_resources = offer.max_parallel_jobs is None
        self.num_cpus = offer.num_cpus
        self.memory_bytes = offer.memory_bytes
        self.num_gpus = offer.num_gpus
        known = len(offer.devices) >= offer.num_gpus
        self._devices = list(offer.devices if known else map(str, range(offer.num_gpus)))
        self._devices_of: dict[tuple[int, int], list[str]] = {}

    def next_devices(self, job: JobLaunch) -> list[str]:
        """The GPUs of a job that starts now; empty for one that needs none, and where GPUs are not counted."""
        return self._devices[: job.num_gpus] if job.num_gpus and self.counts_resources else []

    def fits(self, job: JobLaunch) -> bool:
        """Whether the job can start now."""
        return self.num_jobs > 0 and (
            not self.counts_resources
            or (
                job.num_cpus <= self.num_cpus
                and job.memory_bytes <= self.memory_bytes
                and job.num_gpus <= self.num_gpus
            )
        )

    def can_ever_fit(self, job: JobLaunch) -> bool:
        """Whether the job could start if nothing else ran."""
        return not self.counts_resources or (
            job.num_cpus <= self.offer.num_cpus
            and job.memory_bytes <= self.offer.memory_bytes
            and job.num_gpus <= self.offer.num_gpus
        )

    @property
    def is_full(self) -> bool:
        """Whether no ordinary job can start now."""
        return self.num_jobs <= 0 or (self.counts_resources and (self.num_cpus <= 0 or self.memory_bytes <= 0))

    def take(self, job: JobLaunch) -> None:
        """Counts a job that starts."""
        self.num_jobs -= 1
        self.num_cpus -= job.num_cpus
        self.memory_bytes -= job.memory_bytes
        self.num_gpus -= job.num_gpus
        if devices := self.next_devices(job):
            self._devices_of[job.job_id, job.attempt_id] = devices
            del self._devices[: len(devices)]

    def give_back(self, job: JobLaunch) -> None:
        """Counts a job that ended."""
        self.num_jobs += 1
        self.num_cpus += job.num_cpus
        self.memory_bytes += job.memory_bytes
        self.num_gpus += job.num_gpus
        if job.num_gpus and (devices := self._devices_of.pop((job.job_id, job.attempt_id), None)):
            self._devices = devices + self._devices

    def capacity(self, ahead: int, time_left_s: float | None = None) -> Capacity | None:
        """What to ask the daemon for; None when there is nothing to ask for."""
        if self.is_full and ahead <= 0:
            return None
        if not self.counts_resources:
            return Capacity(jobs=self.num_jobs, ahead=ahead, time_left_s=time_left_s)
        return Capacity(
            jobs=self.num_jobs,
            ahead=ahead,
            num_cpus=self.num_cpus,
            memory_bytes=self.memory_bytes,
            num_gpus=self.num_gpus,
            time_left_s=time_left_s,
        )
