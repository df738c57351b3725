"""Proposals of `slurm_schedulers` for the cluster that the daemon is on, with the number of Slurm jobs to submit."""

from typing import Any

from msgspec import field

from torcd.protocol.model import Answer
from torcd.protocol.requests import Request, WorkflowRequest
from torcd.protocol.specification import Header


class ProposeSchedulers(WorkflowRequest, frozen=True, kw_only=True):
    """What suits the jobs of a workflow; nothing is changed. Answers `SchedulerProposal`.

    `environment`: from that of the user, where Slurm's programs are to be found.
    """

    METHOD = "slurm.propose"
    account: str | None = None
    """Of all schedulers that are added."""
    partition: str | None = None
    """For those that are added; left out: any that is up."""
    single: bool = False
    """One scheduler for all jobs that name none."""
    environment: dict[str, str] = field(default_factory=dict)


class ProposeForSpecification(Request, frozen=True, kw_only=True):
    """The same for a workflow that is not there: its specification is expanded as for `workflows.create`."""

    METHOD = "slurm.propose_for_specification"
    header: Header
    upload: str | None = None
    directory: str
    account: str | None = None
    partition: str | None = None
    single: bool = False
    environment: dict[str, str] = field(default_factory=dict)


class ServedRequirement(Answer, frozen=True, kw_only=True):
    """Which scheduler the jobs with some resource requirements go with."""

    name: str | None
    """Of the resource requirements; null: the jobs have none."""
    scheduler: str | None
    """null: the one without a name."""
    jobs_per_node: int
    """At once; 0: the jobs name a scheduler that does not run them, as `warnings` tell."""
    jobs: int
    is_named: bool
    """Whether the jobs name the scheduler themselves."""


class AskedAllocations(Answer, frozen=True, kw_only=True):
    """How many Slurm jobs to submit with a scheduler."""

    scheduler: str | None
    count: int
    jobs: int
    """Those that they are for: that wait to be run."""


class SchedulerProposal(Answer, frozen=True, kw_only=True):
    """What is proposed."""

    slurm_schedulers: list[dict[str, Any]]
    """All that the specification should have: first those that it has, as they are."""
    added: list[str]
    """The names of those that are new."""
    requirements: list[ServedRequirement]
    schedule_nodes: list[AskedAllocations]
    warnings: list[str] = field(default_factory=list)
