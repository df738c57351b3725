"""What is listed and shown of each noun: its SQL, its filters, its struct."""

import sqlite3
from typing import Any, TypeVar

import msgspec

from torcd.core.status import Status, reason_name, status_name
from torcd.protocol.errors import NotFound
from torcd.protocol.model import Event, File, Job, Result, Task, UserData, Worker, Workflow
from torcd.storage import holder
from torcd.storage.lists import FLAG, NUMBER, STATUS, TEXT, Listing, Row, load_page, reason_filter
from torcd.storage.rows import format_time
from torcd.storage.tasks import COLUMNS as TASK_COLUMNS
from torcd.storage.tasks import TABLE as TASK_TABLE
from torcd.storage.tasks import make_task

T = TypeVar("T")

ENDED = f"({Status.COMPLETED:d}, {Status.FAILED:d}, {Status.CANCELED:d}, {Status.TERMINATED:d})"
LIVE = f"({Status.PENDING:d}, {Status.RUNNING:d})"


def _make_workflow(row: Row) -> Workflow:
    return Workflow(
        id=row[0],
        workflow_id=row[0],
        key=row[0],
        name=row[1],
        user=row[2],
        description=row[3],
        project=row[4],
        submission_directory=row[5],
        run_id=row[6],
        status=row[11],
        is_canceled=bool(row[8]),
        is_archived=bool(row[9]),
        created_at=format_time(row[10]),
        metadata=None if row[7] is None else msgspec.json.decode(row[7]),
    )


_WORKFLOW_STATUS = (
    "CASE WHEN is_archived THEN 'archived' WHEN is_canceled THEN 'canceled'"
    " WHEN run_id = 0 THEN 'uninitialized' ELSE 'initialized' END"
)
WORKFLOWS = Listing(
    select="SELECT id, name, user, description, project, submission_directory, run_id, metadata, is_canceled,"
    f" is_archived, created_at_ms, {_WORKFLOW_STATUS} FROM workflow",
    where="1",
    key="id",
    filters={
        "id": ("id", NUMBER),
        "workflow_id": ("id", NUMBER),
        "name": ("name", TEXT),
        "user": ("user", TEXT),
        "project": ("project", TEXT),
        "submission_directory": ("submission_directory", TEXT),
        "run_id": ("run_id", NUMBER),
        "is_canceled": ("is_canceled", FLAG),
        "is_archived": ("is_archived", FLAG),
        "status": (_WORKFLOW_STATUS, TEXT),
    },
    make=_make_workflow,
)


def _make_job(row: Row) -> Job:
    return Job(
        id=row[0],
        job_key=row[0],
        workflow_id=row[1],
        name=row[2],
        command=row[3],
        status=status_name(row[4]),
        status_reason=reason_name(row[5]),
        run_id=row[6],
        attempt_id=row[7],
        return_code=row[8],
        worker_id=row[9],
        priority=row[10],
        resource_requirements=row[11],
        failure_handler=row[12],
        retries=row[13],
    )


IS_CURRENT = f"s.status IN {ENDED} AND s.{holder.IS_CURRENT}"
"""Whether a job's latest attempt tells of the status in which the job is. One of a job that was reset and then canceled
does not, nor one of a job that was accepted: that attempt is history."""
_RETURN_CODE = f"CASE WHEN {IS_CURRENT} THEN r.return_code END"
_WORKER = f"CASE WHEN s.status IN {LIVE} THEN s.worker_id END"
JOBS = Listing(
    select=f"SELECT j.id, j.workflow_id, j.name, j.command, s.status, s.reason, s.run_id, s.attempt, {_RETURN_CODE},"
    f" {_WORKER}, j.priority, q.name, j.failure_handler, s.retries FROM job_state s"
    " JOIN job j ON j.id = s.job_id AND +j.workflow_id = s.workflow_id"
    " LEFT JOIN result r ON r.workflow_id = j.workflow_id AND r.job_id = j.id AND r.attempt_id = s.attempt"
    " LEFT JOIN requirement q ON q.id = j.requirement_id",
    where="s.workflow_id = ?",
    key="s.job_id",
    filters={
        "id": ("j.id", NUMBER),
        "job_key": ("j.id", NUMBER),
        "name": ("j.name", TEXT),
        "command": ("j.command", TEXT),
        "status": ("s.status", STATUS),
        "status_reason": (reason_filter("s.reason"), TEXT),
        "run_id": ("s.run_id", NUMBER),
        "attempt_id": ("s.attempt", NUMBER),
        "return_code": (_RETURN_CODE, NUMBER),
        "worker_id": (_WORKER, NUMBER),
        "priority": ("j.priority", NUMBER),
        "resource_requirements": ("q.name", TEXT),
        "failure_handler": ("j.failure_handler", TEXT),
        "retries": ("s.retries", NUMBER),
    },
    make=_make_job,
)


