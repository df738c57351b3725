"""How a connection to the database is set up: who it belongs to, its journal, its pragmas.

Plain `sqlite3`, run in the SQL thread. The order matters: nothing is written before the file is known to be
ours.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from torcd.protocol.errors import Refused
from torcd.storage.faults import translated
from torcd.storage.migrate import Migration, check_identity, load_migrations, migrate

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
    """A connection in autocommit mode, nothing read or written yet; a new file is its owner's alone."""
    check_sqlite()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Refused(
            f"database {path}: cannot be opened for writing: {error.strerror}. Check that its directory "
            "exists and is yours, or set `database` to another path",
            database=str(path),
        ) from error
    with translated(path):
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_S,
            cached_statements=256,
        )


def _set_journal(connection: sqlite3.Connection, path: Path, mode: str) -> None:
    (actual,) = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
    if actual != mode:
        raise Refused(
            f"database {path}: journal mode {mode} is not possible here (SQLite chose {actual}). "
            "Set `database` to a path on a local disk",
            database=str(path),
        )


def prepare_writer(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] | None, *, exclusive: bool
) -> None:
    """Makes `connection` the writer of a database that is ours and of this version.

    `exclusive`: the only connection, for file systems on which the shared memory of write-ahead logging is
    not safe.
    """
    steps = load_migrations() if migrations is None else migrations
    with translated(path):
        if exclusive:  # before the first access, so that no shared memory is used to read either
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        check_identity(connection, path, steps)
        connection.executescript(_CONNECTION + _WRITER)
        _set_journal(connection, path, "truncate" if exclusive else "wal")
        migrate(connection, path, steps)


def prepare_reader(connection: sqlite3.Connection, path: Path) -> None:
    """Makes `connection` one that only reads, beside the writer."""
    with translated(path):
        connection.executescript(_CONNECTION + _READER)
