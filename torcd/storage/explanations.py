"""Shows explanations: puts names to ids, and finds what tasks decided about a job in their stored plans."""

import sqlite3
from typing import Any, NamedTuple

import msgspec
import numpy as np

from torcd.core.explanation import Explained, Wait, why_kept
from torcd.core.plan import ShownPlan, Summary, find_other, unpack_plan
from torcd.core.status import reason_name, status_name
from torcd.protocol.errors import NotFound
from torcd.protocol.model import Decision, Explanation, Job, PlanJob
from torcd.storage.handlings import load_handling
from torcd.storage.plans import show_page
from torcd.storage.rows import format_time

MOST_DECISIONS = 5
"""Of the newest tasks; the last one that changed the job comes in any case."""
MOST_WAITS = 20
MOVED = ("from_", "from_reason", "to", "to_reason", "reasons")
"""What a decision tells of a job as a plan does."""


def show_explanation(
    db: sqlite3.Connection, job: Job, explained: Explained, plan: bytes, warnings: tuple[str, ...], task_id: int | None
) -> Explanation:
    """Everything that is known about a job; raises NotFound for a task without a plan."""
    shown = unpack_plan(plan)
    own = _show_job(db, shown, job.id)
    root = _show_job(db, shown, explained.path[0]) if explained.path and explained.path[0] != job.id else None
    ids = [*explained.path, *(wait.job for wait in explained.waits[:MOST_WAITS] if wait.job >= 0)]
    jobs = _look_up_jobs(db, ids)
    return Explanation(
        job_id=job.id,
        job_key=job.id,
        workflow_id=job.workflow_id,
        name=job.name,
        status=job.status,
        status_reason=job.status_reason,
        verdict=explained.verdict,
        reasons=own.reasons if own is not None and explained.path else [],
        root=root,
        path=[jobs[each].name for each in explained.path],
        path_omitted=explained.omitted,
        waits=[_show_wait(db, wait, jobs) for wait in explained.waits[:MOST_WAITS]],
        decisions=_load_decisions(db, job, task_id),
        warnings=list(warnings),
        handling=load_handling(db, job),
    )


class _Job(NamedTuple):
    name: str
    status: str
    status_reason: str | None


def _look_up_jobs(db: sqlite3.Connection, ids: list[int]) -> dict[int, _Job]:
    rows = db.execute(
        "SELECT j.id, j.name, s.status, s.reason FROM job j"
        " JOIN job_state s ON s.workflow_id = j.workflow_id AND s.job_id = j.id"
        " WHERE j.id IN (SELECT value FROM json_each(?))",
        (str(sorted(set(ids))),),
    )
    return {job_id: _Job(name, status_name(status), reason_name(reason)) for job_id, name, status, reason in rows}


def _show_wait(db: sqlite3.Connection, wait: Wait, jobs: dict[int, _Job]) -> dict[str, Any]:
    if wait.job >= 0:
        return {"kind": wait.kind, "job_id": wait.job, **jobs[wait.job]._asdict()}
    if wait.worker_id:
        row = db.execute("SELECT hostname FROM worker WHERE id = ?", (wait.worker_id,)).fetchone()
        return {"kind": wait.kind, "worker_id": wait.worker_id, "hostname": row and row[0], "why": wait.why}
    return {"kind": wait.kind, "why": wait.why}


def _show_job(db: sqlite3.Connection, plan: ShownPlan, job_id: int) -> PlanJob | None:
    """One job of a plan; None when it is not in it."""
    places = np.flatnonzero(plan.jobs == job_id)
    return show_page(db, plan, int(places[0]), 1)[0][0] if len(places) else None


def _load_decisions(db: sqlite3.Connection, job: Job, task_id: int | None) -> list[Decision]:
    """What the newest tasks decided, and the last that changed the job; or only what one task did."""
    found: list[Decision] = []
    has_changed = False
    tasks = db.execute(
        "SELECT t.id, t.operation, t.params, t.requested_by, t.finished_at_ms, p.summary FROM task t"
        " JOIN task_plan p ON p.task_id = t.id WHERE t.workflow_id = ? AND (? IS NULL OR t.id = ?) ORDER BY t.id DESC",
        (job.workflow_id, task_id, task_id),
    ).fetchall()
    if task_id is not None and not tasks:
        raise NotFound(f"workflow {job.workflow_id} has no task {task_id} that succeeded", noun="task", id=task_id)
    for number, operation, params, requested_by, finished_at_ms, summary in tasks:
        (packed,) = db.execute("SELECT jobs FROM task_plan WHERE task_id = ?", (number,)).fetchone()
        decision = _decide(db, unpack_plan(packed), job.id, operation, msgspec.json.decode(params))
        if decision is None:
            continue
        if decision["decision"] == "changed" or len(found) < MOST_DECISIONS:
            made = Decision(
                task_id=number,
                operation=operation,
                run_id=msgspec.json.decode(summary, type=Summary).run_id,
                requested_by=requested_by,
                finished_at=format_time(finished_at_ms),
                **decision,
            )
            found.append(made)
        has_changed |= decision["decision"] == "changed"
        if has_changed and len(found) >= MOST_DECISIONS:
            break
    return found


def _decide(
    db: sqlite3.Connection, plan: ShownPlan, job_id: int, operation: str, params: dict[str, Any]
) -> dict[str, Any] | None:
    """What a plan says about a job; None when it did not exist then."""
    shown = _show_job(db, plan, job_id)
    if shown is not None:
        moved = msgspec.structs.asdict(shown)
        return {name: moved[name] for name in MOVED} | {"decision": "changed", "why": None}
    other = find_other(plan, job_id)
    if other is None:
        return None
    name, reason = status_name(other.status), reason_name(other.reason)
    return {
        "decision": "kept", "from_": name, "from_reason": reason, "to": name, "to_reason": reason, "reasons": [],
        "why": why_kept(operation, params, other),
    }  # fmt: skip
