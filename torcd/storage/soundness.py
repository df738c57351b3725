"""Whether a database is what was written to it: its files before it is opened, its schema, its pages.

SQLite sees a page that makes no sense when it reads it, and a file that is too short. It does not see a log that
lost its end, makes a new database of an empty file, and finds out about a column that it does not know when somebody
asks for it. The checks of files and schema cost milliseconds and come before anything is written; that of the pages
reads all of the file and runs beside the daemon's work.
"""

import logging
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from torcd.storage.faults import damaged, unwritable
from torcd.storage.log_file import Log, count_lost, read_index, read_log
from torcd.storage.migrate import Migration

_log = logging.getLogger(__name__)

MOST_FINDINGS = 5
"""More would not help: what is damaged once is to be restored."""


def beside(path: Path, suffix: str) -> Path:
    """The file that SQLite keeps beside a database: `-wal`, `-shm` or `-journal`."""
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def find_lost(path: Path, *, was_left_open: bool) -> str | None:
    """What of a database is missing, as its files tell; None when nothing is, and when there is no database.

    `was_left_open`: a torcd of this boot did not close it, so that the log's index counts. Not for files in use.
    """
    log_size = _size(beside(path, "-wal"))
    if not path.exists():
        left = [suffix for suffix in ("-wal", "-journal") if _size(beside(path, suffix))]
        return f"it is not there, and {path.name}{left[0]}, which belongs to it, is" if left else None
    if not _size(path):
        return "it is empty (0 bytes), which no database of torcd's ever is"
    index = read_index(beside(path, "-shm")) if was_left_open else None
    if not log_size and index is None:
        return None
    lost = count_lost(read_log(beside(path, "-wal")) if log_size else Log(), index)
    if lost is None:
        return None
    return f"its log {path.name}-wal lost what was written last: {lost if log_size else 'it is empty or not there'}"


def check_files(path: Path, *, was_left_open: bool) -> None:
    """Refuses files that SQLite would take for a database that is smaller than what was committed to it."""
    try:
        is_there = path.exists()
        os.close(os.open(path if is_there else path.parent, os.O_RDWR if is_there else os.O_DIRECTORY))
        lost = find_lost(path, was_left_open=was_left_open)
    except OSError as error:
        raise unwritable(path, error) from error
    if lost is not None:
        raise damaged(path, lost)
    if was_left_open and is_there and not beside(path, "-wal").exists() and _is_logged(path):
        _log.warning(
            "database %s: the last torcd was killed, and the log that it left is gone. An sqlite3 shell may have "
            "closed it in order; if somebody removed it, what was done last is lost",
            path,
        )


def _is_logged(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20)[18:20] == b"\2\2"


Shape = dict[str, list[tuple[object, ...]]]


def _shape(connection: sqlite3.Connection) -> Shape:
    """The columns of each table and index."""
    names = connection.execute("SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'index')").fetchall()
    return {
        f"{kind} {name}": connection.execute(f"PRAGMA {kind}_xinfo({name})").fetchall()
        for kind, name in names
        if name.replace("_", "").isalnum()
    }


def check_schema(connection: sqlite3.Connection, path: Path, steps: Sequence[Migration]) -> None:
    """Refuses a database that lacks what the steps make, or has it otherwise; more is nobody's business."""
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for step in steps:
            fresh.executescript(step.sql)
        wanted = _shape(fresh)
    finally:
        fresh.close()
    found = _shape(connection)
    if wrong := [name for name, columns in wanted.items() if found.get(name) != columns]:
        raise damaged(path, f"its schema is not that of version {len(steps)} ({', '.join(wrong[:MOST_FINDINGS])})")


def find_damage(connection: sqlite3.Connection, table: str | None = None, *, thorough: bool = False) -> str | None:
    """What is wrong with the pages of a database, or with those of one table; None when nothing is.

    Reads all of them. `thorough` compares indices with their tables as well, which takes several times as long.
    """
    check = "integrity_check" if thorough else "quick_check"
    argument = MOST_FINDINGS if table is None else f'"{table}"'
    try:
        found = [text for (text,) in connection.execute(f"PRAGMA {check}({argument})")]
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        return str(error)
    if found == ["ok"]:
        return None
    return "; ".join(" ".join(text.split()) for text in found[:MOST_FINDINGS])


def tables_of(connection: sqlite3.Connection) -> list[str]:
    """The tables whose pages can be checked one by one."""
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
