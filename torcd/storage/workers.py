"""Rows of workers."""

import sqlite3

from torcd.protocol.errors import NotFound
from torcd.protocol.worker_requests import RegisterWorker

COLUMNS = "id, hostname, num_cpus, memory_bytes, num_gpus, max_parallel_jobs, pid, process, allocation_id"


def insert_worker(db: sqlite3.Connection, request: RegisterWorker, at_ms: int) -> int:
    """Adds a worker and returns its id."""
    cursor = db.execute(
        "INSERT INTO worker (workflow_id, hostname, pid, num_cpus, memory_bytes, num_gpus, max_parallel_jobs,"
        " process, allocation_id, registered_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            request.workflow_id, request.hostname, request.pid, request.num_cpus, request.memory_bytes,
            request.num_gpus, request.max_parallel_jobs, request.process, request.allocation_id, at_ms,
        ),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    return cursor.lastrowid


WorkerRow = tuple[int, str, int, int, int, int | None, int, str, int | None]


def load_workers(db: sqlite3.Connection, workflow_id: int, *, gone: bool = False) -> list[WorkerRow]:
    """The workers of a workflow that are not gone; or those that are, as far as their processes can be told."""
    condition = "is_gone = 1 AND process != ''" if gone else "is_gone = 0"
    return db.execute(f"SELECT {COLUMNS} FROM worker WHERE workflow_id = ? AND {condition}", (workflow_id,)).fetchall()


def find_unreported(
    db: sqlite3.Connection, workflow_id: int, worker_ids: list[int], statuses: list[int]
) -> list[tuple[int, int, int]]:
    """(worker, job id, attempt) of jobs with these statuses whose latest attempt was one of these workers', and of
    which that worker has not told the end."""
    return db.execute(
        "SELECT abs(s.worker_id), s.job_id, s.attempt FROM job_state s"
        " WHERE s.workflow_id = ? AND s.attempt > 0 AND s.status IN (SELECT value FROM json_each(?))"
        " AND abs(s.worker_id) IN (SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM result r"
        " WHERE r.workflow_id = s.workflow_id AND r.job_id = s.job_id AND r.attempt_id = s.attempt"
        " AND r.started_at_ms IS NOT NULL)",
        (workflow_id, str(statuses), str(worker_ids)),
    ).fetchall()


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