def _make_file(row: Row) -> File:
    return File(
        id=row[0],
        file_key=row[0],
        workflow_id=row[1],
        name=row[2],
        path=row[3],
        is_script=bool(row[4]),
        recorded=row[8],
        mtime_ns=row[5],
        size=row[6],
        version=row[7] or 0,
    )


_RECORDED = "CASE WHEN r.size IS NULL THEN 'never' WHEN r.size < 0 THEN 'absent' ELSE 'present' END"
_MTIME_NS, _SIZE = "CASE WHEN r.size >= 0 THEN r.mtime_ns END", "CASE WHEN r.size >= 0 THEN r.size END"
FILES = Listing(
    select=f"SELECT f.id, f.workflow_id, f.name, f.path, f.is_script, {_MTIME_NS}, {_SIZE}, r.version, {_RECORDED}"
    " FROM file f"
    " LEFT JOIN file_record r ON r.workflow_id = f.workflow_id AND r.file_id = f.id",
    where="f.workflow_id = ?",
    key="f.id",
    filters={
        "id": ("f.id", NUMBER),
        "file_key": ("f.id", NUMBER),
        "name": ("f.name", TEXT),
        "path": ("f.path", TEXT),
        "is_script": ("f.is_script", FLAG),
        "recorded": (_RECORDED, TEXT),
        "mtime_ns": (_MTIME_NS, NUMBER),
        "size": (_SIZE, NUMBER),
        "version": ("r.version", NUMBER),
    },
    make=_make_file,
)


def _make_user_data(row: Row) -> UserData:
    return UserData(
        id=row[0],
        user_data_key=row[0],
        workflow_id=row[1],
        name=row[2],
        is_ephemeral=bool(row[3]),
        version=row[4] or 0,
        data=None if row[5] is None else msgspec.json.decode(row[5]),
        is_set=row[5] is not None,
    )


USER_DATA = Listing(
    select="SELECT u.id, u.workflow_id, u.name, u.is_ephemeral, v.version, v.data FROM user_data u"
    " LEFT JOIN user_data_version v ON v.workflow_id = u.workflow_id AND v.user_data_id = u.id AND v.version ="
    " (SELECT max(version) FROM user_data_version WHERE workflow_id = u.workflow_id AND user_data_id = u.id)",
    where="+u.workflow_id = ?",
    key="u.id",
    filters={
        "id": ("u.id", NUMBER),
        "user_data_key": ("u.id", NUMBER),
        "name": ("u.name", TEXT),
        "is_ephemeral": ("u.is_ephemeral", FLAG),
    },
    make=_make_user_data,
)


def _make_result(row: Row) -> Result:
    return Result(
        id=row[0],
        workflow_id=row[1],
        job_id=row[2],
        job_key=row[2],
        job_name=row[3],
        run_id=row[4],
        attempt_id=row[5],
        return_code=row[6],
        status=status_name(row[7]),
        status_reason=reason_name(row[8]),
        exec_time_minutes=row[9] / 60,
        started_at=None if row[10] is None else format_time(row[10]),
        completion_time=format_time(row[11]),
        peak_memory_bytes=row[12],
        cpu_seconds=row[13],
        hostname=row[14],
        stdout_path=row[15],
        stderr_path=row[16],
    )


_RESULT = (
    "SELECT r.id, r.workflow_id, r.job_id, j.name, r.run_id, r.attempt_id, r.return_code, r.status, r.reason,"
    " r.exec_time_s, r.started_at_ms, r.ended_at_ms, r.peak_memory_bytes, r.cpu_seconds, r.hostname,"
    " r.stdout_path, r.stderr_path FROM result r JOIN job j ON j.id = r.job_id"
    " JOIN job_state s ON s.workflow_id = r.workflow_id AND s.job_id = r.job_id"
)
_RESULT_FILTERS = {
    "id": ("r.id", NUMBER),
    "job_id": ("r.job_id", NUMBER),
    "job_key": ("r.job_id", NUMBER),
    "job_name": ("j.name", TEXT),
    "run_id": ("r.run_id", NUMBER),
    "attempt_id": ("r.attempt_id", NUMBER),
    "return_code": ("r.return_code", NUMBER),
    "status": ("r.status", STATUS),
    "status_reason": (reason_filter("r.reason"), TEXT),
    "hostname": ("r.hostname", TEXT),
}
CURRENT_RESULTS = Listing(
    select=_RESULT,
    where=f"r.workflow_id = ? AND r.attempt_id = s.attempt AND {IS_CURRENT}",
    key="r.id",
    filters=_RESULT_FILTERS,
    make=_make_result,
)
"""Of each job that has ended, its latest attempt's (SEMANTICS 8.5)."""
ALL_RESULTS = Listing(select=_RESULT, where="r.workflow_id = ?", key="r.id", filters=_RESULT_FILTERS, make=_make_result)

