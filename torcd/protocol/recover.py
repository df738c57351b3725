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
    jobs: int
    """The ready jobs that they are for."""
    too_long: int
    """Ready jobs that take longer than the walltime."""
    too_large: int
    """Ready jobs that need more than a node has."""
    pending: int
    """Slurm jobs of the scheduler that wait already, and so are not counted."""


class Suggestions(Answer, frozen=True, kw_only=True):
    """One for each scheduler that ready jobs are for."""

    suggestions: list[Suggestion]
    schedulers: list[str | None] = msgspec.field(default_factory=list)
    """The names of all `slurm_schedulers` of the workflow."""
    undecided: int = 0
    """Ready jobs that name no scheduler, where there are several."""
    at_work: int = 0
    """Workers that are not gone and Slurm jobs that have not ended, of any scheduler and of none."""
