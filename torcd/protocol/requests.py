"""What users ask of the daemon: one struct a method, decoded once and used as it is.

The struct that was decoded is also the message in an actor's mailbox. Unknown fields are refused.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType, field

from torcd.protocol.specification import Header, Piece

Detect = Literal["mtime", "content"]
Integer = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""What the database and arrays can hold."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Time = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""Unix time in milliseconds, up to the year 9999."""

MAX_PAGE = 5000
"""Most rows a list request may ask for at once; a page also ends at about half a MiB."""
PageSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all requests. `METHOD` is the `noun.verb` of the wire."""

    METHOD: ClassVar[str]


class Hello(Request, frozen=True, kw_only=True):
    """First call of a session."""

    METHOD = "session.hello"
    protocol: int
    client: str
    version: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Hello(client={self.client!r})"  # never the token


class DaemonStatus(Request, frozen=True, kw_only=True):
    """Who is there: answers `model.Daemon`."""

    METHOD = "daemon.status"


class DaemonStop(Request, frozen=True, kw_only=True):
    """Asks the daemon to stop in order, as SIGTERM does."""

    METHOD = "daemon.stop"


# ---- uploads and workflows -------------------------------------------------------------------------------


class AppendUpload(Request, frozen=True, kw_only=True):
    """Adds a piece to an upload of this session. Uploads end with their session."""

    METHOD = "uploads.append"
    upload: str
    piece: Piece


class CreateWorkflow(Request, frozen=True, kw_only=True):
    """Creates a workflow from a header and an upload: all of it in one transaction, or nothing."""

    METHOD = "workflows.create"
    header: Header
    upload: str | None = None
    directory: str
    user: str
    dry_run: bool = False
    request_key: str | None = None


class WorkflowRequest(Request, frozen=True, kw_only=True):
    """Base of what concerns one workflow."""

    workflow_id: Integer


class ListWorkflows(Request, frozen=True, kw_only=True):
    """Pages through the workflows."""

    METHOD = "workflows.list"
    filters: list[tuple[str, str]] = field(default_factory=list)
    limit: PageSize = MAX_PAGE
    cursor: Natural = 0


class GetWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    METHOD = "workflows.get"


class GetStatus(WorkflowRequest, frozen=True, kw_only=True):
    METHOD = "workflows.status"


class CancelWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Cancels every job that has not ended; attempts under way are stopped."""

    METHOD = "workflows.cancel"


class DeleteWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Deletes a workflow with all its history. Files on disk stay."""

    METHOD = "workflows.delete"


class Operation(WorkflowRequest, frozen=True, kw_only=True):
    """Base of the operations: what one workflow does one at a time.

    `EFFECT` names the parameters that change the effect: two requests that agree in them are the same.
    """

    EFFECT: ClassVar[tuple[str, ...]] = ("force", "stop_live")
    NAME: ClassVar[str]

    requested_by: str = ""
    dry_run: bool = False
    force: bool = False
    stop_live: bool = False
    expect: str | None = None
    request_key: str | None = None
    follow: bool = False

    def effect(self) -> dict[str, Any]:
        """The parameters that change the effect, with defaults filled in."""
        return {name: getattr(self, name) for name in self.EFFECT}


class Initialize(Operation, frozen=True, kw_only=True):
    """Makes a workflow's jobs ready or blocked for the first time, or all over again with `force`."""

    METHOD = "workflows.initialize"
    NAME = "initialize"


class Reinit(Operation, frozen=True, kw_only=True):
    """Detects changes and resets what they affect."""

    METHOD = "workflows.reinit"
    NAME = "reinit"
    EFFECT = ("force", "stop_live", "detect")
    detect: Detect | None = None


class Restart(Operation, frozen=True, kw_only=True):
    """Re-evaluates what did not finish; unless `only_uninitialized`, detects changes too."""

    METHOD = "workflows.restart"
    NAME = "restart"
    EFFECT = ("force", "stop_live", "detect", "only_uninitialized")
    detect: Detect | None = None
    only_uninitialized: bool = False


class ResetStatus(Operation, frozen=True, kw_only=True):
    """Sets all, or the failed, jobs to uninitialized; with `reinitialize` goes on as reinit."""

    METHOD = "workflows.reset_status"
    NAME = "reset-status"
    EFFECT = ("force", "stop_live", "detect", "failed_only", "reinitialize")
    detect: Detect | None = None
    failed_only: bool = False
    reinitialize: bool = False


class JobsOperation(Operation, frozen=True, kw_only=True):
    """Base of the operations on jobs that are named by id, or selected by status or by return code."""

    jobs: list[Integer] = field(default_factory=list)
    status: str | None = None
    return_code: Integer | None = None

    def effect(self) -> dict[str, Any]:
        """As for any operation; the order of the jobs changes nothing, nor does one that is named twice."""
        return {**super().effect(), "jobs": sorted(set(self.jobs))}


class ResetJobs(JobsOperation, frozen=True, kw_only=True):
    """Sets the named jobs and everything downstream of them to uninitialized."""

    METHOD = "jobs.reset_status"
    NAME = "jobs reset-status"
    EFFECT = ("force", "stop_live", "detect", "jobs", "status", "return_code", "reinitialize")
    detect: Detect | None = None
    reinitialize: bool = False


