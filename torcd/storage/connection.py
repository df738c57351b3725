"""How a connection to the database is set up: who it belongs to, its journal, its pragmas.

Plain `sqlite3`, run in the SQL thread. The order matters: nothing is written before the file is known to be
ours.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from torcd.protocol.errors import Refused
from torcd.storage.faults import translated, unwritable
from torcd.storage.migrate import Migration, check_identity, migrate, version_of
from torcd.storage.soundness import check_schema

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables

BUSY_TIMEOUT_S = 5.0
"""The daemon's lock keeps other daemons out; this is for a user's sqlite3 shell."""

_CONNECTION = """
PRAGMA foreign_keys = ON;
PRAGMA temp_store = MEMORY;
PRAGMA mmap_size = 0;
PRAGMA synchronous = FULL;
"""
# mmap_size: an I/O error under a memory map is a SIGBUS that kills the daemon instead of an error code.
# synchronous: an acknowledged completion survives a power cut; group commit makes that cheap.

_WRITER = """
PRAGMA journal_size_limit = 67108864;
PRAGMA cache_size = -65536;
"""
# The limit (64 MiB) gives back the disk space of one mass reset. Caches are in KiB.

_READER = """
PRAGMA query_only = ON;
PRAGMA cache_size = -16384;
"""


def check_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Refuses an SQLite library that cannot hold the schema."""
    if version < OLDEST_SQLITE:
        have, need = (".".join(map(str, numbers)) for numbers in (version, OLDEST_SQLITE))
        raise Refused(f"SQLite {have} is too old: torcd needs {need} or newer. Use another Python", have=have)


def connect(path: Path) -> sqlite3.Connection:
    """A connection to an existing file, in autocommit mode, nothing read or written yet.

    The file is opened by SQLite alone: whoever else in this process closed a descriptor of it would drop the
    locks of every connection, fcntl_locking(2), and an sqlite3 shell would then take itself for the only user
    and remove the write-ahead log under the daemon.
    """
    with translated(path):
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_S,
            cached_statements=256,
        )


def create_file(path: Path) -> None:
    """Makes an empty file for its owner alone. Raises `Refused`, also when it is there."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise unwritable(path, error) from error


def create_database(path: Path, steps: Sequence[Migration]) -> None:
    """Makes a new database at `path`, whole or not at all: one of no bytes is never torcd's."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # of a torcd that was killed here
    create_file(draft)
    with translated(path), closing(connect(draft)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, path, steps)
    draft.rename(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable, where its file system can."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what some network file systems say, which have nothing to do then
            raise
    finally:
        os.close(descriptor)


def _set_journal(connection: sqlite3.Connection, path: Path, mode: str) -> None:
    (actual,) = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
    if actual != mode:
        raise Refused(
            f"database {path}: journal mode {mode} is not possible here (SQLite chose {actual}). "
            "Set `database` to a path on a local disk",
            database=str(path),
        )


def prepare_writer(
    connection: sqlite3.Connection,
    path: Path,
    migrations: Sequence[Migration],
    *,
    exclusive: bool,
    save: Callable[[sqlite3.Connection], object],
) -> None:
    """Makes `connection` the writer of a database that is ours and of this version.

    `exclusive`: the only connection, for file systems on which the shared memory of write-ahead logging is
    not safe. `save` is called before an older database is brought to this version.
    """
    with translated(path):
        if exclusive:  # before the first access, so that no shared memory is used to read either
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        check_identity(connection, path, migrations)
        connection.executescript(_CONNECTION + _WRITER)
        _set_journal(connection, path, "truncate" if exclusive else "wal")
        if 0 < version_of(connection) < len(migrations):
            save(connection)
        migrate(connection, path, migrations)
        check_schema(connection, path, migrations)


def prepare_reader(connection: sqlite3.Connection, path: Path) -> None:
    """Makes `connection` one that only reads, beside the writer."""
    with translated(path):
        connection.executescript(_CONNECTION + _READER)
