"""Prepares an edit of a job: its present definition, and the scripts that a new command names."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio
from msgspec import UNSET

from torcd.core.fingerprint import Definition
from torcd.core.scripts import find_words
from torcd.operations.create import find_script, normalize
from torcd.operations.update import find_requirement, load_definition
from torcd.protocol.requests import UpdateJob
from torcd.protocol.specification import Header
from torcd.storage.database import Database


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit needs to know."""

    definition: Definition
    requirement_id: int | None
    write_scripts: Callable[[sqlite3.Connection], None] | None
    """Replaces the job's implicit inputs, inside the edit's transaction; None: they stay as they are."""


async def prepare_edit(database: Database, workflow_id: int, request: UpdateJob) -> Edit:
    """Looks up what `update_job` needs; raises Refused or NotFound."""
    edits_text = request.command is not UNSET or request.invocation_script is not UNSET

    def look_up(db: sqlite3.Connection) -> tuple[Definition, int | None, str, bool, set[str], set[str]]:
        directory, header = db.execute(
            "SELECT submission_directory, header FROM workflow WHERE id = ?", (workflow_id,)
        ).fetchone()
        requirement_id = None
        if request.resource_requirements is not UNSET:
            requirement_id = find_requirement(db, workflow_id, request.resource_requirements)
        tracks = edits_text and msgspec.json.decode(header, type=Header).track_scripts
        declared: set[str] = set()
        tracked: set[str] = set()
        if tracks:
            paths = db.execute("SELECT path FROM file WHERE workflow_id = ? AND is_script = 0", (workflow_id,))
            declared = {normalize(row[0]) for row in paths}
            tracked = {row[0] for row in db.execute(SCRIPTS_OF_JOB, (workflow_id, request.job_id))}
        definition = load_definition(db, workflow_id, request.job_id)
        return definition, requirement_id, directory, tracks, declared, tracked

    definition, requirement_id, directory, tracks, declared, tracked = await database.read(look_up)
    if not tracks:
        return Edit(definition, requirement_id, None)
    command = definition.command if request.command is UNSET else request.command
    script = definition.invocation_script if request.invocation_script is UNSET else request.invocation_script
    words = [*find_words(command), *find_words(script or "")]
    found = await trio.to_thread.run_sync(
        lambda: {path for word in words if (path := find_script(word, directory, declared)) is not None}
    )
    if found == tracked:
        return Edit(definition, requirement_id, None)
    return Edit(definition, requirement_id, lambda db: _replace_scripts(db, workflow_id, request.job_id, sorted(found)))


SCRIPTS_OF_JOB = (
    "SELECT f.path FROM job_input i JOIN file f ON f.id = i.file_id"
    " WHERE i.workflow_id = ? AND i.job_id = ? AND f.is_script = 1"
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
        else:
            file_id = row[0]
        db.execute("INSERT INTO job_input VALUES (?, ?, ?)", (workflow_id, job_id, file_id))
