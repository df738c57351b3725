"""Retries of failed jobs: whether a report's failure is one, and what a worker does before the next attempt.

What a handler decides is in `core.failure_handlers`.
"""

import sqlite3

import numpy as np
from numpy.typing import NDArray

from torcd.core.failure_handlers import find_rule, judge_failure
from torcd.core.state import State
from torcd.core.status import Status
from torcd.protocol.specification import FailureHandlerSpec
from torcd.protocol.worker_requests import AttemptEnd, Recovery


def handler_of(state: State, job: int) -> FailureHandlerSpec | None:
    """A job's failure handler, if it has one."""
    handler = int(state.jobs.handler[job])
    return None if handler < 0 else state.handlers[handler]


def is_retried(state: State, job: int, end: AttemptEnd) -> bool:
    """Whether a job that failed is tried again: never in a workflow that was canceled since, or archived."""
    handler = handler_of(state, job)
    if handler is None or state.is_canceled or state.is_archived:
        return False
    retries = int(state.jobs.retries[job])
    return judge_failure(handler, end.return_code, retries, recovery_failed=end.recovery_failed is True).is_retry


def load_recoveries(db: sqlite3.Connection, state: State, jobs: NDArray[np.int64]) -> dict[int, Recovery]:
    """Of claimed jobs that are retried, by id: the script that comes first, and what it is told of the failure.

    Found from the newest failed attempt, so that a claim that was handed back in between loses nothing.
    """
    retried = jobs[state.jobs.retries[jobs] > 0]
    if not len(retried):
        return {}
    handlers = {int(state.jobs.ids.ids[job]): handler_of(state, job) for job in retried.tolist()}
    rows = db.execute(
        "SELECT job_id, max(attempt_id), return_code, stderr_path FROM result WHERE workflow_id = ? AND status = ?"
        " AND job_id IN (SELECT value FROM json_each(?)) GROUP BY job_id",
        (state.workflow_id, int(Status.FAILED), str(list(handlers))),
    )
    recoveries = {}
    for job_id, attempt_id, return_code, stderr_path in rows:
        handler = handlers[job_id]
        rule = None if handler is None else find_rule(handler, return_code)
        if rule is not None and rule.recovery_script is not None:
            recoveries[job_id] = Recovery(
                script=rule.recovery_script, attempt_id=attempt_id, return_code=return_code, stderr_path=stderr_path
            )
    return recoveries
