"""Reads all of a workflow that an export holds, as rows: one read, as short as SQLite allows.

What the rows mean is `operations.exporting`'s to say, when the snapshot is free again.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any

from torcd.protocol.errors import NotFound

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Exported:
    """Rows in the order of the ids, and of the versions of each."""

    workflow: tuple[Any, ...]
    """name, user, submission_directory, header, run_id, counter, is_canceled, is_archived, created_at_ms"""
    requirements: Rows
    """id, name"""
    unarmed: list[int]
    """The numbers of the actions that do not fire before an operation arms them again."""
    jobs: Rows
    """id, name, command, invocation_script, env, requirement_id, scheduler, failure_handler, priority,
    cancel_on_failure, supports_termination, status, reason, attempt, run_id, worker_id, counter, may_return, retries"""
    definitions: Rows
    """job_id, version, definition"""
    files: Rows
    """id, name, path, is_script, may_be_missing, version, mtime_ns, size, digest, is_racy"""
    replaced: Rows
    """file_id, version, mtime_ns, size, digest"""
    inputs: Rows
    """job_id, file_id"""
    outputs: Rows
    """job_id, file_id"""
    dependencies: Rows
    """job_id, upstream_id"""
    user_data: Rows
    """id, name, is_ephemeral"""
    values: Rows
    """user_data_id, version, data"""
    job_user_data: Rows
    """job_id, user_data_id, is_output"""
    results: Rows | None
    """job_id, attempt_id, run_id, return_code, status, reason, started_at_ms, ended_at_ms, exec_time_s,
    peak_memory_bytes, cpu_seconds, hostname, stdout_path, stderr_path; None: not asked for"""


def load_exported(db: sqlite3.Connection, workflow_id: int, *, results: bool) -> Exported:
    """All of one workflow; raises NotFound."""

    def rows(select: str) -> Rows:
        return db.execute(select, (workflow_id,)).fetchall()

    workflow = rows(
        "SELECT name, user, submission_directory, header, run_id, counter, is_canceled, is_archived, created_at_ms"
        " FROM workflow WHERE id = ?"
    )
    if not workflow:
        raise NotFound(f"there is no workflow {workflow_id}", noun="workflow", id=workflow_id)
    return Exported(
        workflow=workflow[0],
        unarmed=[
            row[0] for row in rows("SELECT number FROM action WHERE workflow_id = ? AND NOT is_armed ORDER BY number")
        ],
        requirements=rows("SELECT id, name FROM requirement WHERE workflow_id = ?"),
        jobs=rows(
            "SELECT j.id, j.name, j.command, j.invocation_script, j.env, j.requirement_id, j.scheduler,"
            " j.failure_handler, j.priority, j.cancel_on_failure, j.supports_termination, s.status, s.reason,"
            " s.attempt, s.run_id, s.worker_id, s.counter, s.may_return, s.retries FROM job_state s"
            " JOIN job j ON j.id = s.job_id WHERE s.workflow_id = ? ORDER BY s.job_id"
        ),
        definitions=rows(
            "SELECT job_id, version, definition FROM job_definition WHERE workflow_id = ? ORDER BY job_id, version"
        ),
        files=rows(
            "SELECT f.id, f.name, f.path, f.is_script, f.may_be_missing, r.version, r.mtime_ns, r.size, r.digest,"
            " r.is_racy FROM file f LEFT JOIN file_record r ON r.workflow_id = f.workflow_id AND r.file_id = f.id"
            " WHERE f.workflow_id = ? ORDER BY f.id"
        ),
        replaced=rows(
            "SELECT file_id, version, mtime_ns, size, digest FROM file_history WHERE workflow_id = ?"
            " ORDER BY file_id, version"
        ),
        inputs=rows("SELECT job_id, file_id FROM job_input WHERE workflow_id = ? ORDER BY job_id, file_id"),
        outputs=rows("SELECT job_id, file_id FROM job_output WHERE workflow_id = ? ORDER BY job_id, file_id"),
        dependencies=rows(
            "SELECT job_id, upstream_id FROM job_dependency WHERE workflow_id = ? ORDER BY job_id, upstream_id"
        ),
        user_data=rows("SELECT id, name, is_ephemeral FROM user_data WHERE workflow_id = ? ORDER BY id"),
        values=rows(
            "SELECT user_data_id, version, data FROM user_data_version WHERE workflow_id = ?"
            " ORDER BY user_data_id, version"
        ),
        job_user_data=rows(
            "SELECT job_id, user_data_id, is_output FROM job_user_data WHERE workflow_id = ?"
            " ORDER BY job_id, user_data_id"
        ),
        results=None if not results else rows(
            "SELECT job_id, attempt_id, run_id, return_code, status, reason, started_at_ms, ended_at_ms, exec_time_s,"
            " peak_memory_bytes, cpu_seconds, hostname, stdout_path, stderr_path FROM result WHERE workflow_id = ?"
            " ORDER BY id"
        ),
    )  # fmt: skip
