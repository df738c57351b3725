"""Writes a delta: sets of rows, in the order in which things happened, inside the caller's transaction."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.delta import (
    Adjustment,
    Arm,
    Claim,
    Delta,
    Fire,
    FiringMove,
    JobEdit,
    Mark,
    Move,
    Rebase,
    Records,
    RequirementsDropped,
    ResultRow,
    Retries,
    Start,
    TaskBegin,
    TaskEnd,
    UserDataRestored,
    UserDataWrite,
)
from torcd.core.ranges import find_ranges
from torcd.core.state import NEVER, State, has_digest
from torcd.core.status import Status, ends_attempt, revives_attempt
from torcd.storage import holder
from torcd.storage.actions import save_action_change

Int64 = NDArray[np.int64]
DENSE = 4
"""Ids with at least this many in a range on average are updated by range, others through a JSON array."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The ids that a delta's indexes stand for; never changed after a state was loaded."""

    workflow_id: int
    jobs: Int64
    files: Int64
    user_data: Int64


def keys_of(state: State) -> Keys:
    """The keys of a state's deltas."""
    return Keys(
        workflow_id=state.workflow_id,
        jobs=state.jobs.ids.ids,
        files=state.files.ids.ids,
        user_data=state.values.ids.ids,
    )


def save_delta(db: sqlite3.Connection, keys: Keys, delta: Delta) -> None:
    """Writes all of a delta."""
    for change in delta.changes:
        match change:
            case Move():
                _save_move(db, keys, change)
            case Claim():
                _save_claim(db, keys, change)
            case Start():
                _save_start(db, keys, change)
            case Records():
                _save_records(db, keys, change)
            case UserDataWrite():
                db.execute(
                    "INSERT INTO user_data_version VALUES (?, ?, ?, ?, ?)",
                    (keys.workflow_id, int(keys.user_data[change.user_data]), change.version, change.data,
                     change.digest),
                )  # fmt: skip
            case UserDataRestored():
                db.execute(
                    "DELETE FROM user_data_version WHERE workflow_id = ? AND user_data_id = ? AND version = ?",
                    (keys.workflow_id, int(keys.user_data[change.user_data]), change.version),
                )
            case Mark():
                _update(db, keys, change.jobs, "may_return = ?", (int(change.may_return),))
            case Retries():
                for count in np.unique(change.counts).tolist():
                    _update(db, keys, change.jobs[change.counts == count], "retries = ?", (count,))
            case Rebase():
                db.executemany(
                    "UPDATE job_state SET counter = ?, worker_id = ? WHERE workflow_id = ? AND job_id = ?",
                    zip(
                        change.counters.tolist(),
                        change.workers.tolist(),
                        [keys.workflow_id] * len(change.jobs),
                        keys.jobs[change.jobs].tolist(),
                        strict=True,
                    ),
                )
            case Adjustment():
                _save_adjustment(db, keys, change)
            case RequirementsDropped():
                db.execute(
                    "DELETE FROM requirement WHERE workflow_id = ? AND name IN (SELECT value FROM json_each(?))"
                    " AND id NOT IN (SELECT requirement_id FROM job WHERE workflow_id = ? AND requirement_id NOT NULL)",
                    (keys.workflow_id, msgspec.json.encode(change.names).decode(), keys.workflow_id),
                )
            case JobEdit():
                _save_edit(db, keys, change)
            case Arm() | Fire() | FiringMove():
                save_action_change(db, keys.workflow_id, change)
            case TaskEnd():
                end_task(db, change)
            case _:
                assert_never(change)
    if delta.results:
        save_results(db, keys, delta.results)
    db.executemany(
        "INSERT INTO event VALUES (?, ?, ?, ?, ?)",
        (
            (
                keys.workflow_id,
                notice.seq,
                notice.at_ms,
                notice.kind,
                msgspec.json.encode(notice.data).decode(),
            )
            for notice in delta.notices
        ),
    )
    if delta.workflow:
        columns = ", ".join(f"{name} = ?" for name in delta.workflow)
        db.execute(f"UPDATE workflow SET {columns} WHERE id = ?", (*delta.workflow.values(), keys.workflow_id))


def _update(db: sqlite3.Connection, keys: Keys, jobs: Int64, columns: str, values: Iterable[int]) -> None:
    """The same new values for many rows of job_state."""
    ids = np.sort(keys.jobs[jobs])
    runs = find_ranges(ids)
    head = f"UPDATE job_state SET {columns} WHERE workflow_id = ? AND job_id"
    first = (*values, keys.workflow_id)
    if len(ids) >= DENSE * len(runs) or len(ids) < 16:
        db.executemany(f"{head} BETWEEN ? AND ?", [(*first, low, high) for low, high in runs])
    else:
        db.execute(f"{head} IN (SELECT value FROM json_each(?))", (*first, str(ids.tolist())))


