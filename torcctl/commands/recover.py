"""`torcctl recover`: counts failures and names the commands that rerun their jobs; this version diagnoses none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import output
from torcctl.selection import choose_workflow
from torcd.protocol.errors import Refused
from torcd.protocol.model import WorkflowStatus
from torcd.protocol.requests import GetStatus

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, WorkflowId


def recover(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Diagnose failures and rerun the jobs. This version does not: it names the commands that do."""
    workflow_id = choose_workflow(context, workflow)
    status = context.get(GetStatus(workflow_id=workflow_id), WorkflowStatus)
    failed, terminated = (status.counts.get(name, 0) for name in ("failed", "terminated"))
    counts = {"workflow_id": workflow_id, "failed": failed, "terminated": terminated}
    if failed or terminated:
        raise Refused(
            f"this version of torcctl does not diagnose failures: of the jobs of workflow {workflow_id}, {failed} "
            f"failed and {terminated} were terminated. See why (torcctl jobs list {workflow_id} -f status=failed; "
            f"torcctl jobs logs ID), mend it, and rerun them: torcctl workflows reset-status {workflow_id} "
            f"--failed-only --reinitialize, then torcctl run {workflow_id}",
            **counts,
        )
    if context.options.json:
        output.write_json(counts)
    else:
        print(f"Workflow {workflow_id}: no job failed or was terminated; there is nothing to recover")


VERBS: dict[str, Command] = {"": recover}
