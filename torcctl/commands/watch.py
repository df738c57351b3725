"""`torcctl watch`: follows a workflow until all of its jobs have ended, and recovers what failed on the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from torcctl.commands.run import GOOD, report
from torcctl.diagnoses import write_diagnoses
from torcctl.exits import FAILED, UsageError
from torcctl.output import count_jobs
from torcctl.parameters import RECOVER_DEFAULTS
from torcctl.progress import Progress
from torcctl.recovery import (
    carry_out,
    check_num_hpc_jobs,
    count_diagnosed,
    diagnoses_of,
    preview,
    refusal_text,
    submit,
    tell_submitted,
)
from torcctl.selection import choose_workflow
from torcctl.working import count_progress
from torcd.protocol.errors import NotFound
from torcd.protocol.model import WorkflowStatus
from torcd.protocol.requests import GetStatus, Subscribe

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, HpcJobs, RecoverOptions, WorkflowId

CALM_S = 0.2
"""After news, before the status is asked for: jobs end by the hundreds."""


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

    With --recover it recovers what failed, as `torcctl recover` does, each time that everything has ended. It runs no
    jobs itself: workers do, such as torcctl run ID.

    Args:
        recover: Recover failed jobs, and go on.
        max_retries: With --recover: at most so many times.
        poll: Seconds without news after which the status is asked for all the same.
    """
    if max_retries < 1:
        raise UsageError(f"--max-retries: {max_retries} recoveries are none; leave --recover out")
    if not 0 < poll < float("inf"):
        raise UsageError(f"--poll: {poll:g} is no number of seconds between two looks")
    check_num_hpc_jobs(num_hpc_jobs, recovery)
    workflow_id = choose_workflow(context, workflow)
    retries = 0
    while True:
        _follow(context, workflow_id, poll)
        if not recover or not _needs_recovery(context, workflow_id):
            return report(context, workflow_id)
        if retries == max_retries:
            context.warn(f"workflow {workflow_id} was recovered {retries} times, and jobs failed again: giving up")
            return report(context, workflow_id)
        if not _recover(context, workflow_id, recovery, num_hpc_jobs):
            report(context, workflow_id)
            return FAILED
        retries += 1


def _follow(context: Context, workflow_id: int, poll_s: float) -> None:
    """Shows how far a workflow is, until everything has ended. Raises NotFound when it is deleted."""
    told: set[str] = set()
    with Progress(f"workflow {workflow_id}") as progress:

        def follow_session() -> None:
            context.connection.call(Subscribe(workflow_id=workflow_id, progress=False))
            while not _show(context, workflow_id, progress, told):
                _await_news(context, workflow_id, poll_s)

        context.persistently(follow_session)
    context.close()  # its subscription ends with it


def _show(context: Context, workflow_id: int, progress: Progress, told: set[str]) -> bool:
    """Shows how far it is; whether everything has ended. Asks in this session, which has the subscription."""
    raw = context.connection.call(GetStatus(workflow_id=workflow_id))
    status = msgspec.json.decode(raw, type=WorkflowStatus)
    if status.complete and status.active_task is None:
        return True
    step = count_progress(status.counts, status.total)
    progress.show(step)
    is_idle = not any(status.counts.get(name) for name in ("pending", "running")) and status.active_task is None
    waiting = status.total - step.done
    if is_idle and waiting and "idle" not in told:
        told.add("idle")
        context.note(
            "info", f"{count_jobs(waiting)} to run and nobody runs any; to run them here: torcctl run {workflow_id}"
        )
    return False


def _await_news(context: Context, workflow_id: int, poll_s: float) -> None:
    """Returns when something has changed, or after `poll_s`."""
    news = context.connection.receive(poll_s)
    until = time.monotonic() + CALM_S
    while news is not None:
        if news.method == "ended":
            raise NotFound(f"workflow {workflow_id} was deleted", noun="workflow", id=workflow_id)
        news = context.connection.receive(max(until - time.monotonic(), 0))


def _needs_recovery(context: Context, workflow_id: int) -> bool:
    """Whether anything has not come to a good end."""
    status = context.get(GetStatus(workflow_id=workflow_id), WorkflowStatus)
    return sum(status.counts.get(name, 0) for name in GOOD) < status.total


def _recover(context: Context, workflow_id: int, recovery: RecoverOptions, num_hpc_jobs: int) -> bool:
    """Recovers once; whether that changed anything, and Slurm took all jobs that were to be submitted."""
    plan = preview(context, workflow_id, recovery)
    failed, recoverable = count_diagnosed(plan)
    if failed and not context.options.json:
        write_diagnoses(diagnoses_of(plan))
    if not recoverable:
        if failed:
            context.warn(refusal_text(workflow_id, plan))
        return False
    result = carry_out(context, workflow_id, recovery)["result"]
    for warning in result["warnings"]:
        context.warn(warning)
    context.note("info", f"recovered {count_jobs(recoverable)} of {failed} that failed; {count_jobs(result['count'])} "
                 f"will run again")  # fmt: skip
    submitted = submit(context, workflow_id, num_hpc_jobs, recovery)
    is_accepted = submitted is None or tell_submitted(context, workflow_id, submitted)
    return is_accepted and bool(result["count"])


VERBS: dict[str, Command] = {"": watch}