def _save_move(db: sqlite3.Connection, keys: Keys, move: Move) -> None:
    columns = "status = ?, reason = ?"
    if ends_attempt(move.status, move.reason):
        columns += f", worker_id = {holder.AS_HISTORY}"
    elif revives_attempt(move.status, move.reason):
        columns += f", worker_id = {holder.AS_CURRENT}"
    _update(db, keys, move.jobs, columns, (move.status, move.reason))


def _save_claim(db: sqlite3.Connection, keys: Keys, claim: Claim) -> None:
    same = (Status.PENDING, claim.run_id, claim.worker_id, claim.counter)
    db.executemany(
        "UPDATE job_state SET status = ?, reason = 0, run_id = ?, worker_id = ?, claim_counter = ?, attempt = ?"
        " WHERE workflow_id = ? AND job_id = ?",
        [
            (*same, attempt, keys.workflow_id, job)
            for job, attempt in zip(keys.jobs[claim.jobs].tolist(), claim.attempts.tolist(), strict=True)
        ],
    )


def _save_start(db: sqlite3.Connection, keys: Keys, start: Start) -> None:
    db.executemany(
        "UPDATE job_state SET status = ?, reason = 0, counter = claim_counter, may_return = 0"
        " WHERE workflow_id = ? AND job_id = ?",
        [(Status.RUNNING, keys.workflow_id, job) for job in keys.jobs[start.jobs].tolist()],
    )


def _save_records(db: sqlite3.Connection, keys: Keys, records: Records) -> None:
    ids = keys.files[records.files].tolist()
    if records.is_new:
        db.execute(
            # an absence is told from "never recorded" only where a present record came before it
            "INSERT OR IGNORE INTO file_history (workflow_id, file_id, version, mtime_ns, size, digest)"
            " SELECT workflow_id, file_id, version, mtime_ns, size, digest"
            " FROM file_record r WHERE workflow_id = ? AND file_id IN (SELECT value FROM json_each(?))"
            " AND (size >= 0 OR EXISTS (SELECT 1 FROM file_history h WHERE h.workflow_id = r.workflow_id"
            " AND h.file_id = r.file_id))",
            (keys.workflow_id, str(ids)),
        )
    if records.is_restored:
        db.executemany(
            "DELETE FROM file_history WHERE workflow_id = ? AND file_id = ? AND version >= ?",
            zip([keys.workflow_id] * len(ids), ids, records.version.tolist(), strict=True),
        )
    known = has_digest(records.digest)
    digests = records.digest.tobytes()
    db.executemany(
        "INSERT OR REPLACE INTO file_record (workflow_id, file_id, mtime_ns, size, version, digest, is_racy)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        zip(
            [keys.workflow_id] * len(ids),
            ids,
            records.mtime_ns.tolist(),
            records.size.tolist(),
            records.version.tolist(),
            (digests[16 * row : 16 * row + 16] if is_known else None for row, is_known in enumerate(known.tolist())),
            records.is_racy.tolist(),
            strict=True,
        ),
    )
    unrecorded = [(keys.workflow_id, ids[row]) for row in np.flatnonzero(records.size == NEVER).tolist()]
    db.executemany("DELETE FROM file_record WHERE workflow_id = ? AND file_id = ?", unrecorded)


def save_results(db: sqlite3.Connection, keys: Keys, rows: list[ResultRow]) -> None:
    """Stores results; that of an attempt which was given up for lost is replaced by its own."""
    db.executemany(
        "INSERT INTO result (workflow_id, job_id, attempt_id, run_id, worker_id, return_code, status, reason,"
        " started_at_ms, ended_at_ms, exec_time_s, peak_memory_bytes, cpu_seconds, hostname, stdout_path,"
        " stderr_path) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (workflow_id, job_id, attempt_id) DO UPDATE SET return_code = excluded.return_code,"
        " status = excluded.status, reason = excluded.reason, started_at_ms = excluded.started_at_ms,"
        " ended_at_ms = excluded.ended_at_ms, exec_time_s = excluded.exec_time_s,"
        " peak_memory_bytes = excluded.peak_memory_bytes, cpu_seconds = excluded.cpu_seconds,"
        " hostname = excluded.hostname,"
        " stdout_path = excluded.stdout_path, stderr_path = excluded.stderr_path",
        [
            (
                keys.workflow_id, int(keys.jobs[row.job]), row.attempt_id, row.run_id, row.worker_id,
                row.return_code, row.status, row.reason, row.started_at_ms, row.ended_at_ms, row.exec_time_s,
                row.peak_memory_bytes, row.cpu_seconds, row.hostname, row.stdout_path, row.stderr_path,
            )
            for row in rows
        ],
    )  # fmt: skip


