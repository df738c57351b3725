"""Allocations: Slurm jobs that start workers of a workflow, one on each of their nodes."""

from typing import Annotated

import msgspec
from msgspec import field

from torcd.protocol.model import Answer
from torcd.protocol.requests import Integer, ListRequest, Positive, Request, WorkflowRequest

MAX_ALLOCATIONS = 1000
"""Most that one request may ask for: each is a call of sbatch."""


class ScheduleNodes(WorkflowRequest, frozen=True, kw_only=True):
    """Submits Slurm jobs that run the jobs of a workflow; answers `Scheduled`.

    `environment` is that of the user, which the jobs get; left out it is the daemon's.
    """

    METHOD = "slurm.schedule_nodes"
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_ALLOCATIONS)] = 1
    scheduler: str | None = None
    """One of the workflow's `slurm_schedulers`; left out: the only one."""
    max_parallel_jobs: Positive | None = None
    walltime: str | None = None
    """Instead of the scheduler's, as there: "04:00:00"."""
    mem: str | None = None
    """Memory per node instead of the scheduler's, as there: "16G"."""
    environment: dict[str, str] | None = None
    umask: Annotated[int, msgspec.Meta(ge=0, le=0o777)] = 0o077
    """Of the user: Slurm gives it to the jobs."""
    requested_by: str = ""
    request_key: str | None = None

    def __repr__(self) -> str:
        return f"ScheduleNodes(workflow_id={self.workflow_id}, count={self.count})"  # an environment may hold secrets


class ListAllocations(ListRequest, frozen=True, kw_only=True):
    """Pages through the allocations of a workflow, also those that have ended."""

    METHOD = "allocations.list"


class GetAllocation(Request, frozen=True, kw_only=True):
    METHOD = "allocations.get"
    allocation_id: Integer


class CancelAllocations(WorkflowRequest, frozen=True, kw_only=True):
    """Cancels allocations that have not ended; null: all of the workflow's. Answers `Scheduled`, without warnings when
    Slurm was told. What it could not be told now it is told later."""

    METHOD = "slurm.cancel"
    ids: list[Integer] | None = None
    requested_by: str = ""


class RefreshAllocations(WorkflowRequest, frozen=True, kw_only=True):
    """Asks Slurm now; answers `Scheduled` with the allocations that have not ended."""

    METHOD = "slurm.status"


class GetAccount(WorkflowRequest, frozen=True, kw_only=True):
    """What Slurm's accounting has of the workflow's allocations: answers {account: [{…}]}, a row for each job and step
    with the names that sacct gives them."""

    METHOD = "slurm.account"


class Allocation(Answer, frozen=True, kw_only=True):
    """A Slurm job that starts workers."""

    id: int
    allocation_id: int
    workflow_id: int
    status: str
    """`submitting` (Slurm has not answered yet), `pending`, `active`, `complete`, or `refused` (never accepted)."""
    scheduler: str | None
    slurm_job_id: int | None
    job_name: str
    """Unique; Slurm's ids are not."""
    num_nodes: int
    walltime_s: int
    memory_bytes: int | None = None
    """Per node, where it was asked for instead of what the scheduler's `mem` says."""
    slurm_state: str | None
    """In Slurm's words, or `unknown since …` while Slurm does not answer."""
    slurm_reason: str | None
    error: str | None
    workers: int
    """How many of its workers are there."""
    created_at: str
    submitted_at: str | None
    started_at: str | None
    """When it was first seen to run; as the others a time of the daemon's clock."""
    ended_at: str | None


class Scheduled(Answer, frozen=True, kw_only=True):
    """Allocations that were made, or looked at."""

    allocations: list[Allocation]
    warnings: list[str] = field(default_factory=list)


def is_of_a_job(name: str) -> bool:
    """Whether an environment variable tells of a job of Slurm's, or of a torcd: a new job would take it for its own."""
    return name.startswith(("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "TORC_", "TORCD_")) and name != "SLURM_CONF"


def lacks_configuration(words: str) -> bool:
    """Whether these words of Slurm's programs mean that they are here, but do not know of any cluster."""
    return "configuration source" in words or "process configuration file" in words


def unconfigured_text(words: str) -> str:
    """What a user is told then, in Slurm's own words, and what to do."""
    return (
        f"Slurm's programs are here, but not configured; they say: {words}. Set SLURM_CONF to the slurm.conf of the "
        "cluster, or go to one of its login nodes"
    )
