"""Copies of the database as one file, made while it is in use, and checked before they get their name.

Plain `sqlite3` and files, for threads. The copy is SQLite's own, of pages: with a write-ahead log on one snapshot,
beside the writers; on a single connection in pieces, between which others write, and what they write to pages that
were copied already is written to the copy as well.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from torcd.protocol.errors import Conflict, Refused, Unavailable
from torcd.storage.connection import connect, create_file, sync_directory
from torcd.storage.faults import BACKUPS, damaged, translated
from torcd.storage.migrate import Migration, check_identity, version_of
from torcd.storage.soundness import find_damage

PIECE_PAGES = 500
"""Copied between two pauses: 2 MB, some milliseconds on a local disk, 20 ms on a slow network one."""


def stamp(now: datetime) -> str:
    """A moment as part of a file's name."""
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def copy_pages(source: sqlite3.Connection, copy: Path, pause: Callable[[], None]) -> None:
    """Copies what `source` is connected to over the empty file `copy`; calls `pause` between pieces.

    The state is that of the end. `pause` may write with `source`, and ends the copying by raising.
    """
    with translated(copy), closing(connect(copy)) as target:
        target.execute("PRAGMA locking_mode = EXCLUSIVE")
        target.execute("PRAGMA journal_mode = OFF")  # it has no name yet: half of it is nothing
        target.execute("PRAGMA synchronous = OFF")
        source.backup(target, pages=PIECE_PAGES, progress=lambda *_: pause())


def copy_snapshot(source: sqlite3.Connection, copy: Path, pause: Callable[[], None]) -> None:
    """As `copy_pages`, of the state at the beginning: for a connection beside that of the writer."""
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on it is pinned
    copy_pages(source, copy, pause)
    source.execute("ROLLBACK")


def seal_copy(copy: Path, steps: Sequence[Migration]) -> None:
    """Makes a copy a file that needs no other, checks all of it, and brings it to the disk.

    Raises `Damaged` when the check fails, `Refused` when it is not torcd's or of a newer one.
    """
    with translated(copy), closing(connect(copy)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        check_identity(connection, copy, steps)
        if not version_of(connection):
            raise Refused(f"database {copy}: it holds nothing of torcd's", database=str(copy))
        connection.execute("PRAGMA synchronous = OFF")  # all of it is synced at the end
        connection.execute("PRAGMA journal_mode = DELETE")
        finding = find_damage(connection, thorough=True)
    if finding is not None:
        raise damaged(copy, finding)
    with copy.open("rb") as file:
        os.fsync(file.fileno())


def publish(draft: Path, path: Path, *, overwrite: bool) -> None:
    """Gives a finished file its name. Raises `Conflict` if that is taken and not to be overwritten."""
    if not overwrite:
        try:
            os.link(draft, path)  # unlike a rename it never replaces
        except FileExistsError as error:
            raise _is_taken(path) from error
        except OSError:  # a file system without hard links
            if path.exists():
                raise _is_taken(path) from None
            draft.rename(path)
    else:
        draft.rename(path)
    draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def _is_taken(path: Path) -> Conflict:
    return Conflict(f"{path} exists already: choose another name, or say --overwrite", path=str(path))


class BackupFile:
    """A backup on its way: a draft beside its final name. A name of no use is refused before anything is copied."""

    def __init__(self, database: Path, path: Path | None, *, overwrite: bool, now: datetime) -> None:
        name = f"{database.stem}-{stamp(now)}{database.suffix}"
        if path is None:
            path = database.parent / BACKUPS / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
        elif path.is_dir():
            path /= name
        self.path = path
        self._database = database
        self._overwrite = overwrite
        self.draft = path.with_name(f".{path.name}.{os.getpid()}-{stamp(now)}.part")
        self._check()
        create_file(self.draft)

    def _check(self) -> None:
        its_own = self._database.name
        is_of_database = self.path.parent.resolve() == self._database.parent.resolve() and self.path.name in (
            its_own, *(its_own + end for end in ("-wal", "-shm", "-journal", ".lock", ".new", ".restore", ".restoring"))
        )  # fmt: skip
        if is_of_database or (self.path.exists() and self.path.samefile(self._database)):
            raise Refused(f"{self.path} is the database's own file: choose another name", path=str(self.path))
        if not self.path.parent.is_dir():
            raise Refused(f"{self.path}: its directory does not exist", path=str(self.path))
        if self.path.exists() and not self._overwrite:
            raise _is_taken(self.path)

    def finish(self, steps: Sequence[Migration]) -> int:
        """Checks the copy and gives it its name; its size in bytes."""
        seal_copy(self.draft, steps)
        size = self.draft.stat().st_size
        publish(self.draft, self.path, overwrite=self._overwrite)
        return size

    def discard(self) -> None:
        """Removes what is left of the draft."""
        for end in ("", "-journal", "-wal", "-shm"):
            self.draft.with_name(self.draft.name + end).unlink(missing_ok=True)


def back_up_before_migration(connection: sqlite3.Connection, path: Path, steps: Sequence[Migration]) -> Path:
    """Keeps an older database: the torcd that it belongs to cannot read what this one makes of it."""
    name = f"{path.stem}-version-{version_of(connection)}-{stamp(datetime.now(UTC))}{path.suffix}"
    directory = path.parent / BACKUPS
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        file = BackupFile(path, directory / name, overwrite=True, now=datetime.now(UTC))
        try:
            copy_pages(connection, file.draft, lambda: None)
            file.finish(steps)
        finally:
            file.discard()
    except OSError as error:
        raise Unavailable(
            f"database {path}: it is to be brought to a newer schema, and its backup in {directory} cannot be written: "
            f"{error.strerror}. It was left as it is. Make room, or see to the directory",
            database=str(path),
        ) from error
    return file.path
