"""`torcctl slurm …`, also `torcctl hpc slurm …`: Slurm jobs that run the jobs of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import output
from torcctl.allocating import (
    SHOWN,
    find_cancelable,
    has_refused,
    submission_sentence,
    submit_allocations,
    write_scheduled,
)
from torcctl.commands.run import prepare
from torcctl.exits import DONE, FAILED, UsageError
from torcctl.perform import requester
from torcctl.selection import choose_workflow
from torcd.protocol.errors import Refused
from torcd.protocol.model import WorkflowStatus
from torcd.protocol.requests import GetStatus
from torcd.protocol.slurm import CancelAllocations, GetAccount, RefreshAllocations

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, HpcJobs, Key, NewFile, Source, WorkflowId

WAITING = ("uninitialized", "blocked", "ready")
"""The statuses of jobs that nodes could be scheduled for."""


def schedule_nodes(
    workflow: WorkflowId = None,
    /,
    *,
    num_hpc_jobs: HpcJobs = 1,
    scheduler: str | None = None,
    max_parallel_jobs: int | None = None,
    walltime: str | None = None,
    mem: str | None = None,
    force: bool = False,
    context: Context,
) -> int:
    """Submit Slurm jobs that run the jobs of a workflow; with nothing to run, submit nothing.

    Each starts a worker on each of its nodes. The environment of this command is that of the jobs.

    Args:
        num_hpc_jobs: How many Slurm jobs to submit; 1 by default.
        scheduler: Which of the workflow's slurm_schedulers; may be left out when there is one.
        max_parallel_jobs: Each worker runs at most so many jobs at once, whatever they need.
        walltime: Instead of the scheduler's, as HH:MM:SS or D-HH:MM:SS.
        mem: Memory per node instead of the scheduler's, as 16G.
        force: Go on in spite of missing inputs or files that cannot be examined.
    """
    if num_hpc_jobs < 1:
        raise UsageError(f"-n: {num_hpc_jobs} Slurm jobs cannot be scheduled; at least 1", value=num_hpc_jobs)
    if max_parallel_jobs is not None and max_parallel_jobs < 1:
        raise UsageError(f"--max-parallel-jobs: {max_parallel_jobs} is too few; at least 1", value=max_parallel_jobs)
    workflow_id = choose_workflow(context, workflow)
    if not _has_work(context, workflow_id, is_prepared=False):
        return _show_nothing(context, workflow_id)
    prepare(context, workflow_id, force=force)
    if not _has_work(context, workflow_id, is_prepared=True):
        return _show_nothing(context, workflow_id)
    raw = submit_allocations(
        context, workflow_id, num_hpc_jobs, scheduler, max_parallel_jobs, walltime=walltime, mem=mem
    )
    scheduled = write_scheduled(context, raw, lambda found: submission_sentence(workflow_id, found))
    return FAILED if has_refused(scheduled) else DONE


def _has_work(context: Context, workflow_id: int, *, is_prepared: bool) -> bool:
    status = context.get(GetStatus(workflow_id=workflow_id), WorkflowStatus)
    if status.is_archived:
        raise Refused(f"workflow {workflow_id} is archived: unarchive it first", workflow_id=workflow_id)
    is_new = status.run_id == 0 and not is_prepared
    return is_new or any(status.counts.get(name) for name in WAITING)


def _show_nothing(context: Context, workflow_id: int) -> int:
    context.warn(f"workflow {workflow_id} has no job to run: nothing was scheduled")
    if context.options.json:
        output.write_json({"allocations": []})
    return DONE


def status(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Ask Slurm now how the allocations of a workflow are that have not ended."""
    request = RefreshAllocations(workflow_id=choose_workflow(context, workflow))
    write_scheduled(context, context.call(request, timeout_s=None))


def cancel(*allocations: Key, context: Context) -> None:
    """Cancel allocations, by id; without ids all those of the workflow that have not ended.

    Args:
        allocations: Their ids (not those of Slurm).
    """
    workflow_id, ids = find_cancelable(context, allocations)
    request = CancelAllocations(workflow_id=workflow_id, ids=ids, requested_by=requester(context))
    raw = context.call(request, timeout_s=None)
    write_scheduled(
        context,
        raw,
        lambda found: f"Canceled {output.count_of(len(found.allocations), 'allocation')} of workflow {workflow_id}",
    )


def sacct(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Show what Slurm's accounting has of the allocations of a workflow, and of their steps."""
    request = GetAccount(workflow_id=choose_workflow(context, workflow))
    account = context.get(request, dict[str, list[dict[str, str]]], timeout_s=None)
    if context.options.json:
        output.write_json(account)
        return
    rows = account["account"]
    columns = list(rows[0]) if rows else list(SHOWN)
    output.write_table(columns, [list(row.values()) for row in rows])


def generate(
    spec_or_workflow: Source,
    /,
    *,
    account: str | None = None,
    partition: str | None = None,
    single: bool = False,
    output: NewFile = None,
    context: Context,
) -> None:
    """Propose slurm_schedulers for this cluster, and how many Slurm jobs to submit; nothing is changed.

    Args:
        spec_or_workflow: A specification file (- is standard input), or the id or the name of a workflow.
        account: The account of those that are added.
        partition: Add them for this partition only.
        single: One scheduler for all jobs.
    """
    from torcctl.generating import Wishes, generate_schedulers

    generate_schedulers(context, spec_or_workflow, Wishes(account, partition, single), output)


VERBS: dict[str, Command] = {
    "schedule-nodes": schedule_nodes,
    "generate": generate,
    "status": status,
    "cancel": cancel,
    "sacct": sacct,
}