class AcceptJobs(JobsOperation, frozen=True, kw_only=True):
    """Takes the named jobs for completed as they are: with the present files, definitions and user data."""

    METHOD = "jobs.accept"
    NAME = "jobs accept"
    EFFECT = ("force", "jobs", "status", "return_code", "reason")
    reason: str


class Undo(Operation, frozen=True, kw_only=True):
    """Takes back the last operation, as long as no worker has claimed what it made runnable."""

    METHOD = "workflows.undo"
    NAME = "undo"
    EFFECT = ()


class Prepare(Operation, frozen=True, kw_only=True):
    """What `run` does first: initialize a workflow that never was, else evaluate uninitialized jobs."""

    METHOD = "workflows.prepare"
    NAME = "prepare"


class GetPreview(Request, frozen=True, kw_only=True):
    """Pages through the jobs of a dry run's plan; `preview` came with its first page, on this connection."""

    METHOD = "workflows.preview"
    preview: str
    limit: PageSize = MAX_PAGE
    cursor: Natural = 0


# ---- jobs, files, user data, results, tasks, events ----------------------------------------------------------


class ListRequest(WorkflowRequest, frozen=True, kw_only=True):
    """Base of the lists of one workflow. A filter is (key, value); all must hold."""

    filters: list[tuple[str, str]] = field(default_factory=list)
    limit: PageSize = MAX_PAGE
    cursor: Natural = 0


class ListJobs(ListRequest, frozen=True, kw_only=True):
    METHOD = "jobs.list"


class GetJob(Request, frozen=True, kw_only=True):
    METHOD = "jobs.get"
    job_id: Integer


class ExplainJob(Request, frozen=True, kw_only=True):
    """Why a job would run again, or would not, what it waits for, and what operations decided about it.

    With `task_id` only what that one decided.
    """

    METHOD = "jobs.explain"
    job_id: Integer
    task_id: Integer | None = None


class UpdateJob(Request, frozen=True, kw_only=True):
    """Edits a job that is not live. What is left out stays as it is."""

    METHOD = "jobs.update"
    job_id: Integer
    command: str | UnsetType = UNSET
    invocation_script: str | UnsetType | None = UNSET
    env: dict[str, str] | UnsetType = UNSET
    priority: Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)] | UnsetType = UNSET
    resource_requirements: str | UnsetType = UNSET
    cancel_on_blocking_job_failure: bool | UnsetType = UNSET
    supports_termination: bool | UnsetType = UNSET
    failure_handler: str | UnsetType | None = UNSET


class ListFiles(ListRequest, frozen=True, kw_only=True):
    METHOD = "files.list"


class ListUserData(ListRequest, frozen=True, kw_only=True):
    METHOD = "user_data.list"


class GetUserData(Request, frozen=True, kw_only=True):
    """One user data, by `user_data_id` or by `workflow_id` and `name`."""

    METHOD = "user_data.get"
    user_data_id: Integer | None = None
    workflow_id: Integer | None = None
    name: str | None = None


class UpdateUserData(Request, frozen=True, kw_only=True):
    """Writes a value. With `job_id` and `attempt_id` it is that job's own write, during its attempt."""

    METHOD = "user_data.update"
    user_data_id: Integer | None = None
    workflow_id: Integer | None = None
    name: str | None = None
    data: Any
    job_id: Integer | None = None
    attempt_id: Integer | None = None


class ListResults(ListRequest, frozen=True, kw_only=True):
    METHOD = "results.list"
    all_runs: bool = False


class GetResult(Request, frozen=True, kw_only=True):
    METHOD = "results.get"
    result_id: Integer


class ListTasks(ListRequest, frozen=True, kw_only=True):
    METHOD = "tasks.list"


class GetTask(Request, frozen=True, kw_only=True):
    METHOD = "tasks.get"
    task_id: Integer


class GetTaskPlan(Request, frozen=True, kw_only=True):
    """Pages through the jobs of a task's plan; `cursor` is a place in the plan."""

    METHOD = "tasks.plan"
    task_id: Integer
    limit: PageSize = MAX_PAGE
    cursor: Natural = 0


class WaitTask(Request, frozen=True, kw_only=True):
    """Answers when the task has ended (408 after `timeout_s`). With `follow`, progress comes meanwhile."""

    METHOD = "tasks.wait"
    task_id: Integer
    timeout_s: float | None = None
    follow: bool = False


class CancelTask(Request, frozen=True, kw_only=True):
    METHOD = "tasks.cancel"
    task_id: Integer


class ListEvents(ListRequest, frozen=True, kw_only=True):
    """Pages through a workflow's log; `cursor` is the last sequence number that is not wanted."""

    METHOD = "events.list"


class Subscribe(WorkflowRequest, frozen=True, kw_only=True):
    """Replays the log after `from_seq` (left out: nothing) and goes on live. Answers {subscription}."""

    METHOD = "events.subscribe"
    from_seq: Natural | None = None
    progress: bool = True


class Unsubscribe(Request, frozen=True, kw_only=True):
    METHOD = "events.unsubscribe"
    subscription: Integer
