"""Prepares an edit of a job: its present definition, and the scripts that a new command names."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio
from msgspec import UNSET

from torcd.core.fingerprint import Definition
from torcd.core.scripts import find_words
from torcd.operations.create import find_script
from torcd.operations.update import find_requirement, load_definition
from torcd.protocol.requests import UpdateJob
from torcd.protocol.specification import Header
from torcd.storage.database import Database


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit needs to know."""

    definition: Definition
    requirement_id: int | None
    write_scripts: Callable[[sqlite3.Connection], None]
    """Replaces the job's implicit inputs, inside the edit's transaction."""


async def prepare_edit(database: Database, workflow_id: int, request: UpdateJob) -> Edit:
    """Looks up what `update_job` needs; raises Refused or NotFound."""

    def look_up(db: sqlite3.Connection) -> tuple[Definition, int | None, str, bool, set[str]]:
        directory, header = db.execute(
            "SELECT submission_directory, header FROM workflow WHERE id = ?", (workflow_id,)
        ).fetchone()
        requirement_id = None
        if request.resource_requirements is not UNSET:
            requirement_id = find_requirement(db, workflow_id, request.resource_requirements)
        declared = db.execute("SELECT path FROM file WHERE workflow_id = ? AND is_script = 0", (workflow_id,))
        tracks = msgspec.json.decode(header, type=Header).track_scripts
        return (
            load_definition(db, workflow_id, request.job_id),
            requirement_id,
            directory,
            tracks and request.command is not UNSET,
            {row[0] for row in declared} if request.command is not UNSET else set(),
        )

    definition, requirement_id, directory, finds_scripts, declared = await database.read(look_up)
    if not finds_scripts:
        return Edit(definition, requirement_id, lambda db: None)
    command = "" if request.command is UNSET else request.command
    words = [*find_words(command), *find_words(definition.invocation_script or "")]
    found = await trio.to_thread.run_sync(
        lambda: {path for word in words if (path := find_script(word, directory, declared)) is not None}
    )
    return Edit(
        definition,
        requirement_id,
        lambda db: _replace_scripts(db, workflow_id, request.job_id, sorted(found)),
    )


def _replace_scripts(db: sqlite3.Connection, workflow_id: int, job_id: int, paths: list[str]) -> None:
    db.execute(
        "DELETE FROM job_input WHERE workflow_id = ? AND job_id = ? AND file_id IN"
        " (SELECT id FROM file WHERE workflow_id = ? AND is_script = 1)",
        (workflow_id, job_id, workflow_id),
    )
    for path in paths:
        row = db.execute(
            "SELECT id FROM file WHERE workflow_id = ? AND name = ? AND is_script = 1", (workflow_id, path)
        ).fetchone()
        if row is None:
            file_id = db.execute(
                "INSERT INTO file (workflow_id, name, path, is_script) VALUES (?, ?, ?, 1)",
                (workflow_id, path, path),
            ).lastrowid
            db.execute("UPDATE workflow SET last_file = max(last_file, ?) WHERE id = ?", (file_id, workflow_id))
        else:
            file_id = row[0]
        db.execute("INSERT INTO job_input VALUES (?, ?, ?)", (workflow_id, job_id, file_id))
