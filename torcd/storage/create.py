"""Writes a new workflow with all of its jobs, files and edges, inside the caller's transaction.

The functions for one kind of object serve updates of a workflow, too.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import msgspec

from torcd.core.expansion import Expansion, NewFile, NewJob, NewRequirement, NewUserData
from torcd.protocol.specification import Header
from torcd.storage.actions import insert_actions
from torcd.storage.allocations import check_none_open
from torcd.storage.rows import next_ids


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


@dataclass(frozen=True, slots=True)
class Numbering:
    """The ids of what an expansion holds, by index."""

    jobs: Sequence[int]
    files: Sequence[int]
    user_data: Sequence[int]
    requirements: Sequence[int]


def insert_workflow(db: sqlite3.Connection, new: NewWorkflow) -> int:
    """Writes everything and returns the workflow's id."""
    expansion = new.expansion
    numbering = Numbering(
        jobs=next_ids(db, "job", len(expansion.jobs)),
        files=next_ids(db, "file", len(expansion.files)),
        user_data=next_ids(db, "user_data", len(expansion.user_data)),
        requirements=next_ids(db, "requirement", len(expansion.requirements)),
    )
    workflow_id = _insert_row(db, new)
    insert_requirements(db, workflow_id, numbering.requirements, expansion.requirements)
    insert_jobs(db, workflow_id, numbering.jobs, expansion.jobs, numbering.requirements)
    insert_files(db, workflow_id, numbering.files, expansion.files)
    insert_user_data(db, workflow_id, numbering.user_data, expansion.user_data)
    insert_edges(db, workflow_id, numbering.jobs, expansion.jobs, numbering)
    insert_scripts(db, workflow_id, [(numbering.jobs[job], path) for job, path in new.scripts], {})
    action_jobs = [[numbering.jobs[job] for job in jobs] for jobs in expansion.actions]
    insert_actions(db, workflow_id, new.header.actions, action_jobs)
    db.execute(
        "INSERT INTO event VALUES (?, 1, ?, 'workflow_created', ?)",
        (
            workflow_id,
            new.created_at_ms,
            msgspec.json.encode({"name": new.header.name, "jobs": len(expansion.jobs), **new.origin}).decode(),
        ),
    )
    return workflow_id


def header_columns(header: Header) -> dict[str, object]:
    """The columns of a workflow's row that follow from its specification."""
    return {
        "name": header.name,
        "description": header.description,
        "project": header.project,
        "metadata": None if header.metadata is None else msgspec.json.encode(header.metadata).decode(),
        "header": msgspec.json.encode(header).decode(),
        "sort_method": header.jobs_sort_method,
        "detect": header.detect,
    }


def _insert_row(db: sqlite3.Connection, new: NewWorkflow) -> int:
    columns = {
        **header_columns(new.header),
        "user": new.header.user or new.user,
        "submission_directory": new.directory,
        "event_seq": 1,
        "request_key": new.request_key,
        "created_at_ms": new.created_at_ms,
    }
    cursor = db.execute(
        f"INSERT INTO workflow ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def insert_requirements(
    db: sqlite3.Connection, workflow_id: int, ids: Sequence[int], requirements: Sequence[NewRequirement]
) -> None:
    """Adds resource requirements under these ids."""
    db.executemany(
        "INSERT INTO requirement VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (requirement_id, workflow_id, need.name, need.num_cpus, need.memory_bytes, need.num_gpus,
             need.num_nodes, need.runtime_s)
            for requirement_id, need in zip(ids, requirements, strict=True)
        ],
    )  # fmt: skip


def insert_jobs(
    db: sqlite3.Connection, workflow_id: int, ids: Sequence[int], jobs: Sequence[NewJob], requirements: Sequence[int]
) -> None:
    """Adds uninitialized jobs under these ids; `requirements`: the ids of all requirements."""
    encode = msgspec.json.Encoder().encode
    db.executemany(
        "INSERT INTO job (id, workflow_id, name, command, invocation_script, env, requirement_id, scheduler,"
        " failure_handler, priority, cancel_on_failure, supports_termination, definition_digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                job_id, workflow_id, job.name, job.command, job.invocation_script,
                encode(job.env).decode() if job.env else "{}",
                requirements[job.requirement] if job.requirement >= 0 else None,
                job.scheduler, job.failure_handler, job.priority, job.cancel_on_blocking_job_failure,
                job.supports_termination, job.definition_digest,
            )
            for job_id, job in zip(ids, jobs, strict=True)
        ),
    )  # fmt: skip
    db.executemany(
        "INSERT INTO job_state (workflow_id, job_id) VALUES (?, ?)", zip(repeat(workflow_id), ids, strict=False)
    )


