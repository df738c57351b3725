"""What jobs asked for, compared with what they used."""

from torcd.protocol.model import Answer
from torcd.protocol.requests import ListRequest


class ReportResources(ListRequest, frozen=True, kw_only=True):
    """Compares requested with used resources, a row for each resource requirement, and for the jobs without one.

    Answers {requirements: [RequirementUse], next_cursor}; takes no filters. Counted are the attempts of which `results
    list` shows the results, as far as they started; with `all_runs` all that ever ended.
    """

    METHOD = "reports.resources"
    all_runs: bool = False


class ReportJobResources(ListRequest, frozen=True, kw_only=True):
    """The same with a row for each job of which there is such an attempt. Answers {jobs: [JobUse], next_cursor}."""

    METHOD = "reports.job_resources"
    all_runs: bool = False


class Requested(Answer, frozen=True, kw_only=True):
    """What a resource requirement says."""

    num_cpus: int
    memory_bytes: int
    num_gpus: int
    runtime_s: float


class Spread(Answer, frozen=True, kw_only=True):
    """Of some attempts the greatest value, and that which 95 of 100 do not exceed."""

    max: float
    p95: float


class Used(Answer, frozen=True, kw_only=True):
    """What attempts used; null: not known of any."""

    peak_memory_bytes: Spread | None
    runtime_s: Spread | None
    cpus: Spread | None
    """Processors on average: processor time by time. Of attempts shorter than a second it says nothing."""


class Proposed(Answer, frozen=True, kw_only=True):
    """What would have been enough, with some to spare; null: not known."""

    memory_bytes: int | None
    runtime_s: int | None
    num_cpus: int | None


class RequirementUse(Answer, frozen=True, kw_only=True):
    """A resource requirement and what the jobs with it used."""

    name: str | None
    """Null: the jobs without requirements."""
    jobs: int
    attempts: int
    requested: Requested | None
    used: Used
    proposed: Proposed


class JobUse(Answer, frozen=True, kw_only=True):
    """A job and what its attempts used."""

    id: int
    job_key: int
    name: str
    resource_requirements: str | None
    attempts: int
    requested: Requested | None
    used: Used
    proposed: Proposed
