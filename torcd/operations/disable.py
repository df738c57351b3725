"""Disables jobs and enables them again; what is downstream is evaluated anew at once (SEMANTICS 2.5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from torcd.core.draft import Draft, Indexes
from torcd.core.evaluation import evaluate_downstream
from torcd.core.graph import sorted_unique
from torcd.core.ranges import format_ranges
from torcd.core.refusals import find_jobs, live_conflict
from torcd.core.status import LIVE, Status, mask_of


def disable_jobs(draft: Draft, ids: Sequence[int]) -> dict[str, Any]:
    """Disables jobs, all of them or none; raises Conflict when one of them is live."""
    state = draft.state
    jobs = sorted_unique(find_jobs(state, ids))
    status = state.jobs.status[jobs]
    live = jobs[mask_of(LIVE)[status]]
    if len(live):
        raise live_conflict(state, "jobs disable would change", live)
    return _put(draft, jobs, jobs[status != Status.DISABLED], Status.DISABLED, "disabled")


def enable_jobs(draft: Draft, ids: Sequence[int]) -> dict[str, Any]:
    """Makes disabled jobs uninitialized: the next run or operation evaluates them."""
    jobs = sorted_unique(find_jobs(draft.state, ids))
    disabled = jobs[draft.state.jobs.status[jobs] == Status.DISABLED]
    return _put(draft, jobs, disabled, Status.UNINITIALIZED, "enabled")


def _put(draft: Draft, named: Indexes, jobs: Indexes, status: Status, done: str) -> dict[str, Any]:
    """Moves jobs and what follows from it; the answer, in which those of `named` that were so already are counted."""
    state = draft.state
    ids = np.sort(state.jobs.ids.ids[jobs])
    if len(jobs):
        draft.put(jobs, status)
        placement = evaluate_downstream(state, jobs)
        if len(placement.jobs):
            draft.place(*placement)
        if (placement.status == Status.READY).any():
            draft.set_canceled(False)  # as after every operation that makes jobs ready
        draft.notify(f"jobs_{done}", {"count": len(ids), "jobs": format_ranges(ids)})
    return {
        "workflow_id": state.workflow_id,
        done: len(jobs),
        "unchanged": len(named) - len(jobs),
        "jobs": ids.tolist(),
    }
