"""What SQLite says about the disk and the file, told to a user.

Only conditions that a user can meet and mend become a `TorcError`; a wrong statement or a broken constraint
is a bug of the caller and passes unchanged. Applied where SQLite is called, so that nothing above knows its
codes.
"""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torcd.protocol.errors import Refused, TorcError, Unavailable

BACKUPS = "backups"
"""The directory beside a database where its backups go that are given no place."""


class Damaged(Unavailable):
    """The database is not what was written to it. No later attempt mends that: a user has to."""


class InDoubt(Unavailable):
    """The disk failed while a commit was on its way: only what can be read later tells whether it took effect."""


def damaged(path: Path, finding: str) -> Damaged:
    """The error that says what was found, and what to do."""
    return Damaged(f"database {path}: it is damaged: {finding}. {_way_out(path)}", database=str(path), finding=finding)


def _way_out(path: Path) -> str:
    itself = shlex.quote(str(path))
    return (
        "It is left as it is. Stop the daemon, if it runs, and restore a backup with `torcctl daemon restore FILE`: "
        f"those that were given no place are in {path.parent / BACKUPS}. To go on with what can still be read: "
        f"`torcctl daemon restore {itself}`. Either keeps the damaged files"
    )


def unwritable(path: Path, error: OSError) -> Refused:
    """The error of a database whose file, or whose directory, cannot be opened for writing."""
    return Refused(
        f"database {path}: cannot be opened for writing: {error.strerror}. Check that its directory "
        "exists and is yours, or set `database` to another path",
        database=str(path),
    )


_PRIMARY = 0xFF  # the low byte of an extended result code is its primary code

_FAULTS: dict[int, tuple[type[TorcError], str]] = {
    sqlite3.SQLITE_FULL: (
        Unavailable,
        "the disk is full; nothing was changed. Free space on its file system, then repeat the command",
    ),
    sqlite3.SQLITE_IOERR: (
        Unavailable,
        "the disk reports an error; nothing was changed. Check the disk, its free space, the mount and your quota, "
        "then repeat the command",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        Unavailable,
        "it (or a file beside it) cannot be opened. Check that its directory exists and is yours to write, "
        "and the limit of open files",
    ),
    sqlite3.SQLITE_READONLY: (
        Unavailable,
        "it cannot be written: it or its directory is read-only, or the file was moved or deleted under the "
        "daemon. Put it back and restart the daemon",
    ),
    sqlite3.SQLITE_BUSY: (
        Unavailable,
        "another process holds it (an open sqlite3 shell?); nothing was changed. End that process, then "
        "repeat the command",
    ),
    sqlite3.SQLITE_PROTOCOL: (
        Unavailable,
        "its file system does not lock files reliably. Move it to a local disk, set `database` to that path",
    ),
    sqlite3.SQLITE_PERM: (Unavailable, "access to it is denied. Check its owner and permissions"),
    sqlite3.SQLITE_CORRUPT: (Damaged, "it is damaged"),
    sqlite3.SQLITE_NOTADB: (
        Refused,
        "it is not an SQLite database, or its beginning is damaged. Set `database` to another path, move this file "
        "away, or restore a backup with `torcctl daemon restore FILE`, which keeps it",
    ),
}

_NOT_TEXT = "Could not decode to UTF-8"
"""How Python's module complains of text that no torcd wrote; it gives no code."""


def find_fault(error: sqlite3.Error, path: Path) -> TorcError | None:
    """The expected failure that `error` means for the database at `path`; None where it is a bug."""
    code: int | None = getattr(error, "sqlite_errorcode", None)  # absent where sqlite3 the module complains
    if code is None and str(error).startswith(_NOT_TEXT):
        return damaged(path, str(error))
    if code is None or code == sqlite3.SQLITE_READONLY:  # without an extension: a read that tried to write
        return None
    if (code & _PRIMARY) not in _FAULTS:
        return None
    kind, advice = _FAULTS[code & _PRIMARY]
    if kind is Damaged:
        advice += f". {_way_out(path)}"
    reported = f"{error.sqlite_errorname}: {error}"
    return kind(f"database {path}: {advice} ({reported})", database=str(path), sqlite=error.sqlite_errorname)


def doubt(error: sqlite3.Error, path: Path) -> InDoubt:
    """What to raise when the disk failed in a COMMIT and it is not certain that this stays undone."""
    fault = InDoubt(
        f"database {path}: the disk reported an error in the middle of a commit. Whether it took effect can be seen "
        f"once the disk can be read again: look before you repeat the command. Check the disk, the mount and your "
        f"quota ({error.sqlite_errorname}: {error})",
        database=str(path),
        sqlite=error.sqlite_errorname,
    )
    fault.__cause__ = error
    return fault


def leaves_doubt(error: sqlite3.Error) -> bool:
    """Whether a COMMIT that failed so may have been made: the disk failed, and not before all of it was written."""
    code = getattr(error, "sqlite_errorcode", 0)
    return (code & _PRIMARY) == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE


def is_interrupt(error: BaseException) -> bool:
    """Whether a statement ended because `interrupt()` was called."""
    return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT)


def explain(error: sqlite3.Error, path: Path) -> Exception:
    """What to raise for `error`: a new `TorcError` caused by it, or itself where it is a bug."""
    fault = find_fault(error, path)
    if fault is None:
        return error
    fault.__cause__ = error
    return fault


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises what `explain` says instead of SQLite's error, and any other exception as it is."""
    try:
        yield
    except sqlite3.Error as error:
        fault = find_fault(error, path)
        if fault is None:
            raise
        raise fault from error
