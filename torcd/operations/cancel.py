"""Cancels a workflow: every job that has not ended becomes canceled, attempts under way are stopped."""

import numpy as np

from torcd.core.draft import Draft
from torcd.core.status import Status, StatusReason


def cancel_workflow(draft: Draft) -> int:
    """Returns how many jobs were canceled."""
    state = draft.state
    status = state.jobs.status
    open_jobs = np.flatnonzero(
        np.isin(
            status,
            [Status.UNINITIALIZED, Status.BLOCKED, Status.READY, Status.PENDING, Status.RUNNING],
        )
    )
    draft.set_canceled(True)
    draft.move(open_jobs, Status.CANCELED, StatusReason.BY_USER)
    draft.notify("workflow_canceled", {"count": len(open_jobs)})
    return len(open_jobs)