def _save_adjustment(db: sqlite3.Connection, keys: Keys, adjustment: Adjustment) -> None:
    need = adjustment.need
    if need is not None and adjustment.is_new:
        db.execute(
            "INSERT INTO requirement (workflow_id, name, num_cpus, memory_bytes, num_gpus, num_nodes, runtime_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (keys.workflow_id, need.name, need.num_cpus, need.memory_bytes, need.num_gpus, need.num_nodes,
             need.runtime_s),
        )  # fmt: skip
    db.execute(
        "UPDATE job SET requirement_id = (SELECT id FROM requirement WHERE workflow_id = :workflow_id AND name = :name)"
        " WHERE id IN (SELECT value FROM json_each(:jobs))",
        {
            "workflow_id": keys.workflow_id,
            "name": None if need is None else need.name,
            "jobs": str(keys.jobs[adjustment.jobs].tolist()),
        },
    )


def _save_edit(db: sqlite3.Connection, keys: Keys, edit: JobEdit) -> None:
    job_id = int(keys.jobs[edit.job])
    columns = ", ".join(f"{name} = ?" for name in edit.columns)
    if columns:
        db.execute(f"UPDATE job SET {columns} WHERE id = ?", (*edit.columns.values(), job_id))
    if edit.definition is None:
        return
    db.execute(
        "UPDATE job SET definition_digest = ?, definition_version = ? WHERE id = ?",
        (edit.digest, edit.version, job_id),
    )
    versions = [(edit.version, edit.definition)]
    if edit.before is not None:
        versions.insert(0, (0, edit.before))
    db.executemany(
        "INSERT OR IGNORE INTO job_definition VALUES (?, ?, ?, ?)",  # the first one is there when it was edited before
        [(keys.workflow_id, job_id, version, text) for version, text in versions],
    )


# ---- tasks: their rows are written with the effects they stand for ----


def begin_task(db: sqlite3.Connection, workflow_id: int, task: TaskBegin) -> int:
    """Adds an active task and returns its id; the unique index refuses a second active one."""
    cursor = db.execute(
        "INSERT INTO task (workflow_id, operation, params, status, requested_by, request_key, created_at_ms,"
        " started_at_ms) VALUES (?, ?, ?, 'running', ?, ?, ?, ?)",
        (
            workflow_id,
            task.operation,
            task.params,
            task.requested_by,
            task.request_key,
            task.at_ms,
            task.at_ms,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def end_task(db: sqlite3.Connection, end: TaskEnd) -> None:
    """Ends an active task, with its plan when it succeeded."""
    db.execute(
        "UPDATE task SET status = ?, finished_at_ms = ?, error = ?, error_code = ?, error_data = ? WHERE id = ?",
        (end.status, end.at_ms, end.error, end.error_code, end.error_data, end.task_id),
    )
    if end.summary is None:
        return
    db.execute("INSERT INTO task_plan VALUES (?, ?, ?)", (end.task_id, end.summary, end.jobs))
    if not end.keeps_earlier:
        db.execute(
            "DELETE FROM task_undo WHERE task_id IN (SELECT id FROM task WHERE workflow_id ="
            " (SELECT workflow_id FROM task WHERE id = ?))",
            (end.task_id,),
        )
    if end.before is not None:
        db.execute("INSERT INTO task_undo VALUES (?, ?)", (end.task_id, end.before))


INTERRUPTED = "daemon restarted while the task was in progress; nothing was changed"

ABANDONED = (
    "the workflow's actor crashed while the task was in progress; nothing was changed. The daemon's log has the cause"
)


def load_event_seq(db: sqlite3.Connection, workflow_id: int) -> int:
    """The number of the last event in a workflow's log; 0 when there is none, or no such workflow."""
    row = db.execute("SELECT event_seq FROM workflow WHERE id = ?", (workflow_id,)).fetchone()
    return 0 if row is None else int(row[0])


def fail_active_tasks(db: sqlite3.Connection, at_ms: int, workflow_id: int | None = None) -> list[tuple[int, int]]:
    """Ends tasks that nobody works on any more (SEMANTICS 6.6), of all workflows or of one: (workflow, task) ids."""
    where = "status IN ('queued', 'running') AND (? IS NULL OR workflow_id = ?)"
    found = db.execute(f"SELECT workflow_id, id FROM task WHERE {where}", (workflow_id, workflow_id)).fetchall()
    db.execute(
        f"UPDATE task SET status = 'failed', error = ?, error_code = 503, finished_at_ms = ? WHERE {where}",
        (INTERRUPTED if workflow_id is None else ABANDONED, at_ms, workflow_id, workflow_id),
    )
    for owner, task_id in found:
        data = msgspec.json.encode({"task_id": task_id, "status": "failed"}).decode()
        db.execute("UPDATE workflow SET event_seq = event_seq + 1 WHERE id = ?", (owner,))
        db.execute(
            "INSERT INTO event SELECT id, event_seq, ?, 'task_ended', ? FROM workflow WHERE id = ?",
            (at_ms, data, owner),
        )
    return found
