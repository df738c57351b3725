"""`torcctl slurm …`, also `torcctl hpc slurm …`: this version tells when there is nothing to submit, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import output
from torcctl.exits import UsageError
from torcctl.selection import choose_workflow
from torcd.protocol.errors import Refused
from torcd.protocol.model import WorkflowStatus
from torcd.protocol.requests import GetStatus

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, HpcJobs, WorkflowId

WAITING = ("uninitialized", "blocked", "ready")
"""The statuses of jobs that nodes could be scheduled for."""


def schedule_nodes(workflow: WorkflowId = None, /, *, num_hpc_jobs: HpcJobs = 1, context: Context) -> None:
    """Submit Slurm jobs that run the jobs of a workflow; with nothing to run, submit nothing.

    This version does not submit to Slurm: when there are jobs to run it says so and exits 7.
    """
    if num_hpc_jobs < 1:
        raise UsageError(f"-n: {num_hpc_jobs} Slurm jobs cannot be scheduled; at least 1", value=num_hpc_jobs)
    workflow_id = choose_workflow(context, workflow)
    status = context.get(GetStatus(workflow_id=workflow_id), WorkflowStatus)
    if status.is_archived:
        raise Refused(f"workflow {workflow_id} is archived: unarchive it first", workflow_id=workflow_id)
    waiting = sum(status.counts.get(name, 0) for name in WAITING)
    if waiting or status.run_id == 0:
        raise Refused(
            f"this version of torcctl does not submit to Slurm: nothing was scheduled for the "
            f"{output.count_jobs(waiting)} that workflow {workflow_id} has to run. Run them on this machine: "
            f"torcctl run {workflow_id}",
            workflow_id=workflow_id,
            count=waiting,
        )
    context.warn(f"workflow {workflow_id} has no job to run: nothing was scheduled")
    if context.options.json:
        output.write_json({"allocations": []})


VERBS: dict[str, Command] = {"schedule-nodes": schedule_nodes}
