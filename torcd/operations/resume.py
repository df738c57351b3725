"""A worker that comes back: what it still holds, and what it lost or was taken from it (SEMANTICS 8.4)."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from torcd.core.draft import Draft
from torcd.core.state import State
from torcd.core.status import ENDED, LIVE, Status, StatusReason, mask_of
from torcd.operations.report import lost_row, take_back
from torcd.protocol.worker_requests import AttemptRef


@dataclass(slots=True)
class Resumed:
    """What a returning worker is told about the attempts it presented."""

    lost: list[AttemptRef] = field(default_factory=list)
    """Superseded: it kills them and forgets them."""
    to_stop: list[AttemptRef] = field(default_factory=list)
    """Canceled meanwhile: it stops them and reports their end."""


IDLE = frozenset(Status) - LIVE - {Status.COMPLETED, Status.FAILED, Status.DISABLED}
"""The statuses of jobs that could be handed out, now or after another operation, while a former attempt is alive."""


def has_idle_attempts(state: State, worker_ids: Collection[int]) -> bool:
    """Whether there are such jobs whose latest attempt was one of these workers'."""
    columns = state.jobs
    idle = mask_of(IDLE)[columns.status] & (columns.attempt > 0)
    return bool(idle.any() and (idle & np.isin(np.abs(columns.worker), list(worker_ids))).any())


def resume_attempts(draft: Draft, worker_id: int, hostname: str, presented: list[AttemptRef]) -> Resumed:
    """Matches presented attempts with the state; what the worker does not know of any more it cannot run."""
    state, columns = draft.state, draft.state.jobs
    resumed = Resumed()
    known: set[int] = set()
    for ref in presented:
        job = columns.ids.find_one(ref.job_id)
        is_its_own = job >= 0 and (int(columns.attempt[job]), int(columns.worker[job])) == (
            ref.attempt_id,
            worker_id,
        )
        if not is_its_own or int(columns.status[job]) not in LIVE | ENDED:
            resumed.lost.append(ref)
            continue
        known.add(job)
        status = int(columns.status[job])
        reason = int(columns.reason[job])
        if status == Status.TERMINATED and reason == StatusReason.WORKER_LOST:
            take_back(draft, np.array([job], dtype=np.int64))
        elif status == Status.CANCELED:
            resumed.to_stop.append(ref)
    held = np.flatnonzero((columns.worker == worker_id) & np.isin(columns.status, list(LIVE)))
    forgotten = np.array([job for job in held.tolist() if job not in known], dtype=np.int64)
    status_of = columns.status[forgotten]
    draft.hand_back(forgotten[status_of == Status.PENDING])
    running = forgotten[status_of == Status.RUNNING]
    draft.add_results(
        [lost_row(state, job, draft.now_ms, hostname, StatusReason.WORKER_LOST) for job in running.tolist()]
    )
    draft.move(running, Status.TERMINATED, StatusReason.WORKER_LOST)
    return resumed
