"""Which jobs a request names or selects: all of them are there, or nothing is done."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from torcd.core.diagnosis import Case
from torcd.core.holder import is_current
from torcd.core.refusals import find_jobs
from torcd.core.state import State
from torcd.core.status import ENDED, find_statuses, mask_of
from torcd.protocol.requests import JobsOperation

Int64 = NDArray[np.int64]
_NONE: Int64 = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Selection:
    """Results of look-ups that a request asks for: (job id, attempt) pairs with the return code it names; or cases."""

    job_ids: Int64 = field(default_factory=lambda: _NONE)
    attempts: Int64 = field(default_factory=lambda: _NONE)
    cases: tuple[Case, ...] = ()
    """What is known of the jobs that failed or were terminated."""


def select_jobs(state: State, request: JobsOperation, selection: Selection) -> Int64:
    """The jobs that a request names by id, by status or by return code, in order."""
    mask = np.zeros(state.count, dtype=np.bool_)
    mask[find_jobs(state, request.jobs)] = True
    if request.status is not None:
        mask |= np.isin(state.jobs.status, find_statuses(request.status))
    found = state.jobs.ids.find(selection.job_ids)
    is_latest = mask_of(ENDED)[state.jobs.status[found]] & (state.jobs.attempt[found] == selection.attempts)
    is_latest &= is_current(state.jobs.worker[found])  # else it was reset since, and then canceled, or accepted
    mask[found[is_latest]] = True
    return np.flatnonzero(mask)
