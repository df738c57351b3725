"""`torcctl jobs …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from torcctl import output
from torcctl.exits import UsageError
from torcctl.job_selection import select_jobs
from torcctl.parameters import OPERATION_DEFAULTS, PLAN_DEFAULTS
from torcctl.perform import perform, show_nothing
from torcctl.selection import check_id, find_job, is_id, list_request
from torcd.protocol.edits import DisableJobs, EnableJobs
from torcd.protocol.model import Explanation, Job
from torcd.protocol.requests import AcceptJobs, ExplainJob, GetJob, ListJobs, ResetJobs, UpdateJob

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import (
        Command,
        Detect,
        Filters,
        Follow,
        Key,
        OperationOptions,
        PlanOptions,
        Reinitialize,
        Switch,
        WorkflowId,
    )

Value = TypeVar("Value")

COLUMNS = {
    "id": "id",
    "name": "name",
    "status": "status",
    "reason": "status_reason",
    "run": "run_id",
    "attempt": "attempt_id",
    "return code": "return_code",
    "command": "command",
}


ENV_FORM = '--env takes a JSON object of texts, such as {"A": "1"}'


def list_jobs(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the jobs of a workflow."""
    request = list_request(context, ListJobs, workflow, filters, COLUMNS)
    context.show_rows(request, "jobs", Job, COLUMNS)


def get(job: str, /, *, context: Context) -> None:
    """Show a job.

    Args:
        job: Id of the job, or its name in the selected workflow.
    """
    request = GetJob(job_id=find_job(context, job).id)
    context.show(context.call(request), Job, output.write_struct)


def update(
    job: str,
    /,
    *,
    command: str | None = None,
    invocation_script: str | None = None,
    env: str | None = None,
    priority: int | None = None,
    resource_requirements: str | None = None,
    cancel_on_blocking_job_failure: Switch = None,
    supports_termination: Switch = None,
    failure_handler: str | None = None,
    context: Context,
) -> None:
    """Edit a job that is not running. What is left out stays as it is.

    Args:
        job: Id of the job, or its name in the selected workflow.
        command: What bash runs.
        invocation_script: A program that is started with the command as its arguments; "" for none.
        env: The job's whole environment beyond the worker's, as a JSON object of strings.
        priority: Jobs with a higher one are run first.
        resource_requirements: Name of the resource requirements.
        cancel_on_blocking_job_failure: Whether the job is canceled when one it depends on fails.
        supports_termination: Whether the job wants to be told, and not killed, when its time ends.
        failure_handler: Name of the failure handler; "" for none.
    """
    changes = UpdateJob(
        job_id=0,
        command=_or_unset(command),
        invocation_script=None if invocation_script == "" else _or_unset(invocation_script),
        env=UNSET if env is None else _parse_env(env),
        priority=_or_unset(priority),
        resource_requirements=_or_unset(resource_requirements),
        cancel_on_blocking_job_failure=_or_unset(cancel_on_blocking_job_failure),
        supports_termination=_or_unset(supports_termination),
        failure_handler=None if failure_handler == "" else _or_unset(failure_handler),
    )
    if changes == UpdateJob(job_id=0):
        raise UsageError(f"jobs update {job}: say what to change, for instance --command; see --help")
    needs_look = context.options.workflow_key is not None or not is_id(job)
    job_id = find_job(context, job).id if needs_look else check_id(int(job), "job")
    context.show(context.call(replace(changes, job_id=job_id)), Job, output.write_struct)


