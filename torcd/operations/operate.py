"""The operations, from what was observed to what is written: plan, compare with what was expected, apply.

initialize, prepare, reinit, restart and the resets differ only in their plan, so they share this one way.
"""

import sqlite3

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind, Observation
from torcd.core.delta import TaskEnd
from torcd.core.draft import Draft
from torcd.core.plan import Plan, Summary, pack_plan, summarize
from torcd.core.planning import Selection, make_plan
from torcd.core.state import NEVER, State
from torcd.core.status import Status, StatusReason
from torcd.operations.report import lost_row
from torcd.protocol.errors import Conflict
from torcd.protocol.requests import Operation, ResetJobs

Int64 = NDArray[np.int64]


class Planned(msgspec.Struct, frozen=True):
    """A plan, ready to be shown, stored or applied."""

    plan: Plan
    summary: Summary
    packed: bytes


def plan_operation(
    state: State,
    request: Operation,
    seen: Observation,
    selection: Selection,
    history: dict[tuple[int, int], tuple[int, int]],
) -> Planned:
    """The plan of an operation on the present state; raises what the operation would be refused with."""
    plan = make_plan(state, request, seen, selection)
    _fill_history(plan, state, history)
    packed = pack_plan(plan, state)
    planned = Planned(plan, summarize(plan, state), packed)
    if request.expect is not None and request.expect != planned.summary.plan_digest:
        raise Conflict(
            f"the plan is not the expected one any more: {planned.summary.count} job(s) would be changed now. "
            "Look at a new dry run and use its digest",
            expected=request.expect,
            plan_digest=planned.summary.plan_digest,
            count=planned.summary.count,
            jobs=state.jobs.ids.ids[plan.jobs[:1000]].tolist(),
        )
    return planned


def _fill_history(plan: Plan, state: State, history: dict[tuple[int, int], tuple[int, int]]) -> None:
    """Puts in the record that a job's last attempt knew, where it was replaced since."""
    reasons = plan.reasons
    inputs = (reasons.kind == Kind.INPUT_CHANGED) | (reasons.kind == Kind.INPUT_MISSING)
    for place in np.flatnonzero(inputs & (reasons.old_b == NEVER)).tolist():
        key = (int(reasons.ref[place]), int(state.jobs.counter[reasons.job[place]]))
        if key in history:
            reasons.old_a[place], reasons.old_b[place] = history[key]


def find_replaced(state: State) -> list[tuple[int, int, int]]:
    """(file, its id, version counter) of inputs whose record was replaced after a consumer's last attempt."""
    owner, item = state.files.inputs.owners(), state.files.inputs.items
    counter = state.jobs.counter[owner]
    edges = np.flatnonzero((counter >= 0) & (state.files.version[item] > counter))
    ids = state.files.ids.ids[item[edges]]
    return list(zip(item[edges].tolist(), ids.tolist(), counter[edges].tolist(), strict=True))


def load_history(
    db: sqlite3.Connection, workflow_id: int, replaced: list[tuple[int, int, int]]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Of each (file, version counter): the (mtime_ns, size) that was the record then."""
    found = {}
    for index, file_id, counter in replaced:
        row = db.execute(
            "SELECT mtime_ns, size FROM file_history WHERE workflow_id = ? AND file_id = ? AND version <= ?"
            " ORDER BY version DESC LIMIT 1",
            (workflow_id, file_id, counter),
        ).fetchone()
        if row is not None:
            found[index, counter] = row
    return found


def select_attempts(db: sqlite3.Connection, workflow_id: int, request: Operation) -> Selection:
    """The attempts with the return code by which a `jobs reset-status` selects jobs."""
    if not isinstance(request, ResetJobs) or request.return_code is None:
        return Selection()
    rows = db.execute(
        "SELECT job_id, attempt_id, status FROM result WHERE workflow_id = ? AND return_code = ?",
        (workflow_id, request.return_code),
    ).fetchall()
    pairs = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return Selection(job_ids=pairs[:, 0], attempts=pairs[:, 1], statuses=pairs[:, 2])


def apply_plan(draft: Draft, planned: Planned, task_id: int | None, *, keeps_cancel: bool = False) -> None:
    """Makes and notes all of a plan's effects, the end of its task included.

    `keeps_cancel`: the workflow was canceled after the operation had been accepted, so that stands.
    """
    plan, state = planned.plan, draft.state
    draft.set_run_id(plan.run_id)
    if plan.clears_cancel and not keeps_cancel:
        draft.set_canceled(False)
    if len(plan.stopped):
        running = plan.stopped[state.jobs.status[plan.stopped] == Status.RUNNING]
        draft.add_results([lost_row(state, int(job), draft.now_ms, "", StatusReason.SUPERSEDED) for job in running])
        draft.stop(plan.stopped)
    draft.record(plan.files, plan.mtime_ns, plan.size)
    if len(plan.jobs):
        draft.place(plan.jobs, plan.after, plan.after_reason)
    draft.notify(
        "operation",
        {
            "operation": plan.operation,
            "task_id": task_id,
            "run_id": plan.run_id,
            "count": plan.count,
            "plan_digest": planned.summary.plan_digest,
        },
    )
    if task_id is not None:
        draft.write(
            TaskEnd(
                task_id=task_id,
                status="succeeded",
                at_ms=draft.now_ms,
                summary=msgspec.json.encode(planned.summary).decode(),
                jobs=planned.packed,
            )
        )
        draft.notify("task_ended", {"task_id": task_id, "status": "succeeded"})
