"""Carrying out an operation to its end: send it once, follow its task, survive the daemon's restart.

The request carries a key of ours, so repeating it after a lost answer gives the task that it created and
never a second one. Once the task's id is known only the wait is repeated.
"""

import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.exits import TaskFailed
from torcctl.progress import Progress
from torcd.protocol.errors import Conflict, NotFound, Refused, TimedOut, TorcError, error_from_wire
from torcd.protocol.model import Task
from torcd.protocol.requests import GetTaskPlan, Operation, WaitTask

if TYPE_CHECKING:
    from torcctl.context import Context

ANSWER_GRACE_S = 10.0
"""How much later than its own time limit the daemon's answer to a wait may come."""

PASSED_ON = (NotFound.code, Conflict.code, Refused.code)
"""Error codes of a failed task that decide the exit code as if the request itself had failed."""


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation's request is answered with: its task, of which this is the part needed here."""

    task_id: int
    status: str
    existing: bool = False


def new_request_key() -> str:
    """A key that no other request has."""
    return os.urandom(16).hex()


def submit(context: "Context", request: Operation) -> msgspec.Raw:
    """The daemon's answer to an operation, which is repeated under its key when the answer is lost."""
    assert request.dry_run or request.request_key is not None  # else a repetition could act twice
    return context.persistently(lambda: context.connection.call(request))


def begin(context: "Context", request: Operation) -> Handle | None:
    """Sends an operation and says which task carries it out; None when there is nothing to do.

    Raises what the daemon refuses the request with, and Unreachable when it vanished for good.
    """
    answer = msgspec.json.decode(submit(context, request), type=dict[str, Any])
    if answer.get("task", ...) is None:
        return None
    handle = msgspec.convert(answer, Handle)
    if handle.existing:
        context.note("info", f"task {handle.task_id} does the same already; waiting for it")
    return handle


def finish(context: "Context", handle: Handle, title: str, timeout_s: float | None = None) -> dict[str, Any]:
    """Waits for the task of an operation; the task, which has succeeded.

    Raises TimedOut when the time is over (the task goes on), Unreachable when the daemon vanished for good, and
    what `failure_of` makes of a task that did not succeed.
    """
    task = Wait(context, handle, title, timeout_s).run()
    if (error := failure_of(task)) is not None:
        raise error
    return {**task, "existing": handle.existing}


def wait_for_task(context: "Context", task_id: int, timeout_s: float | None = None) -> dict[str, Any]:
    """The task once it has ended, in whatever way. Raises TimedOut or Unreachable."""
    return Wait(context, Handle(task_id=task_id, status="queued"), f"task {task_id}", timeout_s).run()


class Wait:
    """Waits for the end of a task by `tasks.wait`, which also tells of its progress."""

    def __init__(self, context: "Context", handle: Handle, title: str, timeout_s: float | None) -> None:
        self._context = context
        self._handle = handle
        self._progress = Progress(title)
        self._timeout_s = timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s

    def run(self) -> dict[str, Any]:
        """The ended task, as the daemon sent it."""
        try:
            with self._progress:
                return self._context.persistently(self._try)
        except KeyboardInterrupt:
            task_id = self._handle.task_id
            self._context.note("info", f"the task goes on; wait for it: torcctl tasks wait {task_id}")
            raise

    def _try(self) -> dict[str, Any]:
        remaining_s = self._remaining_s()
        request = WaitTask(task_id=self._handle.task_id, timeout_s=remaining_s, follow=True)
        try:
            raw = self._context.connection.call(
                request,
                timeout_s=None if remaining_s is None else remaining_s + ANSWER_GRACE_S,
                on_notification=self._progress.on_notification,
            )
        except TimedOut as error:
            raise self._timed_out() from error
        return msgspec.json.decode(raw, type=dict[str, Any])

    def _remaining_s(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _timed_out(self) -> TimedOut:
        task_id = self._handle.task_id
        return TimedOut(
            f"task {task_id} has not ended after {self._timeout_s:g} s; it goes on. "
            f"Wait for it: torcctl tasks wait {task_id}",
            task_id=task_id,
        )


def failure_of(ended: dict[str, Any]) -> TorcError | None:
    """The error of a task that ended without success."""
    task = msgspec.convert(ended, Task)
    if task.status == "succeeded":
        return None
    known = {**(task.error_data or {}), "task_id": task.task_id}
    if task.error is not None and task.error_code in PASSED_ON:
        return error_from_wire(task.error_code, task.error, known)
    why = task.error or "nothing was changed"
    return TaskFailed(f"task {task.task_id} ({task.operation}) {task.status}: {why}", **known)


def add_plan_jobs(context: "Context", task: dict[str, Any]) -> None:
    """Completes the plan in `result`: the daemon leaves the jobs out when they are many."""
    plan = task["result"]
    if plan is None or "jobs" in plan:
        return
    plan["jobs"] = []
    request = GetTaskPlan(task_id=task["task_id"])
    while True:
        page = context.get(request, dict[str, Any])
        plan["jobs"] += page["jobs"]
        if page["next_cursor"] is None:
            return
        request = msgspec.structs.replace(request, cursor=page["next_cursor"])
