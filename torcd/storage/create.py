"""Writes a new workflow with all of its jobs, files and edges, inside the caller's transaction."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from torcd.core.expansion import Expansion
from torcd.protocol.specification import Header


class NewWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """All that creating a workflow writes."""

    header: Header
    expansion: Expansion
    scripts: list[tuple[int, str]]
    """(job index, absolute path) of the scripts found in commands."""
    user: str
    directory: str
    request_key: str | None
    created_at_ms: int
    origin: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the event of its creation says besides."""


def find_created(db: sqlite3.Connection, request_key: str | None) -> int | None:
    """The workflow that a request with this key has created already."""
    row = db.execute("SELECT id FROM workflow WHERE request_key = ?", (request_key,)).fetchone()
    return None if row is None else int(row[0])


def insert_workflow(db: sqlite3.Connection, new: NewWorkflow) -> int:
    """Writes everything and returns the workflow's id."""
    expansion = new.expansion
    scripts = sorted({path for _, path in new.scripts})
    first_job, first_file, first_value = (_next_id(db, table) for table in ("job", "file", "user_data"))
    workflow_id = _insert_row(db, new, first_job, first_file, len(expansion.files) + len(scripts))
    first_requirement = _insert_requirements(db, workflow_id, expansion)
    _insert_jobs(db, workflow_id, expansion, first_job, first_requirement)
    _insert_files(db, workflow_id, expansion, scripts, first_file)
    script_id = {path: first_file + len(expansion.files) + place for place, path in enumerate(scripts)}
    _insert_pairs(db, "job_input", workflow_id, first_job, first_file, (job.input_files for job in expansion.jobs))
    db.executemany(
        "INSERT OR IGNORE INTO job_input VALUES (?, ?, ?)",
        [(workflow_id, first_job + job, script_id[path]) for job, path in new.scripts],
    )
    _insert_pairs(db, "job_output", workflow_id, first_job, first_file, (job.output_files for job in expansion.jobs))
    _insert_pairs(db, "job_dependency", workflow_id, first_job, first_job, (job.depends_on for job in expansion.jobs))
    _insert_values(db, workflow_id, expansion, first_job, first_value)
    db.execute(
        "INSERT INTO event VALUES (?, 1, ?, 'workflow_created', ?)",
        (
            workflow_id,
            new.created_at_ms,
            msgspec.json.encode({"name": new.header.name, "jobs": len(expansion.jobs), **new.origin}).decode(),
        ),
    )
    return workflow_id


def _next_id(db: sqlite3.Connection, table: str) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 1 if row is None else int(row[0]) + 1


def _insert_row(db: sqlite3.Connection, new: NewWorkflow, first_job: int, first_file: int, files: int) -> int:
    header = new.header
    cursor = db.execute(
        "INSERT INTO workflow (name, user, description, project, metadata, submission_directory, header,"
        " sort_method, detect, event_seq, first_job, last_job, first_file, last_file, request_key, created_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
        (
            header.name,
            header.user or new.user,
            header.description,
            header.project,
            None if header.metadata is None else msgspec.json.encode(header.metadata).decode(),
            new.directory,
            msgspec.json.encode(header).decode(),
            header.jobs_sort_method,
            header.detect,
            first_job,
            first_job + len(new.expansion.jobs) - 1,
            first_file,
            first_file + files - 1,
            new.request_key,
            new.created_at_ms,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _insert_requirements(db: sqlite3.Connection, workflow_id: int, expansion: Expansion) -> int:
    first = _next_id(db, "requirement")
    db.executemany(
        "INSERT INTO requirement VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (first + place, workflow_id, need.name, need.num_cpus, need.memory_bytes, need.num_gpus,
             need.num_nodes, need.runtime_s)
            for place, need in enumerate(expansion.requirements)
        ],
    )  # fmt: skip
    return first


def _insert_jobs(
    db: sqlite3.Connection, workflow_id: int, expansion: Expansion, first: int, first_requirement: int
) -> None:
    encode = msgspec.json.Encoder().encode
    db.executemany(
        "INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            (
                job_id, workflow_id, job.name, job.command, job.invocation_script,
                encode(job.env).decode() if job.env else "{}",
                first_requirement + job.requirement if job.requirement >= 0 else None,
                job.scheduler, job.priority, job.cancel_on_blocking_job_failure, job.supports_termination,
                job.definition_digest,
            )
            for job_id, job in enumerate(expansion.jobs, first)
        ),
    )  # fmt: skip
    db.executemany(
        "INSERT INTO job_state (workflow_id, job_id) VALUES (?, ?)",
        ((workflow_id, job_id) for job_id in range(first, first + len(expansion.jobs))),
    )


def _insert_files(
    db: sqlite3.Connection, workflow_id: int, expansion: Expansion, scripts: Sequence[str], first: int
) -> None:
    insert = "INSERT INTO file (id, workflow_id, name, path, is_script, may_be_missing) VALUES (?, ?, ?, ?, ?, ?)"
    db.executemany(
        insert,
        (
            (file_id, workflow_id, file.name, file.path, 0, file.may_be_missing)
            for file_id, file in enumerate(expansion.files, first)
        ),
    )
    db.executemany(
        insert,
        (
            (file_id, workflow_id, path, path, 1, 0)
            for file_id, path in enumerate(scripts, first + len(expansion.files))
        ),
    )


def _insert_pairs(
    db: sqlite3.Connection,
    table: str,
    workflow_id: int,
    first_job: int,
    first_other: int,
    rows: Iterable[list[int]],
) -> None:
    db.executemany(
        f"INSERT INTO {table} VALUES (?, ?, ?)",
        (
            (workflow_id, job_id, first_other + index)
            for job_id, indexes in enumerate(rows, first_job)
            for index in indexes
        ),
    )


def _insert_values(db: sqlite3.Connection, workflow_id: int, expansion: Expansion, first_job: int, first: int) -> None:
    db.executemany(
        "INSERT INTO user_data VALUES (?, ?, ?, ?)",
        (
            (user_data_id, workflow_id, value.name, value.is_ephemeral)
            for user_data_id, value in enumerate(expansion.user_data, first)
        ),
    )
    db.executemany(
        "INSERT INTO user_data_version VALUES (?, ?, 0, ?, ?)",
        (
            (workflow_id, user_data_id, value.data.decode(), value.digest)
            for user_data_id, value in enumerate(expansion.user_data, first)
            if value.data is not None
        ),
    )
    db.executemany(
        "INSERT INTO job_user_data VALUES (?, ?, ?, ?)",
        (
            (workflow_id, first_job + place, first + index, is_output)
            for place, job in enumerate(expansion.jobs)
            for is_output, indexes in ((0, job.input_user_data), (1, job.output_user_data))
            for index in indexes
        ),
    )


DELETED_TABLES = (
    "job_state", "job_definition", "job_dependency", "file_record", "file_history", "job_input", "job_output",
    "user_data_version", "job_user_data", "result", "event", "job", "file",
)  # fmt: skip


def delete_workflow(db: sqlite3.Connection, workflow_id: int) -> None:
    """Deletes a workflow and everything that belongs to it."""
    for table in DELETED_TABLES:
        db.execute(f"DELETE FROM {table} WHERE workflow_id = ?", (workflow_id,))
    db.execute("DELETE FROM workflow WHERE id = ?", (workflow_id,))
