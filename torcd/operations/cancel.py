"""Cancels a workflow: every job that has not ended becomes canceled, attempts under way are stopped."""

import numpy as np

from torcd.core.draft import Draft
from torcd.core.status import LIVE, WAITING, Status, StatusReason, mask_of
from torcd.operations.report import lost_row


def cancel_workflow(draft: Draft) -> int:
    """Returns how many jobs were canceled."""
    state = draft.state
    status = state.jobs.status
    open_jobs = np.flatnonzero(mask_of(WAITING | LIVE)[status])
    draft.set_canceled(True)
    running = np.flatnonzero(status == Status.RUNNING)
    draft.add_results(  # each attempt is kept; the worker's own report completes it
        [lost_row(state, int(job), draft.now_ms, "", StatusReason.BY_USER, Status.CANCELED) for job in running]
    )
    draft.move(open_jobs, Status.CANCELED, StatusReason.BY_USER)
    draft.notify("workflow_canceled", {"count": len(open_jobs)})
    return len(open_jobs)