def insert_files(db: sqlite3.Connection, workflow_id: int, ids: Sequence[int], files: Sequence[NewFile]) -> None:
    """Adds declared files under these ids."""
    db.executemany(
        "INSERT INTO file (id, workflow_id, name, path, may_be_missing) VALUES (?, ?, ?, ?, ?)",
        (
            (file_id, workflow_id, file.name, file.path, file.may_be_missing)
            for file_id, file in zip(ids, files, strict=True)
        ),
    )


def insert_scripts(
    db: sqlite3.Connection, workflow_id: int, found: Iterable[tuple[int, str]], known: Mapping[str, int]
) -> None:
    """Makes scripts, (job id, path) pairs, inputs of their jobs; `known`: the ids of those that were one before."""
    pairs = set(found)
    paths = sorted({path for _, path in pairs if path not in known})
    ids = {**known, **dict(zip(paths, next_ids(db, "file", len(paths)), strict=True))}
    db.executemany(
        "INSERT INTO file (id, workflow_id, name, path, is_script) VALUES (?, ?, ?, ?, 1)",
        ((ids[path], workflow_id, path, path) for path in paths),
    )
    db.executemany(
        "INSERT INTO job_input VALUES (?, ?, ?)",
        ((workflow_id, job_id, ids[path]) for job_id, path in sorted(pairs)),
    )


def insert_user_data(
    db: sqlite3.Connection, workflow_id: int, ids: Sequence[int], user_data: Sequence[NewUserData], version: int = 0
) -> None:
    """Adds user data under these ids; their values have this version."""
    db.executemany(
        "INSERT INTO user_data VALUES (?, ?, ?, ?)",
        ((each, workflow_id, value.name, value.is_ephemeral) for each, value in zip(ids, user_data, strict=True)),
    )
    insert_values(db, workflow_id, ids, user_data, version)


def insert_values(
    db: sqlite3.Connection, workflow_id: int, ids: Sequence[int], user_data: Sequence[NewUserData], version: int
) -> None:
    """Adds the values of user data as a version."""
    db.executemany(
        "INSERT INTO user_data_version VALUES (?, ?, ?, ?, ?)",
        (
            (workflow_id, user_data_id, version, value.data.decode(), value.digest)
            for user_data_id, value in zip(ids, user_data, strict=True)
            if value.data is not None
        ),
    )


def insert_edges(
    db: sqlite3.Connection, workflow_id: int, ids: Sequence[int], jobs: Sequence[NewJob], numbering: Numbering
) -> None:
    """Adds what jobs declare to take, make and depend on."""
    for table, rows, others in (
        ("job_input", (job.input_files for job in jobs), numbering.files),
        ("job_output", (job.output_files for job in jobs), numbering.files),
        ("job_dependency", (job.depends_on for job in jobs), numbering.jobs),
    ):
        db.executemany(
            f"INSERT INTO {table} VALUES (?, ?, ?)",
            (
                (workflow_id, job_id, others[index])
                for job_id, indexes in zip(ids, rows, strict=True)
                for index in indexes
            ),
        )
    db.executemany(
        "INSERT INTO job_user_data VALUES (?, ?, ?, ?)",
        (
            (workflow_id, job_id, numbering.user_data[index], is_output)
            for job_id, job in zip(ids, jobs, strict=True)
            for is_output, indexes in ((0, job.input_user_data), (1, job.output_user_data))
            for index in indexes
        ),
    )


DELETED_TABLES = (
    "job_state", "job_definition", "job_dependency", "file_record", "file_history", "job_input", "job_output",
    "user_data_version", "job_user_data", "result", "event", "action_job", "firing", "action", "job", "file",
)  # fmt: skip


def delete_workflow(db: sqlite3.Connection, workflow_id: int) -> None:
    """Deletes a workflow and everything that belongs to it. Raises Refused while it has open allocations."""
    check_none_open(db, workflow_id)
    for table in DELETED_TABLES:
        db.execute(f"DELETE FROM {table} WHERE workflow_id = ?", (workflow_id,))
    db.execute("DELETE FROM workflow WHERE id = ?", (workflow_id,))
