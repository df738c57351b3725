"""What a workflow waits for that has jobs to run while nobody runs any. Pure."""

from collections.abc import Sequence

from torcctl.output import count_of
from torcd.protocol.slurm import Allocation

QUEUED = ("submitting", "pending")
OPEN = (*QUEUED, "active")
"""The statuses of allocations that may still run something."""


def explain_standstill(workflow_id: int, allocations: Sequence[Allocation]) -> str:
    """What it waits for, in words; `allocations` are those that have not ended."""
    queued = [each for each in allocations if each.status in QUEUED]
    running = [each for each in allocations if each.status not in QUEUED]
    parts = []
    if queued:
        reasons = ", ".join(sorted({each.slurm_reason for each in queued if each.slurm_reason}))
        parts.append(f"{_name(queued)} queued" + (f" ({reasons})" if reasons else ""))
    if running:
        workers = sum(each.workers for each in running)
        parts.append(f"{_name(running)} running, with {count_of(workers, 'worker') if workers else 'no worker yet'}")
    return "; ".join(parts) or f"nobody runs any; to run them here: torcctl run {workflow_id}"


def _name(allocations: Sequence[Allocation]) -> str:
    return f"{count_of(len(allocations), 'allocation')} {'is' if len(allocations) == 1 else 'are'}"
