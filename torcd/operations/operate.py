"""The operations, from what was observed to what is written: plan, compare with what was expected, apply.

initialize, prepare, reinit, restart and the resets differ only in their plan, so they share this one way.
"""

import sqlite3

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.actions import find_disarmed
from torcd.core.changes import Record
from torcd.core.delta import Adjustment, RequirementsDropped, TaskEnd
from torcd.core.draft import Draft
from torcd.core.graph import sorted_unique
from torcd.core.outlook import Outlook, foresee
from torcd.core.plan import Plan, Restored, Summary, pack_plan, summarize
from torcd.core.planning import Known, make_plan
from torcd.core.ranges import format_ranges
from torcd.core.selection import Selection
from torcd.core.state import State
from torcd.core.status import By, Status, StatusReason
from torcd.core.undo import Notebook, Step, unpack_before
from torcd.operations.fire import rearm, set_armed
from torcd.operations.report import lost_row
from torcd.protocol.errors import Conflict
from torcd.protocol.recover import Recover
from torcd.protocol.requests import (
    AcceptJobs,
    JobsOperation,
    Operation,
    Prepare,
    Reinit,
    ResetJobs,
    ResetStatus,
    Restart,
    Undo,
)
from torcd.storage.failures import load_cases

Int64 = NDArray[np.int64]


class Planned(msgspec.Struct, frozen=True):
    """A plan, ready to be shown, stored or applied."""

    plan: Plan
    summary: Summary
    packed: bytes
    outlook: Outlook | None = None
    """Of a recover."""


def plan_operation(state: State, request: Operation, known: Known) -> Planned:
    """The plan of an operation on the present state; raises what the operation would be refused with."""
    plan = make_plan(state, request, known)
    packed = pack_plan(plan, state)
    outlook = foresee(plan, state) if isinstance(request, Recover) else None
    planned = Planned(plan, summarize(plan, state), packed, outlook)
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


def find_replaced(state: State) -> list[tuple[int, int, int]]:
    """(file, its id, version counter) of inputs replaced after a consumer's last attempt, each once."""
    owner, item = state.files.inputs.owners(), state.files.inputs.items
    counter = state.jobs.counter[owner]
    edges = np.flatnonzero((counter >= 0) & (state.files.version[item] > counter))
    span = state.version_counter + 1  # above every counter
    files, counters = np.divmod(sorted_unique(item[edges].astype(np.int64) * span + counter[edges]), span)
    return list(zip(files.tolist(), state.files.ids.ids[files].tolist(), counters.tolist(), strict=True))


def load_history(
    db: sqlite3.Connection, workflow_id: int, replaced: list[tuple[int, int, int]]
) -> dict[tuple[int, int], Record]:
    """Of each (file, version counter): the record then."""
    if not replaced:
        return {}
    rows = db.execute(
        "WITH wanted (place, file_id, counter) AS"
        " (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:listed))"
        " SELECT place, counter, mtime_ns, size, digest FROM wanted CROSS JOIN file_history h USING (file_id)"
        " WHERE h.workflow_id = :workflow_id AND h.version = (SELECT max(version) FROM file_history"
        " WHERE workflow_id = :workflow_id AND file_id = wanted.file_id AND version <= counter)",
        {"listed": msgspec.json.encode(replaced).decode(), "workflow_id": workflow_id},
    )
    return {(index, counter): Record(*record) for index, counter, *record in rows}


def select_attempts(db: sqlite3.Connection, workflow_id: int, request: Operation) -> Selection:
    """What an operation selects jobs by: the attempts with a return code, or all that failed."""
    if isinstance(request, Recover):
        return Selection(cases=load_cases(db, workflow_id))
    if not isinstance(request, JobsOperation) or request.return_code is None:
        return Selection()
    rows = db.execute(
        "SELECT job_id, attempt_id FROM result WHERE workflow_id = ? AND return_code = ?",
        (workflow_id, request.return_code),
    ).fetchall()
    pairs = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return Selection(job_ids=pairs[:, 0], attempts=pairs[:, 1])


