"""`torcctl run`: creates a workflow if need be, makes its jobs ready and runs them on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from torcctl import autostart, output
from torcctl.exits import DONE, FAILED, INTERRUPTED, UsageError
from torcctl.follow import begin, finish, new_request_key, wait_for_task
from torcctl.parameters import RUN_DEFAULTS
from torcctl.perform import requester
from torcctl.selection import check_id, is_id
from torcctl.working import ENDED, work
from torcd.protocol.address import Address
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.model import STATUSES, Job, Result, WorkflowStatus
from torcd.protocol.requests import GetStatus, ListJobs, ListResults, Prepare

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, RunOptions

GOOD = ("completed", "disabled")
"""The statuses in which a job has to be for exit code 0."""

BAD = ("failed", "terminated")
"""Those that went wrong themselves; canceled ones mostly wait for one of these."""

MAX_SHOWN = 10
"""Jobs that are named when a run fails; `jobs list` names all."""


def run(
    spec_or_id: str,
    /,
    *,
    directory: Path | None = None,
    options: RunOptions = RUN_DEFAULTS,
    context: Context,
) -> int:
    """Create a workflow from a specification, or take the one with this id, and run it on this machine.

    Exit 0 when every job is completed or disabled, else 1.

    Args:
        spec_or_id: A specification file, or the id of a workflow.
        directory: What relative paths of the specification are relative to; the current directory by default.
    """
    if is_id(spec_or_id):
        if directory is not None:
            raise UsageError(f"--directory is for a specification; workflow {spec_or_id} has its directory already")
        return run_workflow(context, check_id(int(spec_or_id), "workflow"), options)
    from torcctl.create import create_workflow

    created = create_workflow(context, Path(spec_or_id), directory=directory, warn=True)
    workflow_id = created["workflow_id"]
    context.note("info", f"created workflow {workflow_id}")
    try:
        return run_workflow(context, workflow_id, options)
    except Refused as error:
        raise Refused(
            f"{error.message}\nworkflow {workflow_id} was created; when that is mended: torcctl run {workflow_id}",
            **error.data,
        ) from error


def run_workflow(context: Context, workflow_id: int, options: RunOptions) -> int:
    """Runs a workflow's jobs to their end and prints how it went; the exit code."""
    options.check()
    prepare(context, workflow_id, force=options.force)
    address = context.connection.address
    context.close()  # the worker has a session of its own; this one would only collect events

    def find_daemon() -> Address:
        with autostart.reach(context.places, may_start=context.may_start) as connection:
            return connection.address

    outcome = work(workflow_id, address=address, find_daemon=find_daemon, options=options)
    if outcome.interrupted:
        context.note("info", f"interrupted; to go on: torcctl workflows restart {workflow_id}, then run it again")
        return INTERRUPTED
    if outcome.is_out_of_time:
        context.note("info", f"the time is up; to go on: torcctl workflows restart {workflow_id}, then run it again")
    return report(context, workflow_id)


def prepare(context: Context, workflow_id: int, *, force: bool) -> None:
    """Initializes the workflow if that was never done, else evaluates its uninitialized jobs.

    Another operation that is under way is waited for first.
    """
    while True:
        request = Prepare(
            workflow_id=workflow_id,
            force=force,
            requested_by=requester(context),
            request_key=new_request_key(),
        )
        try:
            handle = begin(context, request)
        except Conflict as error:
            task_id = error.data.get("task_id")
            if not isinstance(task_id, int):
                raise
            context.note("info", f"waiting for task {task_id} of workflow {workflow_id}")
            wait_for_task(context, task_id)
            continue
        if handle is not None:
            finish(context, handle, request.NAME)
        return


def report(context: Context, workflow_id: int, *, ran_here: bool = True) -> int:
    """Prints how a workflow ended and, on stderr, what failed; the exit code.

    `ran_here`: this machine has run whatever it could.
    """
    raw = context.call(GetStatus(workflow_id=workflow_id))
    status = msgspec.json.decode(raw, type=WorkflowStatus)
    if context.options.json:
        output.write_json(raw)
    else:
        counts = [f"{status.counts[name]} {name}" for name in STATUSES if status.counts.get(name)]
        print(f"Workflow {workflow_id}: {', '.join(counts) or 'no jobs'}")
    if sum(status.counts.get(name, 0) for name in GOOD) == status.total:
        return DONE
    sys.stdout.flush()
    _show_failures(context, workflow_id, status, ran_here=ran_here)
    return FAILED


def _show_failures(context: Context, workflow_id: int, status: WorkflowStatus, *, ran_here: bool) -> None:
    rows: list[tuple[object, ...]] = []
    for name in BAD:
        if status.counts.get(name) and len(rows) < MAX_SHOWN:
            wanted = ListJobs(workflow_id=workflow_id, filters=[("status", name)], limit=MAX_SHOWN - len(rows))
            jobs = msgspec.json.decode(next(context.pages(wanted))["jobs"], type=list[Job])
            rows += [_failure(context, job) for job in jobs]
    if rows:
        cells = [[output.cell(value) for value in row] for row in rows]
        sys.stderr.write(output.plain_table(("name", "status", "return code", "reason", "stderr"), cells))
    bad = sum(status.counts.get(name, 0) for name in BAD)
    if bad > len(rows):
        context.note("info", f"… and {bad - len(rows)} more; see: torcctl jobs list {workflow_id} -f status=failed")
    waiting = status.total - sum(status.counts.get(name, 0) for name in ENDED)
    ready = status.counts.get("ready", 0)
    if waiting and status.is_archived:
        context.note("warning", f"{waiting} jobs did not run: the workflow was archived meanwhile")
    elif ready and ran_here:
        context.note(
            "warning",
            f"{ready} ready jobs need more than this machine offers; see: torcctl jobs list {workflow_id} -f "
            "status=ready. Run them on a larger machine, or change their resource_requirements with jobs update",
        )
    elif waiting:
        where = " here" if ran_here else ""
        context.note("info", f"{waiting} jobs did not run{where}; see: torcctl workflows status {workflow_id}")


def _failure(context: Context, job: Job) -> tuple[object, ...]:
    """A row about a job that did not go well."""
    wanted = ListResults(workflow_id=job.workflow_id, filters=[("job_id", str(job.id))])
    results = context.rows(wanted, "results", Result)
    stderr_path = max(results, key=lambda result: result.attempt_id).stderr_path if results else None
    return job.name, job.status, job.return_code, job.status_reason, stderr_path


VERBS: dict[str, Command] = {"": run}
