"""Rows of workers."""

import sqlite3

from torcd.protocol.errors import NotFound
from torcd.protocol.worker_requests import RegisterWorker

COLUMNS = "id, hostname, num_cpus, memory_bytes, num_gpus, max_parallel_jobs, pid, process"


def insert_worker(db: sqlite3.Connection, request: RegisterWorker, at_ms: int) -> int:
    """Adds a worker and returns its id."""
    cursor = db.execute(
        "INSERT INTO worker (workflow_id, hostname, pid, num_cpus, memory_bytes, num_gpus, max_parallel_jobs,"
        " process, registered_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            request.workflow_id, request.hostname, request.pid, request.num_cpus, request.memory_bytes,
            request.num_gpus, request.max_parallel_jobs, request.process, at_ms,
        ),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    return cursor.lastrowid


WorkerRow = tuple[int, str, int, int, int, int | None, int, str]


def load_workers(db: sqlite3.Connection, workflow_id: int, *, gone: bool = False) -> list[WorkerRow]:
    """The workers of a workflow that are not gone; or those that are, as far as their processes can be told."""
    condition = "is_gone = 1 AND process != ''" if gone else "is_gone = 0"
    return db.execute(f"SELECT {COLUMNS} FROM worker WHERE workflow_id = ? AND {condition}", (workflow_id,)).fetchall()


def find_reported(db: sqlite3.Connection, workflow_id: int, job_ids: list[int]) -> set[tuple[int, int]]:
    """Of these jobs, the attempts whose end their worker has told: (job id, attempt)."""
    return set(
        db.execute(
            "SELECT job_id, attempt_id FROM result WHERE workflow_id = ? AND started_at_ms IS NOT NULL"
            " AND job_id IN (SELECT value FROM json_each(?))",
            (workflow_id, str(job_ids)),
        )
    )


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
