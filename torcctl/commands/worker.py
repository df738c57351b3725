"""`torcctl worker`: runs jobs of a workflow that is under way, as part of an allocation or by hand on any host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from torcctl import autostart, output
from torcctl.exits import DONE, INTERRUPTED, UsageError
from torcctl.finding import find_named
from torcctl.parameters import WORKER_DEFAULTS, check_timeout
from torcctl.selection import choose_workflow
from torcctl.working import work
from torcd.protocol.errors import Unreachable
from torcd.protocol.model import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torcctl.context import Context
    from torcctl.parameters import Command, WorkerOptions, WorkflowId
    from torcctl.worker import WorkerOutcome
    from torcd.protocol.address import Address

PATIENCE_S = 60.0
"""For the daemon to answer the first time in an allocation: it may be starting anew, and the node was waited for."""

PAUSE_S = 2.0


def worker(
    workflow: WorkflowId = None,
    /,
    *,
    time_limit: str | None = None,
    grace: float | None = None,
    wait_for_new_jobs: float = 0.0,
    options: WorkerOptions = WORKER_DEFAULTS,
    context: Context,
) -> int:
    """Run jobs of a workflow on this machine until none is left that it can run. Makes no job ready, starts no daemon.

    In a Slurm job it keeps to the processors, memory, GPUs and time of that. Exit 0 when nothing is left for it,
    whatever became of the jobs.

    Args:
        time_limit: End after so long, as HH:MM:SS, D-HH:MM:SS or PT1H30M. No job is started that would take longer.
        grace: Seconds that jobs have between TERM and KILL.
        wait_for_new_jobs: Stay for so many seconds after nothing is left, for jobs that become ready then.
    """
    from torcctl.worker.time_left import has_time_for_jobs, parse_limit

    check_timeout(wait_for_new_jobs, "--wait-for-new-jobs")
    check_timeout(grace, "--grace")
    time_limit_s = None if time_limit is None else parse_limit(time_limit, "--time-limit")
    if time_limit_s is not None and not has_time_for_jobs(time_limit_s, grace):
        raise UsageError(f"--grace: {grace:g} s of the {time_limit_s:g} s of --time-limit leave no time for jobs")
    options.check()
    allocation_id = _read_allocation(context)
    find_daemon = _finder(context, in_allocation=allocation_id is not None)
    address = _wait_for_daemon(context, find_daemon, PATIENCE_S if allocation_id is not None else 0.0)
    workflow_id = choose_workflow(context, workflow)
    context.close()  # the worker has a session of its own; this one would only collect events
    outcome = work(
        workflow_id,
        address=address,
        find_daemon=find_daemon,
        options=options,
        time_limit_s=time_limit_s,
        grace_s=grace,
        linger_s=wait_for_new_jobs,
        allocation_id=allocation_id,
    )
    _report(context, workflow_id, outcome)
    return INTERRUPTED if outcome.interrupted else DONE


def _read_allocation(context: Context) -> int | None:
    """The allocation that this worker belongs to, as its batch script says."""
    text = context.environ.get("TORC_ALLOCATION_ID", "")
    if text and not (text.isascii() and text.isdecimal()):
        raise UsageError(f"TORC_ALLOCATION_ID: {text!r} is not the id of an allocation (a number)", value=text)
    return int(text) if text else None


def _finder(context: Context, *, in_allocation: bool) -> Callable[[], Address]:
    """What finds the daemon, now and after a loss; it never starts one."""

    def find_daemon() -> Address:
        if in_allocation and context.places.url is None:
            connection = find_named(context.places)
        else:
            connection = autostart.reach(context.places, may_start=False)
        with connection:
            return connection.address

    return find_daemon


def _wait_for_daemon(context: Context, find_daemon: Callable[[], Address], patience_s: float) -> Address:
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return find_daemon()
        except Unreachable as error:
            if time.monotonic() >= give_up_at:
                raise
            context.note("info", f"{error.message}; trying again")
        time.sleep(PAUSE_S)


def _report(context: Context, workflow_id: int, outcome: WorkerOutcome) -> None:
    """Prints how the worker ended, and what it last heard of the workflow."""
    if outcome.interrupted:
        ended = "interrupted"
    elif outcome.complete:
        ended = "complete"
    elif outcome.is_out_of_time:
        ended = "out_of_time"
    else:
        ended = "nothing_fits"
    if context.options.json:
        output.write_json({"workflow_id": workflow_id, "ended": ended, "counts": outcome.counts})
        return
    counts = [f"{outcome.counts[name]} {name}" for name in STATUSES if outcome.counts.get(name)]
    print(f"Worker ended: {ENDS[ended]}. Workflow {workflow_id}: {', '.join(counts) or 'no jobs'}")


ENDS = {
    "interrupted": "it was told to",
    "complete": "the workflow is complete",
    "out_of_time": "its time is up",
    "nothing_fits": "no job is ready that fits into its resources and its time",
}

VERBS: dict[str, Command] = {"": worker}
