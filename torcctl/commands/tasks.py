"""`torcctl tasks …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from torcctl import output
from torcctl.exits import DONE, FAILED
from torcctl.follow import add_plan_jobs, failure_of, wait_for_task
from torcctl.parameters import check_timeout
from torcctl.plans import sentence
from torcctl.selection import check_id, check_workflow, list_request, workflow_of_option
from torcd.protocol.model import Plan, Task
from torcd.protocol.requests import CancelTask, GetTask, ListTasks

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId

COLUMNS = {
    "id": "id",
    "operation": "operation",
    "status": "status",
    "requested by": "requested_by",
    "error": "error",
}


def list_tasks(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the tasks of a workflow."""
    request = list_request(context, ListTasks, workflow, filters, COLUMNS)
    context.show_rows(request, "tasks", Task, COLUMNS)


def get(task: int, /, *, context: Context) -> None:
    """Show a task; once it has succeeded, with its plan."""
    _show(context, _get(context, task))


def wait(task: int, /, *, timeout: float | None = None, context: Context) -> int:
    """Wait for a task to end: exit 0 when it succeeded, 1 when not, 6 when the time is over.

    Args:
        timeout: Wait at most so many seconds; the task goes on.
    """
    check_timeout(timeout, "--timeout")
    if workflow_of_option(context) is not None:
        _get(context, task)
    ended = wait_for_task(context, check_id(task, "task"), timeout)
    error = failure_of(ended)
    if error is not None:
        context.note("error", error.message)
    _show(context, ended)
    return DONE if error is None else FAILED


def cancel(task: int, /, *, context: Context) -> None:
    """Cancel a task whose changes are not being written yet."""
    if workflow_of_option(context) is not None:
        _get(context, task)
    context.show_done(context.call(CancelTask(task_id=check_id(task, "task"))), f"Canceled task {task}")


def _get(context: Context, task_id: int) -> dict[str, Any]:
    task = context.get(GetTask(task_id=check_id(task_id, "task")), dict[str, Any])
    check_workflow(context, task["workflow_id"], "task", task_id)
    return task


def _show(context: Context, task: dict[str, Any]) -> None:
    if context.options.json:
        add_plan_jobs(context, task)
        output.write_json(task)
        return
    output.write_fields((name, task[name]) for name in ("id", "workflow_id", "operation", "status", "requested_by"))
    if task["error"] is not None:
        output.write_fields([("error", task["error"])])
    if task["result"] is not None:
        output.write_fields([("result", sentence(msgspec.convert({"jobs": [], **task["result"]}, Plan)))])


VERBS: dict[str, Command] = {"list": list_tasks, "get": get, "wait": wait, "cancel": cancel}