TASKS: Listing[Task] = Listing(
    select=f"SELECT {TASK_COLUMNS} FROM {TASK_TABLE}",
    where="t.workflow_id = ?",
    key="t.id",
    filters={
        "id": ("t.id", NUMBER),
        "task_id": ("t.id", NUMBER),
        "operation": ("t.operation", TEXT),
        "status": ("t.status", TEXT),
        "requested_by": ("t.requested_by", TEXT),
    },
    make=make_task,
)


def make_event(row: Row) -> Event:
    """An event from (seq, workflow_id, timestamp_ms, kind, data)."""
    return Event(
        seq=row[0],
        workflow_id=row[1],
        timestamp=format_time(row[2]),
        kind=row[3],
        data=msgspec.json.decode(row[4]),
    )


EVENTS = Listing(
    select="SELECT seq, workflow_id, timestamp_ms, kind, data FROM event",
    where="workflow_id = ?",
    key="seq",
    filters={"seq": ("seq", NUMBER), "kind": ("kind", TEXT)},
    make=make_event,
)


def _make_worker(row: Row) -> Worker:
    return Worker(
        id=row[0],
        worker_id=row[0],
        workflow_id=row[1],
        hostname=row[2],
        pid=row[3],
        num_cpus=row[4],
        memory_bytes=row[5],
        num_gpus=row[6],
        max_parallel_jobs=row[7],
        status="gone" if row[8] else "registered",
        registered_at=format_time(row[9]),
        allocation_id=row[10],
    )


WORKERS = Listing(
    select="SELECT id, workflow_id, hostname, pid, num_cpus, memory_bytes, num_gpus, max_parallel_jobs, is_gone,"
    " registered_at_ms, allocation_id FROM worker",
    where="workflow_id = ?",
    key="id",
    filters={
        "id": ("id", NUMBER),
        "worker_id": ("id", NUMBER),
        "hostname": ("hostname", TEXT),
        "allocation_id": ("allocation_id", NUMBER),
    },
    make=_make_worker,
)


def load_one(
    db: sqlite3.Connection,
    listing: Listing[T],
    noun: str,
    condition: str,
    values: tuple[Any, ...],
    wanted: object,
) -> T:
    """The one row that fulfils a condition; raises NotFound."""
    row = db.execute(f"{listing.select} WHERE {condition}", values).fetchone()
    if row is None:
        raise NotFound(f"there is no {noun} {wanted!r}", noun=noun, id=wanted)
    return listing.make(row)


def load_workflow(db: sqlite3.Connection, workflow_id: int) -> Workflow:
    """One workflow; raises NotFound."""
    return load_one(db, WORKFLOWS, "workflow", "id = ?", (workflow_id,), workflow_id)


def load_events(db: sqlite3.Connection, workflow_id: int, after_seq: int, limit: int) -> list[Event]:
    """A stretch of a workflow's log."""
    return load_page(db, EVENTS, (workflow_id,), (), after_seq, limit)[0]


def count_statuses(db: sqlite3.Connection, workflow_id: int) -> dict[str, int]:
    """How many jobs have each status that occurs."""
    rows = db.execute(
        "SELECT status, count(*) FROM job_state WHERE workflow_id = ? GROUP BY status", (workflow_id,)
    ).fetchall()
    return {status_name(status): count for status, count in rows}


OWNERS = {
    "job": "SELECT workflow_id FROM job WHERE id = ?",
    "file": "SELECT workflow_id FROM file WHERE id = ?",
    "user_data": "SELECT workflow_id FROM user_data WHERE id = ?",
    "task": "SELECT workflow_id FROM task WHERE id = ?",
}


def find_owner(db: sqlite3.Connection, noun: str, object_id: int) -> int:
    """The workflow that an object belongs to; raises NotFound."""
    row = db.execute(OWNERS[noun], (object_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no {noun.replace('_', ' ')} {object_id}", noun=noun, id=object_id)
    return int(row[0])


def check_workflow(db: sqlite3.Connection, workflow_id: int) -> None:
    """Raises NotFound when there is no such workflow."""
    if db.execute("SELECT 1 FROM workflow WHERE id = ?", (workflow_id,)).fetchone() is None:
        raise NotFound(f"there is no workflow {workflow_id}", noun="workflow", id=workflow_id)
