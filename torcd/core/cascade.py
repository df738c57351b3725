"""What a failure cancels: whatever is downstream and minds, followed to the end (SEMANTICS §2, 2.1).

Wide levels are walked as arrays, narrow ones in plain Python: a chain of 100,000 jobs has as many levels.
"""

import numpy as np
from numpy.typing import NDArray

from torcd.core.graph import NARROW, sorted_unique
from torcd.core.state import State
from torcd.core.status import Status, StatusReason

Int64 = NDArray[np.int64]


def cancel_downstream(state: State, canceled: Int64) -> tuple[Int64, Int64]:
    """Cancels blocked jobs whose dependencies have settled, and what that cancels in turn.

    Returns, sorted, all that it canceled, and the jobs that do not mind: still blocked, they can become ready.
    """
    walked: list[Int64] = []
    spared: list[Int64] = []
    while len(canceled):
        if len(canceled) < NARROW:
            seen, free, canceled = _walk_narrow(state, canceled)
        else:
            seen = canceled
            free, canceled = state.set_status(canceled, Status.CANCELED, StatusReason.UPSTREAM_FAILED)
        walked.append(seen)
        spared.append(free)
    return sorted_unique(np.concatenate(walked)), sorted_unique(np.concatenate(spared))


def _walk_narrow(state: State, canceled: Int64) -> tuple[Int64, Int64, Int64]:
    """Levels in plain Python while they are narrow: the jobs canceled, those spared, and the next level."""
    start, items = state.graph.downstream.start.data, state.graph.downstream.items.data
    status, minds = state.jobs.status.data, state.jobs.cancel_on_failure.data
    waiting, bad = state.waiting.data, state.bad.data
    seen: list[int] = []
    free: list[int] = []
    jobs = canceled.tolist()
    while jobs and len(jobs) < NARROW:
        seen += jobs
        following: list[int] = []
        for job in jobs:
            status[job] = Status.CANCELED
            for place in range(start[job], start[job + 1]):
                other = items[place]
                waiting[other] -= 1
                bad[other] += 1
                if waiting[other] == 0 and status[other] == Status.BLOCKED:
                    (following if minds[other] else free).append(other)
        jobs = following
    walked = np.array(seen, dtype=np.int64)
    state.jobs.reason[walked] = StatusReason.UPSTREAM_FAILED
    state.counts[Status.BLOCKED] -= len(walked)
    state.counts[Status.CANCELED] += len(walked)
    return walked, np.array(free, dtype=np.int64), np.array(jobs, dtype=np.int64)