UNDOABLE = (
    Reinit.NAME, Restart.NAME, ResetStatus.NAME, ResetJobs.NAME, Recover.NAME, AcceptJobs.NAME, Prepare.NAME,
)  # fmt: skip
"""The operations that an undo takes back; preparing a run only together with what came before it."""


def load_steps(db: sqlite3.Connection, workflow_id: int, request: Operation) -> tuple[Step, ...]:
    """What an undo takes back, the newest first: the last operation, and what preparing a run did after it."""
    if not isinstance(request, Undo):
        return ()
    rows = db.execute(
        "SELECT t.id, t.operation, u.before FROM task_undo u JOIN task t ON t.id = u.task_id"
        " WHERE t.workflow_id = ? ORDER BY t.id DESC",
        (workflow_id,),
    ).fetchall()
    steps = tuple(Step(task_id, operation, unpack_before(before)) for task_id, operation, before in rows)
    return steps if steps and steps[-1].operation != Prepare.NAME else ()


def apply_plan(draft: Draft, planned: Planned, task_id: int | None) -> None:
    """Makes and notes all of a plan's effects, the end of its task included."""
    plan = planned.plan
    notebook = Notebook(draft.state, plan) if plan.operation in UNDOABLE else None
    draft.set_run_id(plan.run_id)
    if plan.clears_cancel:
        draft.set_canceled(False)
    _stop(draft, plan)
    draft.record(plan.records)
    for index in plan.cleared.tolist():
        draft.clear_user_data(index)
    draft.rebase(plan.accepted)
    if plan.restored is not None:
        _put_back(draft, plan.restored)
    _adjust(draft, plan)  # before the moves, which queue jobs by what they need
    if len(plan.jobs):
        by = By.UNDO if plan.restored is not None else By.ACCEPTANCE if len(plan.accepted) else By.RESET
        draft.place(plan.jobs, plan.after, plan.after_reason, by)
    if plan.restored is not None:  # after the moves, which have their own idea of what attempts count for
        draft.put_attempts_back(plan.restored.jobs, plan.restored.counters, plan.restored.workers)
        draft.count_retries(plan.restored.jobs, plan.restored.retries)
        set_armed(draft, find_disarmed(draft.state, plan.restored.armed), armed=False)
    else:
        rearm(draft, plan.jobs)
    draft.mark(plan.marked, may_return=True)
    draft.mark(plan.unmarked, may_return=False)
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
                before=None if notebook is None else notebook.pack(),
                keeps_earlier=plan.operation == Prepare.NAME,
            )
        )
        draft.notify("task_ended", {"task_id": task_id, "status": "succeeded"})


def _adjust(draft: Draft, plan: Plan) -> None:
    """Gives jobs other resource requirements, and tells of it."""
    for adjustment in plan.adjustments:
        draft.adjust(adjustment)
    if plan.adjustments:
        draft.notify("requirements_adjusted", {"adjustments": [_describe(draft, each) for each in plan.adjustments]})
    if plan.dropped:
        draft.write(RequirementsDropped(plan.dropped))


def _describe(draft: Draft, adjustment: Adjustment) -> dict[str, object]:
    need = adjustment.need
    given = None if need is None else {field: getattr(need, field) for field in ("memory_bytes", "runtime_s")}
    jobs = np.sort(draft.state.jobs.ids.ids[adjustment.jobs])
    return {
        "resource_requirements": None if need is None else need.name,
        **(given or {}),
        "count": len(jobs),
        "jobs": format_ranges(jobs),
    }


def _stop(draft: Draft, plan: Plan) -> None:
    """Ends the live attempts that stand in the way, each with a result."""
    if not len(plan.stopped):
        return
    state = draft.state
    running = plan.stopped[state.jobs.status[plan.stopped] == Status.RUNNING]
    draft.add_results([lost_row(state, int(job), draft.now_ms, "", StatusReason.SUPERSEDED) for job in running])
    draft.stop(plan.stopped)


def _put_back(draft: Draft, restored: Restored) -> None:
    draft.set_canceled(restored.is_canceled)
    draft.put_back(restored.records)
    for index, version in restored.values:
        draft.restore_user_data(index, version)
