"""`torcctl watch`: follows a workflow until all of its jobs have ended, and recovers what failed on the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from torcctl.commands.run import GOOD, report
from torcctl.diagnoses import write_diagnoses
from torcctl.exits import UsageError
from torcctl.output import count_jobs
from torcctl.parameters import RECOVER_DEFAULTS
from torcctl.progress import Progress
from torcctl.recovery import (
    carry_out,
    check_recovery,
    check_schedulers,
    count_diagnosed,
    diagnoses_of,
    is_deserted,
    preview,
    refusal_text,
    submit,
)
from torcctl.selection import choose_workflow
from torcctl.standstill import OPEN, explain_standstill
from torcctl.suggested import note_enough
from torcctl.working import count_progress
from torcd.protocol.errors import Conflict, NotFound, TorcError
from torcd.protocol.model import WorkflowStatus
from torcd.protocol.recover import SuggestAllocations, Suggestions
from torcd.protocol.requests import GetStatus, Subscribe
from torcd.protocol.slurm import Allocation, ListAllocations

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, HpcJobs, RecoverOptions, WorkflowId

CALM_S = 0.2
"""After news, before the status is asked for: jobs end by the hundreds."""

IDLE_S = 10.0
"""Without anybody at work, before Slurm jobs are submitted once more: another client may be about to do just that."""


def watch(
    workflow: WorkflowId = None,
    /,
    *,
    recover: bool = False,
    max_retries: int = 3,
    poll: float = 60.0,
    num_hpc_jobs: HpcJobs = 0,
    recovery: RecoverOptions = RECOVER_DEFAULTS,
    context: Context,
) -> int:
    """Follow a workflow until all of its jobs have ended; exit 0 only if every one is completed or disabled.

    With --recover it recovers what failed, as `torcctl recover` does, each time that everything has ended, or that jobs
    wait for Slurm jobs and none is left. It runs no jobs itself: workers do, such as torcctl run ID.

    Args:
        recover: Recover failed jobs, and go on.
        max_retries: With --recover: at most so many times.
        num_hpc_jobs: How many Slurm jobs are to be queued after a recovery; by default as many as the jobs need.
        poll: Seconds without news after which the status is asked for all the same.
    """
    if max_retries < 1:
        raise UsageError(f"--max-retries: {max_retries} recoveries are none; leave --recover out")
    if not 0 < poll < float("inf"):
        raise UsageError(f"--poll: {poll:g} is no number of seconds between two looks")
    check_recovery(num_hpc_jobs, recovery)
    workflow_id = choose_workflow(context, workflow)
    if recover:
        check_schedulers(context, workflow_id, num_hpc_jobs)
    retries = 0
    while True:
        status = _follow(context, workflow_id, poll, submits=recover and not recovery.no_schedule)
        if not recover or not _needs_recovery(context, status):
            return report(context, workflow_id, ran_here=False)
        if retries == max_retries:
            context.warn(f"workflow {workflow_id} was recovered {retries} times, and is not done: giving up")
            return report(context, workflow_id, ran_here=False)
        if not _recover(context, status, recovery, num_hpc_jobs):
            return report(context, workflow_id, ran_here=False)
        retries += 1


def _follow(context: Context, workflow_id: int, poll_s: float, *, submits: bool) -> WorkflowStatus:
    """Shows how far a workflow is, until everything has ended or nothing goes on by itself; its status then.

    With `submits` that is also once jobs have been ready for Slurm for a while and nobody is at work on them. Raises
    NotFound when it is deleted.
    """
    look = _Look(context, workflow_id, min(poll_s, IDLE_S) if submits else None)
    with Progress(f"workflow {workflow_id}") as progress:

        def follow_session() -> WorkflowStatus:
            context.connection.call(Subscribe(workflow_id=workflow_id, progress=False))
            while not look.is_over(progress):
                _await_news(context, workflow_id, min(poll_s, look.patience_s))
            return look.status

        status = context.persistently(follow_session)
    context.close()  # its subscription ends with it
    return status


class _Look:
    """What was last seen of a workflow. `idle_s`: after so long without anybody at work it is over; None: never."""

    def __init__(self, context: Context, workflow_id: int, idle_s: float | None) -> None:
        self._context = context
        self._workflow_id = workflow_id
        self._idle_s = idle_s
        self._idle_since: float | None = None
        self._told: set[str] = set()
        self.status: WorkflowStatus

    @property
    def patience_s(self) -> float:
        """After which to look again, also without news."""
        if self._idle_s is None or self._idle_since is None:
            return float("inf")
        left_s = self._idle_since + self._idle_s - time.monotonic()
        return left_s if left_s > 0 else float("inf")

    def is_over(self, progress: Progress) -> bool:
        """Looks, in the session that has the subscription, and shows how far it is; whether it is over."""
        raw = self._context.connection.call(GetStatus(workflow_id=self._workflow_id))
        status = self.status = msgspec.json.decode(raw, type=WorkflowStatus)
        is_idle = not any(status.counts.get(name) for name in ("pending", "running")) and status.active_task is None
        if is_idle and (status.complete or status.is_archived):
            return True
        step = count_progress(status.counts, status.total)
        progress.show(step)
        if not is_idle or step.done == status.total:
            self._idle_since = None
            return False
        self._tell_idle(status.total - step.done)
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        has_waited = self._idle_s is not None and now - self._idle_since >= self._idle_s
        return has_waited and is_deserted(self._context, self._workflow_id)

    def _tell_idle(self, waiting: int) -> None:
        text = explain_standstill(self._workflow_id, _load_open(self._context, self._workflow_id))
        if text not in self._told:
            self._told.add(text)
            self._context.note("info", f"{count_jobs(waiting)} to run: {text}")


def _load_open(context: Context, workflow_id: int) -> list[Allocation]:
    """The first of the workflow's allocations that have not ended, as they were last seen. Asks in this session."""
    found = []
    for status in OPEN:
        request = ListAllocations(workflow_id=workflow_id, filters=[("status", status)])
        page = msgspec.json.decode(context.connection.call(request), type=dict[str, msgspec.Raw])
        found += msgspec.json.decode(page["allocations"], type=list[Allocation])
    return found


