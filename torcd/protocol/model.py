"""What the daemon answers with: one struct for each noun, with the field names that scripts rely on.

Times are RFC 3339 UTC strings unless a name ends in `_ms` or `_ns` (Unix time). `…_key` is the same value as
`…_id`, under its old name.
"""

from typing import Any

import msgspec

STATUSES = (
    "uninitialized", "blocked", "ready", "pending", "running", "completed", "failed", "canceled", "terminated",
    "disabled",
)  # fmt: skip
"""The names of the job statuses; a status' number in the database is its place here."""

OLDER_STATUSES = {
    "done": ("completed", "failed"),
    "submitted": ("running",),
    "submitted_pending": ("pending",),
}
"""Older names that filters accept."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the daemon answers with. Unknown fields are ignored: a newer daemon may send more."""


class Workflow(Answer, frozen=True, kw_only=True):
    """A workflow, without its jobs."""

    id: int
    workflow_id: int
    key: int
    name: str
    user: str
    description: str | None
    project: str | None
    submission_directory: str
    run_id: int
    status: str
    is_canceled: bool
    is_archived: bool
    created_at: str
    metadata: Any = None


class Task(Answer, frozen=True, kw_only=True):
    """One execution of an operation. `result` is the plan, once it has succeeded."""

    id: int
    task_id: int
    workflow_id: int
    operation: str
    params: dict[str, Any]
    status: str
    existing: bool = False
    requested_by: str
    error: str | None = None
    error_code: int | None = None
    error_data: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    created_at_ms: int
    started_at_ms: int | None = None
    finished_at_ms: int | None = None


TASK_ENDED = frozenset({"succeeded", "failed", "canceled"})
"""The statuses in which a task stays."""


class WorkflowStatus(Answer, frozen=True, kw_only=True):
    """How far a workflow is. `counts` holds the statuses that occur."""

    workflow_id: int
    run_id: int
    total: int
    counts: dict[str, int]
    complete: bool
    is_canceled: bool = False
    is_archived: bool = False
    active_task: Task | None = None


class Job(Answer, frozen=True, kw_only=True):
    """A job and where it stands."""

    id: int
    job_key: int
    workflow_id: int
    name: str
    command: str
    status: str
    status_reason: str | None
    run_id: int
    attempt_id: int
    return_code: int | None
    worker_id: int | None
    priority: int = 0
    resource_requirements: str | None = None
    failure_handler: str | None = None
    retries: int = 0
    """How often its failure handler had it tried again since an operation last touched it."""


class File(Answer, frozen=True, kw_only=True):
    """A file of a workflow and its record: what was last accepted of it."""

    id: int
    file_key: int
    workflow_id: int
    name: str
    path: str
    is_script: bool
    recorded: str
    """`never`, `absent` or `present`."""
    mtime_ns: int | None
    size: int | None
    version: int


class FileVersion(Answer, frozen=True, kw_only=True):
    """What was accepted of a file from one number of the version counter on, until the next newer one."""

    file_id: int
    version: int
    recorded: str
    """`absent` or `present`."""
    mtime_ns: int | None
    size: int | None


class UserDataVersion(Answer, frozen=True, kw_only=True):
    """A value of a user data, in force from one number of the version counter on; 0: since the workflow was created."""

    user_data_id: int
    version: int
    data: Any
    is_set: bool


class UserData(Answer, frozen=True, kw_only=True):
    """A named JSON value. `data` is null also when there is no value; then `is_set` is false."""

    id: int
    user_data_key: int
    workflow_id: int
    name: str
    data: Any
    is_set: bool
    is_ephemeral: bool
    version: int


class Result(Answer, frozen=True, kw_only=True):
    """What one attempt of a job left behind."""

    id: int
    job_id: int
    job_key: int
    job_name: str
    workflow_id: int
    run_id: int
    attempt_id: int
    return_code: int | None
    status: str
    status_reason: str | None
    exec_time_minutes: float
    started_at: str | None
    completion_time: str
    peak_memory_bytes: int | None
    cpu_seconds: float | None
    hostname: str
    stdout_path: str | None
    stderr_path: str | None


class PlanJob(Answer, frozen=True, kw_only=True):
    """One job whose status a plan changes: from, to (its final status) and why."""

    id: int
    name: str
    from_: str = msgspec.field(name="from")
    from_reason: str | None = None
    """The status reason that goes with `from`, as `status_reason` goes with a job's status."""
    to: str
    to_reason: str | None = None
    reasons: list[dict[str, Any]]


