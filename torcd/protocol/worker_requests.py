"""What workers tell the daemon and are told: registration, reports of attempts, claimed jobs."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType, field

from torcd.protocol.requests import Integer, ListRequest, Natural, Positive, Request, Time, WorkflowRequest


class AttemptRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One attempt of one job."""

    job_id: Integer
    attempt_id: Integer


class OutputSeen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A worker's own stat of an output when the job ended. Absent: no mtime; unknown: `error`.

    `digest` (hexadecimal, see `content`) and `is_racy` where the worker was to read its content; else left out, so that
    daemons that know nothing of contents understand it.
    """

    file_id: Integer
    mtime_ns: Integer | None = None
    size: Natural | None = None
    digest: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{32})?$")] = ""
    is_racy: bool = False
    error: str | None = None


class AttemptEnd(AttemptRef, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How an attempt ended. `stopped` says why the worker killed it, when it did."""

    return_code: Integer
    stopped: Literal["walltime", "worker_shutdown", "by_user", "superseded"] | None = None
    started_at_ms: Time
    ended_at_ms: Time
    exec_time_s: Annotated[float, msgspec.Meta(ge=0)]
    peak_memory_bytes: Natural | None = None
    cpu_seconds: float | None = None
    stdout_path: str | None = None
    stderr_path: str | None = None
    outputs: list[OutputSeen] = field(default_factory=list)
    recovery_failed: bool | UnsetType = UNSET
    """True: the recovery script did not succeed, and the return code is its; the command was not run."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much more work a worker takes now. `jobs` bounds the number; null resources are not counted.

    `ahead` more jobs may be handed out beyond what fits, to wait at the worker: it asks for them when its
    jobs are so short that the way to the daemon would cost more than they do. A job whose requirements say that it
    takes longer than `time_left_s`, counted from when the daemon reads it, is not handed out; null: no limit.
    """

    jobs: Natural
    ahead: Natural = 0
    num_cpus: Natural | None = None
    memory_bytes: Natural | None = None
    num_gpus: Natural | None = None
    time_left_s: Annotated[float, msgspec.Meta(ge=0)] | None = None


class RegisterWorker(WorkflowRequest, frozen=True, kw_only=True):
    """A worker's first call, and after a lost connection (then with its id and its attempts).

    Answers {worker_id, lease_s, submission_directory, workflow_name, run_id, total, counts, lost: [AttemptRef]}
    where `lost` are re-presented attempts that were superseded: the worker kills those.
    """

    METHOD = "workers.register"
    worker_id: Integer | None = None
    hostname: str
    pid: Integer
    num_cpus: Natural
    memory_bytes: Natural
    num_gpus: Natural = 0
    max_parallel_jobs: Positive | None = None
    process: str = ""
    """With `pid`, what tells the worker's process from all others of its host. A worker that sends it also hands back
    each attempt of `lost` once that has ended."""
    allocation_id: Integer | None = None
    """Of a worker that an allocation started: which one."""
    attempts: list[AttemptRef] = field(default_factory=list)


class ReportWorker(Request, frozen=True, kw_only=True, omit_defaults=True):
    """What happened at a worker since its last report, and what it would take now.

    Answers `WorkerAnswer`. With `wait_s` > 0 and nothing to hand out the answer waits, at most so long,
    until there is something; the worker's next report ends such a wait at once.
    """

    METHOD = "workers.report"
    worker_id: Integer
    started: list[AttemptRef] = field(default_factory=list)
    ended: list[AttemptEnd] = field(default_factory=list)
    returned: list[AttemptRef] = field(default_factory=list)
    capacity: Capacity | None = None
    wait_s: float = 0
    lingers: bool = False
    """Waits also when the workflow is complete, or nothing that is left can be run by this worker: for new jobs."""


class LeaveWorker(Request, frozen=True, kw_only=True):
    """A worker's last call: it has no attempts any more."""

    METHOD = "workers.leave"
    worker_id: Integer


class ListWorkers(ListRequest, frozen=True, kw_only=True):
    METHOD = "workers.list"


class JobOutput(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file that a job must leave behind; the path is absolute."""

    file_id: Integer
    path: str


class Recovery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a worker runs before the command of a job that is retried, and what that script is told of the failure."""

    script: str
    """Run by `bash -c`, as a command is."""
    attempt_id: Integer
    """The attempt that failed."""
    return_code: int
    stderr_path: str | None


class JobLaunch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A claimed job, with all that a worker needs to run it."""

    job_id: Integer
    name: str
    command: str
    invocation_script: str | None
    env: dict[str, str]
    run_id: int
    attempt_id: Integer
    outputs: list[JobOutput]
    num_cpus: Natural
    memory_bytes: Natural
    num_gpus: Natural
    runtime_s: float
    """0: nobody said."""
    supports_termination: bool
    reads_content: bool = False
    """Whether the content of the outputs is to be read, and its digest reported."""
    recovery: Recovery | None = None


class RefusedReport(AttemptRef, frozen=True, kw_only=True, gc=False):
    """A report that was not accepted, and why: `superseded` or `conflict`."""

    why: str


class WorkerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's answer to a worker's report."""

    jobs: list[JobLaunch] = field(default_factory=list)
    refused: list[RefusedReport] = field(default_factory=list)
    stop: list[AttemptRef] = field(default_factory=list)
    """Attempts that the worker must stop: canceled or superseded."""
    complete: bool = False
    """Every job of the workflow has ended."""
    stranded: int = 0
    """Jobs that have not ended, when none is under way and this worker can take none that is ready: it would wait in
    vain, unless a user or another worker does something."""
    counts: dict[str, int] = field(default_factory=dict)
