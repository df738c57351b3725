"""`torcctl worker`: runs the jobs of a workflow on this machine, without preparing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import autostart
from torcctl.exits import DONE, INTERRUPTED
from torcctl.selection import choose_workflow

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, WorkflowId
    from torcd.protocol.address import Address


def worker(workflow: WorkflowId = None, /, *, max_parallel_jobs: int | None = None, context: Context) -> int:
    """Run jobs of a workflow on this machine until there is nothing left that this machine can run.

    Args:
        max_parallel_jobs: Run at most so many jobs at once, whatever they need.
    """
    workflow_id = choose_workflow(context, workflow)
    address = context.connection.address
    context.close()
    from torcctl.worker import run_worker

    def find_daemon() -> Address:
        with autostart.reach(context.places, may_start=context.may_start) as connection:
            return connection.address

    outcome = run_worker(
        address=address,
        reconnect=find_daemon,
        workflow_id=workflow_id,
        max_parallel_jobs=max_parallel_jobs,
        num_cpus=None,
        memory_bytes=None,
        num_gpus=0,
        output_dir=None,
        on_progress=lambda counts, total: None,
    )
    return INTERRUPTED if outcome.interrupted else DONE


VERBS: dict[str, Command] = {"": worker}
