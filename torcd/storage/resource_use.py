"""Reads what attempts used and what was asked for them."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from torcd.core.resource_use import NOTHING, Attempts, propose, summarize
from torcd.protocol.resource_report import JobUse, Requested, RequirementUse
from torcd.storage.nouns import IS_CURRENT

WITHOUT = 0
"""Stands for the requirement of jobs without one: ids begin with 1."""

_ATTEMPTS = (
    "SELECT {group}, r.exec_time_s, r.peak_memory_bytes, r.cpu_seconds FROM result r JOIN job j ON j.id = r.job_id"
    " JOIN job_state s ON s.workflow_id = r.workflow_id AND s.job_id = r.job_id"
    " WHERE r.workflow_id = ? AND r.started_at_ms IS NOT NULL"
)
_CURRENT = f" AND r.attempt_id = s.attempt AND {IS_CURRENT}"
"""As in the list of results (SEMANTICS 8.5)."""

_REQUESTED = "q.num_cpus, q.memory_bytes, q.num_gpus, q.runtime_s"


def _load_attempts(db: sqlite3.Connection, group: str, more: str, values: Sequence[int], *, all_runs: bool) -> Attempts:
    sql = _ATTEMPTS.format(group=group) + ("" if all_runs else _CURRENT) + more
    rows = np.array(db.execute(sql, values).fetchall(), dtype=np.float64).reshape(-1, 4)
    group_of, exec_time_s, peak_memory_bytes, cpu_seconds = rows.T
    return Attempts(group_of.astype(np.int64), exec_time_s, peak_memory_bytes, cpu_seconds)


def _requested(row: Sequence[Any]) -> Requested | None:
    if row[0] is None:
        return None
    return Requested(num_cpus=row[0], memory_bytes=row[1], num_gpus=row[2], runtime_s=row[3])


def report_requirements(
    db: sqlite3.Connection, workflow_id: int, cursor: int, limit: int, *, all_runs: bool
) -> tuple[list[RequirementUse], int | None]:
    """A page of the requirements in the order of their ids, the jobs without one at the very end; the next cursor.

    `cursor` is how many rows were told already.
    """
    group = f"coalesce(j.requirement_id, {WITHOUT})"
    found = summarize(_load_attempts(db, group, "", (workflow_id,), all_runs=all_runs))
    counts = dict(
        db.execute(f"SELECT {group}, count(*) FROM job j WHERE j.workflow_id = ? GROUP BY 1", (workflow_id,)).fetchall()
    )
    rows: list[tuple[Any, ...]] = db.execute(
        f"SELECT q.id, q.name, {_REQUESTED} FROM requirement q WHERE q.workflow_id = ? ORDER BY q.id", (workflow_id,)
    ).fetchall()
    if WITHOUT in counts:
        rows.append((WITHOUT, None, None))
    page = []
    for requirement_id, name, *requested in rows[cursor : cursor + limit]:
        attempts, used = found.get(requirement_id, (0, NOTHING))
        page.append(
            RequirementUse(
                name=name,
                jobs=counts.get(requirement_id, 0),
                attempts=attempts,
                requested=_requested(requested),
                used=used,
                proposed=propose(used),
            )
        )
    told = cursor + len(page)
    return page, told if told < len(rows) else None


def report_jobs(
    db: sqlite3.Connection, workflow_id: int, cursor: int, limit: int, *, all_runs: bool
) -> tuple[list[JobUse], int | None]:
    """A page of jobs with attempts, in the order of their ids, after the id `cursor`; the next cursor."""
    rows = db.execute(
        f"SELECT j.id, j.name, q.name, {_REQUESTED} FROM job j LEFT JOIN requirement q ON q.id = j.requirement_id"
        " JOIN job_state s ON s.job_id = j.id AND s.workflow_id = +j.workflow_id"
        " WHERE s.workflow_id = ? AND s.job_id > ? ORDER BY s.job_id LIMIT ?",
        (workflow_id, cursor, limit),
    ).fetchall()
    if not rows:
        return [], None
    last = rows[-1][0]
    between = " AND r.job_id > ? AND r.job_id <= ?"
    found = summarize(_load_attempts(db, "r.job_id", between, (workflow_id, cursor, last), all_runs=all_runs))
    page = [
        JobUse(
            id=job_id,
            job_key=job_id,
            name=name,
            resource_requirements=requirement,
            attempts=found[job_id][0],
            requested=_requested(requested),
            used=found[job_id][1],
            proposed=propose(found[job_id][1]),
        )
        for job_id, name, requirement, *requested in rows
        if job_id in found
    ]
    return page, last if len(rows) == limit else None
