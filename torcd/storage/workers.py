"""Rows of workers."""

import sqlite3

from torcd.protocol.errors import NotFound
from torcd.protocol.worker_requests import RegisterWorker

COLUMNS = "id, hostname, num_cpus, memory_bytes, num_gpus, max_parallel_jobs"


def insert_worker(db: sqlite3.Connection, request: RegisterWorker, at_ms: int) -> int:
    """Adds a worker and returns its id."""
    cursor = db.execute(
        "INSERT INTO worker (workflow_id, hostname, pid, num_cpus, memory_bytes, num_gpus, max_parallel_jobs,"
        " registered_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            request.workflow_id, request.hostname, request.pid, request.num_cpus, request.memory_bytes,
            request.num_gpus, request.max_parallel_jobs, at_ms,
        ),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def load_workers(db: sqlite3.Connection, workflow_id: int) -> list[tuple[int, str, int, int, int, int | None]]:
    """The workers of a workflow that are not gone."""
    return db.execute(f"SELECT {COLUMNS} FROM worker WHERE workflow_id = ? AND is_gone = 0", (workflow_id,)).fetchall()


def set_gone(db: sqlite3.Connection, worker_id: int, *, gone: bool) -> int:
    """Marks a worker as gone, or as back; returns its id."""
    db.execute("UPDATE worker SET is_gone = ? WHERE id = ?", (int(gone), worker_id))
    return worker_id


def find_workflow_of_worker(db: sqlite3.Connection, worker_id: int) -> int:
    """The workflow that a worker serves; raises NotFound."""
    row = db.execute("SELECT workflow_id FROM worker WHERE id = ?", (worker_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no worker {worker_id}: register first", noun="worker", id=worker_id)
    return int(row[0])


def find_workflows_with_workers(db: sqlite3.Connection) -> list[int]:
    """The workflows that have workers which are not gone."""
    return [row[0] for row in db.execute("SELECT DISTINCT workflow_id FROM worker WHERE is_gone = 0")]
