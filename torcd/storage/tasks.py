"""Rows of tasks."""

import sqlite3
from typing import Any

import msgspec

from torcd.core.delta import TaskBegin
from torcd.core.plan import Summary
from torcd.protocol.errors import NotFound
from torcd.protocol.model import Task
from torcd.storage.save import begin_task

COLUMNS = (
    "t.id, t.workflow_id, t.operation, t.params, t.status, t.requested_by, t.error, t.error_code, t.error_data,"
    " t.created_at_ms, t.started_at_ms, t.finished_at_ms, p.summary"
)
TABLE = "task t LEFT JOIN task_plan p ON p.task_id = t.id"
BY_KEY = (
    "SELECT id FROM task WHERE request_key = :key UNION ALL SELECT task_id FROM joined_request WHERE request_key = :key"
)
"""The task with which a request was answered."""


def begin_or_find(db: sqlite3.Connection, workflow_id: int, begin: TaskBegin) -> tuple[int, bool]:
    """The task's id and whether a request with the same key has been answered with it already (SEMANTICS 6.4)."""
    if begin.request_key is not None:
        row = db.execute(BY_KEY, {"key": begin.request_key}).fetchone()
        if row is not None:
            return int(row[0]), True
    return begin_task(db, workflow_id, begin), False


def join_task(db: sqlite3.Connection, task_id: int, request_key: str) -> None:
    """Notes that a request was answered with a task that another one has made (SEMANTICS 6.2, 6.4)."""
    db.execute("INSERT OR IGNORE INTO joined_request VALUES (?, ?)", (request_key, task_id))


def make_task(row: tuple[Any, ...], *, existing: bool = False) -> Task:
    """A task from a row of COLUMNS."""
    summary = None if row[12] is None else msgspec.json.decode(row[12])
    return Task(
        id=row[0],
        task_id=row[0],
        workflow_id=row[1],
        operation=row[2],
        params=msgspec.json.decode(row[3]),
        status=row[4],
        existing=existing,
        requested_by=row[5],
        error=row[6],
        error_code=row[7],
        error_data=None if row[8] is None else msgspec.json.decode(row[8]),
        result=None if summary is None else {**summary, "dry_run": False},
        created_at_ms=row[9],
        started_at_ms=row[10],
        finished_at_ms=row[11],
    )


def load_task(db: sqlite3.Connection, task_id: int, *, existing: bool = False) -> Task:
    """One task; raises NotFound."""
    row = db.execute(f"SELECT {COLUMNS} FROM {TABLE} WHERE t.id = ?", (task_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no task {task_id}", noun="task", id=task_id)
    return make_task(row, existing=existing)


def find_by_key(db: sqlite3.Connection, request_key: str) -> Task | None:
    """The task with which a request with this key was answered."""
    row = db.execute(f"SELECT {COLUMNS} FROM {TABLE} WHERE t.id = ({BY_KEY})", {"key": request_key}).fetchone()
    return None if row is None else make_task(row, existing=True)


def find_active(db: sqlite3.Connection, workflow_id: int) -> Task | None:
    """A workflow's active task."""
    row = db.execute(
        f"SELECT {COLUMNS} FROM {TABLE} WHERE t.workflow_id = ? AND t.status IN ('queued', 'running')",
        (workflow_id,),
    ).fetchone()
    return None if row is None else make_task(row)


def load_plan(db: sqlite3.Connection, task_id: int) -> tuple[Summary, bytes]:
    """A task's plan; raises NotFound when it has none."""
    row = db.execute("SELECT summary, jobs FROM task_plan WHERE task_id = ?", (task_id,)).fetchone()
    if row is None:
        raise NotFound(f"task {task_id} has no plan: it did not succeed", noun="plan", id=task_id)
    return msgspec.json.decode(row[0], type=Summary), row[1]
