"""Recovering failed jobs: the request, and what a plan of it tells besides its jobs."""

from typing import Annotated, Any

import msgspec

from torcd.protocol.model import Answer
from torcd.protocol.requests import Operation, WorkflowRequest

Multiplier = Annotated[float, msgspec.Meta(ge=1, le=1000)]
"""How many times as much of what ran out is asked for."""

MEMORY_MULTIPLIER, RUNTIME_MULTIPLIER = 1.5, 1.4


class Recover(Operation, frozen=True, kw_only=True):
    """Diagnoses each job that failed or was terminated, raises what it ran out of, and makes it ready again.

    Jobs whose failure has no known cure stay as they are; with `retry_unknown` they are run again unchanged. A job that
    asks for as much as a ceiling allows already stays as it is, too. The plan has `diagnoses` and `diagnosed`, that of
    a dry run also `slurm_jobs`: the `Suggestions` for what would be ready after it.
    """

    METHOD = "workflows.recover"
    NAME = "recover"
    EFFECT = (
        "force", "stop_live", "memory_multiplier", "runtime_multiplier", "max_memory", "max_runtime", "retry_unknown",
    )  # fmt: skip
    memory_multiplier: Multiplier = MEMORY_MULTIPLIER
    runtime_multiplier: Multiplier = RUNTIME_MULTIPLIER
    max_memory: str | None = None
    """As in specifications: "512m", "2g"."""
    max_runtime: str | None = None
    """As in specifications, "PT1H", or as a walltime, "01:00:00"."""
    retry_unknown: bool = False


class Diagnosed(Answer, frozen=True, kw_only=True):
    """What is found out about one job, and what is done about it."""

    id: int
    name: str
    kind: str
    """`out_of_memory`, `timeout`, `worker_lost`, `node_failure`, `worker_shutdown`, `output_missing` or `failed`."""
    recoverable: bool
    why: str | None = None
    """Why it is not: `unknown_cause`, `at_ceiling` or `no_request` (it asked for nothing that could be raised)."""
    evidence: dict[str, Any]
    adjustments: dict[str, dict[str, float]]
    """Of `memory_bytes` or `runtime_s`: `from`, what it asked for (0: nothing), and `to`."""
    resource_requirements: str | None = None
    """The name of the requirements that it is given, where something is adjusted."""


class SuggestAllocations(WorkflowRequest, frozen=True, kw_only=True):
    """How many Slurm jobs the ready jobs take, by scheduler; nothing is submitted. Answers `Suggestions`."""

    METHOD = "slurm.suggest"


class Suggestion(Answer, frozen=True, kw_only=True):
    """The Slurm jobs that one of the `slurm_schedulers` should be asked for."""

    scheduler: str | None
    count: int
    walltime: str | None = None
    """To be asked for instead of the scheduler's, for these jobs take longer."""
    mem: str | None = None
    """As the walltime: they need more memory."""
    jobs: int
    """The ready jobs that they are for."""
    too_long: int = 0
    """Ready jobs that take longer than any Slurm job may in the scheduler's partition."""
    longest_s: float = 0
    """What the longest of those takes."""
    max_walltime_s: float | None = None
    """What Slurm says that the partition gives at most; null: it was not asked, did not say, or there is no limit."""
    too_large: int = 0
    """Ready jobs that need more than any node of the scheduler has, or than it can be asked for."""
    largest_bytes: int = 0
    """The memory that the largest of those needs."""
    max_memory_bytes: int | None = None
    """As `max_walltime_s`, of the largest node."""
    pending: int
    """Slurm jobs of the scheduler that wait already, and so are not counted."""


class Suggestions(Answer, frozen=True, kw_only=True):
    """For each scheduler that ready jobs are for one, and another for jobs that take more time or memory than it asks
    for."""

    suggestions: list[Suggestion]
    schedulers: list[str | None] = msgspec.field(default_factory=list)
    """The names of all `slurm_schedulers` of the workflow."""
    undecided: int = 0
    """Ready jobs that name no scheduler, where there are several."""
    at_work: int = 0
    """Workers that are not gone and Slurm jobs that have not ended, of any scheduler and of none."""