def _parse_env(text: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.ValidationError as error:
        raise UsageError(f"{ENV_FORM}; every value is a text in quotes, not as in {text}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{ENV_FORM}; this is no JSON ({error}): {text}") from error


def _or_unset(value: Value | None) -> Value | UnsetType:
    """What the daemon is told: nothing about what was not given."""
    return UNSET if value is None else value


def reset_status(
    *keys: Key,
    status: str | None = None,
    return_code: int | None = None,
    reinitialize: Reinitialize = False,
    detect: Detect = None,
    options: OperationOptions = OPERATION_DEFAULTS,
    context: Context,
) -> int:
    """Set jobs, and everything downstream of them, to uninitialized: all of them, or none.

    Args:
        keys: Ids of jobs, or names in the selected workflow; - reads them from standard input, one a line.
        status: Also the jobs of the workflow that are in this status.
        return_code: Also those whose last attempt ended with this return code.
        reinitialize: Go on with reinit at once, so that the jobs become ready or blocked.
    """
    selection = select_jobs(context, keys, status=status, return_code=return_code)
    if selection is None:
        return show_nothing(context, ResetJobs, options)
    return perform(context, ResetJobs, options, **selection.fields(), reinitialize=reinitialize, detect=detect)


def disable(*keys: Key, context: Context) -> None:
    """Disable jobs: they never run and hold nothing up. What is downstream is evaluated at once.

    Args:
        keys: Ids of jobs, or names in the selected workflow; - reads them from standard input, one a line.
    """
    _put(context, keys, DisableJobs, "disabled")


def enable(*keys: Key, context: Context) -> None:
    """Take disabling back: the jobs become uninitialized, and what depends on them waits for them.

    Args:
        keys: Ids of jobs, or names in the selected workflow; - reads them from standard input, one a line.
    """
    _put(context, keys, EnableJobs, "enabled")


def _put(context: Context, keys: tuple[Key, ...], kind: type[DisableJobs | EnableJobs], done: str) -> None:
    selection = select_jobs(context, keys)
    if selection is None:
        if context.options.json:
            output.write_json({"workflow_id": None, done: 0, "unchanged": 0, "jobs": []})
        return
    raw = context.call(kind(workflow_id=selection.workflow_id, jobs=selection.jobs))
    answer = msgspec.json.decode(raw, type=dict[str, Any])
    if answer["unchanged"]:
        were = "was" if answer["unchanged"] == 1 else "were"
        context.note("info", f"{output.count_jobs(answer['unchanged'])} {were} {done} already")
    context.show_done(raw, f"{done.capitalize()} {output.count_jobs(answer[done])}")


def accept(
    *keys: Key,
    reason: str,
    status: str | None = None,
    return_code: int | None = None,
    options: PlanOptions = PLAN_DEFAULTS,
    context: Context,
) -> int:
    """Take jobs for completed as they are: their files, definitions and user data are what they ran with.

    Refused when an output is not there. What depends on them, and waits, need not wait any more.

    Args:
        keys: Ids of jobs, or names in the selected workflow; - reads them from standard input, one a line.
        reason: Why; it is kept with the task.
        status: Also the jobs of the workflow that are in this status.
        return_code: Also those whose last attempt ended with this return code.
    """
    selection = select_jobs(context, keys, status=status, return_code=return_code)
    if selection is None:
        return show_nothing(context, AcceptJobs, options)
    return perform(context, AcceptJobs, options, **selection.fields(), reason=reason)


def explain(job: str, /, *, task: int | None = None, context: Context) -> None:
    """Tell why a job would run again, or would not, what it waits for, and what operations decided about it.

    Args:
        job: Id of the job, or its name in the selected workflow.
        task: Only what this task decided.
    """
    from torcctl.explanations import write_explanation

    raw = context.call(ExplainJob(job_id=find_job(context, job).id, task_id=task))
    for warning in msgspec.json.decode(raw, type=Explanation).warnings:
        context.warn(warning)
    context.show(raw, Explanation, write_explanation)


def logs(job: str, /, *, follow: Follow = False, context: Context) -> None:
    """Print what a job's latest attempt wrote: its stdout, then its stderr.

    Args:
        job: Id of the job, or its name in the selected workflow.
    """
    from torcctl.logs import follow_logs, show_logs

    (follow_logs if follow else show_logs)(context, find_job(context, job))


VERBS: dict[str, Command] = {
    "list": list_jobs,
    "get": get,
    "update": update,
    "reset-status": reset_status,
    "accept": accept,
    "explain": explain,
    "disable": disable,
    "enable": enable,
    "logs": logs,
}