def _await_news(context: Context, workflow_id: int, poll_s: float) -> None:
    """Returns when something has changed, or after `poll_s`."""
    news = context.connection.receive(poll_s)
    until = time.monotonic() + CALM_S
    while news is not None:
        if news.method == "ended":
            raise NotFound(f"workflow {workflow_id} was deleted", noun="workflow", id=workflow_id)
        news = context.connection.receive(max(until - time.monotonic(), 0))


def _needs_recovery(context: Context, status: WorkflowStatus) -> bool:
    """Whether anything has not come to a good end, and nobody has said that it is not to go on."""
    is_good = sum(status.counts.get(name, 0) for name in GOOD) == status.total
    if not is_good and (status.is_canceled or status.is_archived):
        what = "archived" if status.is_archived else "canceled"
        context.note("info", f"workflow {status.workflow_id} was {what}: nothing of it is recovered")
        return False
    return not is_good


def _recover(context: Context, status: WorkflowStatus, recovery: RecoverOptions, num_hpc_jobs: int) -> bool:
    """Recovers once, if it can; whether it goes on, and Slurm took all jobs that were to be submitted."""
    workflow_id = status.workflow_id
    plan = preview(context, workflow_id, recovery)
    failed, recoverable = count_diagnosed(plan)
    if failed and not context.options.json:
        write_diagnoses(diagnoses_of(plan))
    if not recoverable:
        if not status.complete:
            return _submit(context, workflow_id, recovery, num_hpc_jobs)
        if failed:
            context.warn(refusal_text(workflow_id, plan))
        return not failed and _goes_on(context, workflow_id)
    try:
        task = carry_out(context, workflow_id, recovery)
    except Conflict as error:
        if "task_id" not in error.data:
            raise
        context.note("info", error.message)  # what another one does is followed
        return True
    result = task["result"]
    for warning in result["warnings"]:
        context.warn(warning)
    if task["existing"] or not result["count"]:  # whoever was faster submits, too
        return _goes_on(context, workflow_id)
    context.note("info", f"recovered {count_jobs(recoverable)} of {failed} that failed; {count_jobs(result['count'])} "
                 f"will run again")  # fmt: skip
    return _submit(context, workflow_id, recovery, num_hpc_jobs)


def _goes_on(context: Context, workflow_id: int) -> bool:
    """Whether somebody else has seen to it that not everything has ended any more."""
    return not context.get(GetStatus(workflow_id=workflow_id), WorkflowStatus).complete


def _submit(context: Context, workflow_id: int, recovery: RecoverOptions, num_hpc_jobs: int) -> bool:
    """Submits Slurm jobs for what was recovered. False: some were refused, and no other has been or will be there."""
    if num_hpc_jobs:
        found = context.get(SuggestAllocations(workflow_id=workflow_id), Suggestions)
        queued = sum(each.pending for each in found.suggestions)
        if queued >= num_hpc_jobs:
            note_enough(context, queued, f"workflow {workflow_id}")
            return True
        num_hpc_jobs -= queued
    try:
        submitted = submit(context, workflow_id, num_hpc_jobs, recovery)
    except TorcError as error:
        if not _has_open(context, workflow_id):
            raise
        context.warn(error.message)
        return True
    return submitted is None or not submitted.has_failed or _has_open(context, workflow_id)


def _has_open(context: Context, workflow_id: int) -> bool:
    return bool(context.persistently(lambda: _load_open(context, workflow_id)))


VERBS: dict[str, Command] = {"": watch}
