"""What is to be submitted: the scheduler that was chosen, its scripts, and what stands against it from the start."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from torcd.core.allocations import find_log
from torcd.core.paths import find_output_dir
from torcd.output_files import check_links, create_file
from torcd.protocol.address import Places
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.mounts import find_file_system, is_local
from torcd.protocol.slurm import ScheduleNodes
from torcd.protocol.specification import Header, SlurmSchedulerSpec
from torcd.protocol.units import parse_slurm_memory, parse_walltime
from torcd.slurm.script import Plan, fixes_memory, make_script
from torcd.storage.allocations import NewAllocations, Wanted


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be submitted."""

    request: ScheduleNodes
    scheduler: SlurmSchedulerSpec
    wanted: Wanted
    environment: Mapping[str, str]
    places: Places

    @property
    def output_dir(self) -> str:
        """Where the script and Slurm's logs go (SEMANTICS 8.2)."""
        return find_output_dir(self.wanted.directory, self.request.workflow_id)

    def rows(self) -> NewAllocations:
        """Its rows."""
        return NewAllocations(
            count=self.request.count,
            scheduler=self.scheduler.name,
            num_nodes=self.scheduler.nodes,
            walltime_s=parse_walltime(self.scheduler.walltime),
            memory_bytes=None if self.request.mem is None else parse_slurm_memory(self.request.mem),
            requested_by=self.request.requested_by,
            request_key=self.request.request_key,
        )

    def script(self, allocation_id: int, job_name: str) -> str:
        """The batch script of one allocation. Raises Refused."""
        return make_script(
            Plan(
                workflow_id=self.request.workflow_id,
                allocation_id=allocation_id,
                job_name=job_name,
                scheduler=self.scheduler,
                defaults=self.wanted.header.slurm_defaults,
                max_parallel_jobs=self.request.max_parallel_jobs,
                output_dir=self.output_dir,
                connection_file=str(self.places.connection_file),
                database=str(self.places.database),
                socket=str(self.places.socket),
                python=sys.executable,
            )
        )

    def write_script(self, allocation_id: int, job_name: str) -> str:
        """Writes it, for this user alone; its path. Blocks. Raises OSError."""
        check_links(self.output_dir, self.wanted.directory)
        path = f"{find_log(self.output_dir, allocation_id)}.sh"
        with open(create_file(path, 0o700), "w", encoding="utf-8") as file:
            file.write(self.script(allocation_id, job_name))
        return path


def choose_scheduler(header: Header, name: str | None) -> SlurmSchedulerSpec:
    """The scheduler of that name, or the only one. Raises Refused and NotFound."""
    schedulers = header.slurm_schedulers
    names = [scheduler.name or "(without a name)" for scheduler in schedulers]
    if name is not None:
        for scheduler in schedulers:
            if scheduler.name == name:
                return scheduler
        known = f"it has: {', '.join(names)}" if names else "it has none"
        raise NotFound(f"the workflow has no Slurm scheduler {name!r}; {known}", noun="scheduler", id=name)
    if not schedulers:
        raise Refused(
            "the workflow says nothing of Slurm: add slurm_schedulers to its specification (account, partition, "
            "walltime, nodes) and bring it in with `torcctl workflows update --spec FILE`; jobs need no change"
        )
    if len(schedulers) > 1:
        raise Refused(
            f"the workflow has {len(schedulers)} Slurm schedulers: say which one, --scheduler {' or '.join(names)}",
            candidates=names,
        )
    return schedulers[0]


def enlarge(scheduler: SlurmSchedulerSpec, request: ScheduleNodes) -> SlurmSchedulerSpec:
    """The scheduler with the walltime and the memory that are asked for instead of its own. Raises Refused."""
    if request.walltime is not None and parse_walltime(request.walltime) == 0:
        raise Refused("walltime: in no time at all nothing could run", value=request.walltime)
    if request.mem is not None:
        parse_slurm_memory(request.mem)
        if fixes_memory(scheduler):
            raise Refused(
                f"mem: the scheduler's `extra` ({scheduler.extra}) says how much memory, and goes before it: change it "
                "there, or take it out",
                value=request.mem,
            )
    return msgspec.structs.replace(
        scheduler, walltime=request.walltime or scheduler.walltime, mem=request.mem or scheduler.mem
    )


def prepare_places(order: Order) -> list[str]:
    """Makes the output directory; warnings about what other hosts may not see. Blocks. Raises Refused."""
    directory = order.wanted.directory
    if not os.path.isdir(directory):
        raise Refused(
            f"the submission directory {directory} is not there: Slurm's jobs would have nowhere to run", path=directory
        )
    try:
        for path in (os.path.dirname(order.output_dir), order.output_dir):
            _make_directory(path, 0o777 & ~order.request.umask)  # not after the daemon's own, which lets nobody in
    except OSError as error:
        raise Refused(
            f"{order.output_dir}: cannot be made for the batch scripts and Slurm's logs: {error.strerror}",
            path=order.output_dir,
        ) from error
    warnings = []
    for what, path in (
        ("the submission directory", directory),
        ("the connection file", str(order.places.connection_file)),
        ("torcctl's Python", sys.executable),
    ):
        kind = find_file_system(Path(path).parent)
        if is_local(kind):
            warnings.append(f"{what} {path} is on a local file system ({kind}): other hosts may not see it")
    return warnings


def _make_directory(path: str, mode: int) -> None:
    """Makes it unless it is there; a worker, or another request, may make it at the same time."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    else:
        os.chmod(path, mode)


ADVICE = (
    (("account",), "see `sacctmgr show associations user=$USER` for yours, and set `account`"),
    (("partition",), "see `sinfo -s` for those there are, and set `partition`"),
    (("qos",), "see `sacctmgr show qos` for those there are, and set `qos`"),
    (("time limit", "--time"), "see `sinfo -s` for the partition's limit, and set `walltime`"),
    (("memory", "node configuration", "gres", "node count"), "see `sinfo -Nl` for what nodes have, and ask for less"),
    (("unrecognized option", "invalid option"), "see `man sbatch`, and mend `extra` or `slurm_defaults`"),
    (("no such program", "permission denied", "configuration"), "see `torcctl doctor`"),
)
"""What to do, by words of Slurm's."""


def advise(words: str) -> str:
    """What to do about a refusal."""
    said = words.lower()
    for known, advice in ADVICE:
        if any(each in said for each in known):
            if advice.startswith("see `torcctl"):
                return advice
            return f"{advice} in slurm_schedulers (`torcctl workflows update --spec FILE` brings it in)"
    return "mend what it asks of Slurm in slurm_schedulers (`torcctl workflows update --spec FILE` brings it in)"


# fmt: off
HOPELESS = frozenset({
    "AccountNotAllowed", "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS", "JobHeldAdmin",
    "JobHeldUser", "JobHoldMaxRequeue", "PartitionConfig", "PartitionDown", "PartitionInactive", "PartitionNodeLimit",
    "PartitionTimeLimit", "QOSNotAllowed", "launch failed requeued held", "launch_failed_requeued_held",
})
# fmt: on
"""Reasons for which Slurm keeps a job waiting until somebody changes something."""
