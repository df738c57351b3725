"""Puts a backup in the place of the database, which is kept; whatever is interrupted is completed later.

For a process that holds the daemon's lock. The new file is finished beside the old ones before a note says that they
are to be exchanged; from then on the exchange goes forward only, also after a crash at any point: a database must
never be opened with the log of another.
"""

import os
import shlex
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec

from torcd.protocol.errors import Refused, Unavailable
from torcd.protocol.model import Restored
from torcd.storage.backup import stamp
from torcd.storage.connection import connect, create_file, sync_directory
from torcd.storage.fence import raise_marks, read_marks
from torcd.storage.migrate import Migration, check_identity, migrate, version_of
from torcd.storage.soundness import beside, check_schema, find_damage

PARTS = ("-wal", "-shm", "-journal", "")
"""What a database may consist of; it itself last."""


class _Note(msgspec.Struct, frozen=True):
    """What an exchange under way is to do."""

    kept: str
    """The name under which the database that was there is kept."""


def _note(path: Path) -> Path:
    return beside(path, ".restore")


def _draft(path: Path) -> Path:
    return beside(path, ".restoring")


def restore(path: Path, backup: Path, steps: Sequence[Migration], *, was_left_open: bool, now: datetime) -> Restored:
    """Makes the database `path` what `backup` holds; what was there is kept under a dated name.

    `backup` is checked in full, brought to this version, and stays as it is; it may have a log beside it, and may be
    the database itself. Raises `Refused` for one that is of no use, `Unavailable` when there is no room.
    """
    complete_restore(path)
    draft = _draft(path)
    try:
        replaced = read_marks(path, was_left_open=was_left_open)
        _copy(backup, draft)
        version, workflows = _prepare(draft, backup, steps)
        with closing(_open(draft)) as connection:
            raise_marks(connection, replaced)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        size = draft.stat().st_size
        kept = _choose_name(path, now) if any(beside(path, part).exists() for part in PARTS) else None
        _write_note(path, _Note("" if kept is None else kept.name))
        complete_restore(path)
    except OSError as error:
        raise Unavailable(
            f"database {path}: {backup} cannot be restored: {error.strerror}. Nothing was changed"
            if not _note(path).exists()
            else f"database {path}: {backup} is ready, but cannot be put in its place: {error.strerror}. That is "
            "completed with the next start of the daemon",
            database=str(path),
        ) from error
    finally:
        if not _note(path).exists():
            _discard_draft(path)
    return Restored(
        database=str(path),
        restored_from=str(backup),
        kept=None if kept is None else str(kept),
        size_bytes=size,
        workflows=workflows,
        schema_version=version,
    )


def complete_restore(path: Path) -> bool:
    """Goes on with an exchange that was interrupted; whether there was one. Again is fine."""
    try:
        note = msgspec.json.decode(_note(path).read_bytes(), type=_Note)
    except FileNotFoundError:
        _discard_draft(path)  # of one that was killed before there was anything to go on with
        return False
    draft = _draft(path)
    if draft.exists():  # then what is at `path` is still the old one
        for part in PARTS:
            if beside(path, part).exists():
                beside(path, part).rename(beside(path.with_name(note.kept), part))
        sync_directory(path.parent)
        draft.rename(path)
        sync_directory(path.parent)
    _note(path).unlink()
    sync_directory(path.parent)
    return True


def _discard_draft(path: Path) -> None:
    for part in PARTS:
        beside(_draft(path), part).unlink(missing_ok=True)


def _write_note(path: Path, note: _Note) -> None:
    scratch = beside(path, ".restore.new")
    with scratch.open("wb") as file:
        file.write(msgspec.json.encode(note))
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(_note(path))
    sync_directory(path.parent)


def _choose_name(path: Path, now: datetime) -> Path:
    base = name = f"{path.name}.replaced-{stamp(now)}"
    number = 1
    while any(beside(path.with_name(name), part).exists() for part in PARTS):
        number += 1
        name = f"{base}-{number}"
    return path.with_name(name)


def _copy(backup: Path, draft: Path) -> None:
    """Copies a database with the log that it may have."""
    if not backup.is_file():
        what = "it is no file" if backup.exists() else "there is no such file"
        raise Refused(f"{backup}: {what}", file=str(backup))
    for part in ("", "-wal", "-journal"):
        if beside(backup, part).exists():
            create_file(beside(draft, part))
            shutil.copyfile(beside(backup, part), beside(draft, part))


def _open(draft: Path) -> sqlite3.Connection:
    connection = connect(draft)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = OFF")  # all of it is synced at the end
    return connection


def _prepare(draft: Path, backup: Path, steps: Sequence[Migration]) -> tuple[int, int]:
    """Checks the copy of a backup and brings it to this version; the version it had, and how many workflows it holds.

    Raises `Refused` in the name of the backup.
    """
    try:
        with closing(_open(draft)) as connection:
            check_identity(connection, backup, steps)
            version = version_of(connection)
            finding = find_damage(connection, thorough=True) if version else "it holds nothing of torcd's"
            if finding is not None:
                raise _useless(backup, finding)
            connection.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
            migrate(connection, backup, steps)
            check_schema(connection, backup, steps)
            (workflows,) = connection.execute("SELECT count(*) FROM workflow").fetchone()
    except sqlite3.Error as error:
        raise _useless(backup, str(error)) from error
    return version, workflows


def _useless(backup: Path, finding: str) -> Refused:
    return Refused(
        f"{backup} cannot be restored: {finding}. Nothing was changed. Use another backup; of one that is damaged "
        f"`sqlite3 {shlex.quote(str(backup))} .recover | sqlite3 NEW` may save something, where sqlite3 can do that",
        file=str(backup),
        finding=finding,
    )