class Decision(Answer, frozen=True, kw_only=True):
    """What one operation decided about a job."""

    task_id: int
    operation: str
    run_id: int
    requested_by: str
    finished_at: str
    decision: str
    """`changed` or `kept`."""
    from_: str = msgspec.field(name="from")
    from_reason: str | None = None
    to: str
    to_reason: str | None = None
    reasons: list[dict[str, Any]]
    """Why it was changed."""
    why: str | None = None
    """Why it was kept: `up_to_date`, `not_selected`, `unchanged_and_not_retried`, `upstream_failed` (a failure stood,
    so that it could not run whatever had changed), `waits_already`, `runs` or `disabled`."""


class Handling(Answer, frozen=True, kw_only=True):
    """What a failure handler did about a job's last failure."""

    failure_handler: str
    attempt_id: int
    """The attempt that failed."""
    return_code: int
    why: str
    """`retry`, or why it is not retried: `no_rule` (none is for this return code), `exhausted`, `recovery_failed`,
    `canceled` (the workflow was), `changed_since` (the handler would retry it now)."""
    retries: int
    max_retries: int | None
    """Of the rule for this return code."""
    recovery_script: str | None


class Explanation(Answer, frozen=True, kw_only=True):
    """Why a job is where it is."""

    job_id: int
    job_key: int
    workflow_id: int
    name: str
    status: str
    status_reason: str | None
    verdict: str
    """`would_rerun` (a reinit now would reset it), `up_to_date`, `not_retried` (it did not complete, and what it takes
    has not changed), `upstream_failed`, `waits`, `runs` or `disabled`."""
    reasons: list[dict[str, Any]]
    """Why a reinit would reset it."""
    root: PlanJob | None
    """The first root cause upstream, with its own reasons."""
    path: list[str]
    """The names of the jobs from that root cause to this one; of a long path the first ten and the last ten."""
    path_omitted: int = 0
    """How many jobs of the path are left out in the middle of `path`."""
    waits: list[dict[str, Any]]
    """`{kind, job_id, name, status, status_reason}` of jobs, `{kind, worker_id, hostname, why}` of workers, else
    `{kind, why}`."""
    decisions: list[Decision]
    """Newest first."""
    warnings: list[str]
    handling: Handling | None = None
    """What its failure handler did about its last failure."""


class Plan(Answer, frozen=True, kw_only=True):
    """What an operation does or would do. `jobs` is in topological order."""

    workflow_id: int
    operation: str
    dry_run: bool
    count: int
    """How many jobs are reset, the number of the sentence "Reset N jobs …"."""
    listed: int = 0
    """How many jobs change status, the length of the whole list."""
    plan_digest: str
    run_id: int
    jobs: list[PlanJob]
    warnings: list[str]
    cause: str
    """How the sentence goes on: "due to changed inputs"."""
    spared: int = 0
    """Jobs that were examined and stay as they are."""


class Event(Answer, frozen=True, kw_only=True):
    """One entry of a workflow's log; `seq` counts without gaps."""

    seq: int
    workflow_id: int
    timestamp: str
    kind: str
    data: dict[str, Any]


class Worker(Answer, frozen=True, kw_only=True):
    """A process that runs jobs."""

    id: int
    worker_id: int
    workflow_id: int
    hostname: str
    pid: int
    num_cpus: int
    memory_bytes: int
    num_gpus: int
    max_parallel_jobs: int | None
    status: str
    """`connected`, `away` (its lease runs) or `gone`."""
    registered_at: str
    allocation_id: int | None = None
    """The allocation that started it; null: somebody did by hand."""
    time_left_s: float | None = None
    """How long a job that it starts now may take; null: as long as it likes, or nobody knows."""


class Daemon(Answer, frozen=True, kw_only=True):
    """The daemon itself. One that listens for other hosts also says at which address, and its certificate's
    fingerprint."""

    running: bool
    pid: int
    url: str
    version: str
    started_at: str
    database: str
    database_check: str = "running"
    """What reading all of the database came to: `running`, `sound`, `damaged` or `failed` (it could not be read)."""
    database_damage: str | None = None
    """What is wrong with it. Nothing is written to it then."""
    remote_url: str | None = None
    fingerprint: str | None = None


class Backup(Answer, frozen=True, kw_only=True):
    """A copy of the database as one file, checked in full."""

    database: str
    path: str
    size_bytes: int
    duration_s: float


class Restored(Answer, frozen=True, kw_only=True):
    """A database that was replaced by a backup."""

    database: str
    restored_from: str
    kept: str | None
    """What was there, with its log beside it; null when nothing was."""
    size_bytes: int
    workflows: int
    schema_version: int
    """Of the backup; the database has this torcd's."""
