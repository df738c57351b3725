"""The schema's version: which steps a database has had, and those it still needs.

A step is a file `NNNN_name.sql` in `migrations/`, numbered from 1 without gaps and never changed once
released. All that a database lacks are one transaction, together with the number in `user_version`: a failure or
a crash leaves it as it was. Knows no table.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from torcd.protocol.errors import Refused
from torcd.storage.faults import find_fault

APPLICATION_ID = int.from_bytes(b"torc", "big")
"""Marks a database as torcd's own; `file` shows it, and no other program's database carries it."""

_FILE = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the schema."""

    version: int
    name: str
    sql: str
    """Statements without BEGIN or COMMIT; foreign keys are checked at the end, not during it."""


def load_migrations(directory: Traversable | None = None) -> list[Migration]:
    """The steps in `directory` (the package's own by default), in order."""
    directory = directory or resources.files("torcd.storage").joinpath("migrations")
    found = []
    for file in directory.iterdir():
        if match := _FILE.fullmatch(file.name):
            sql = file.read_text(encoding="utf-8")
            found.append(Migration(version=int(match["version"]), name=match["name"], sql=sql))
        elif file.name.endswith(".sql"):
            raise ValueError(f"migration {file.name}: its name must look like 0001_name.sql")
    found.sort(key=lambda step: step.version)
    if [step.version for step in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations must be numbered 1, 2, 3 …, not {[step.version for step in found]}")
    return found


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


def check_identity(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Refuses a database of another program or of a newer torcd; writes nothing. An empty one is fine."""
    application_id = _number(connection, "application_id")
    version = _number(connection, "user_version")
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    is_empty = application_id == 0 and version == 0 and objects == 0
    if application_id != APPLICATION_ID and not is_empty:
        raise Refused(
            f"database {path}: it belongs to another program (application id {application_id:#x}); it was "
            "left as it is. Set `database` to another path",
            database=str(path),
        )
    if not 0 <= version <= len(migrations):
        raise Refused(
            f"database {path}: its schema is version {version}, this torcd knows up to {len(migrations)}; it "
            "was left as it is. Upgrade torcd, or set `database` to another path",
            database=str(path),
            version=version,
            known=len(migrations),
        )


def version_of(connection: sqlite3.Connection) -> int:
    """The number of the last step that a database has had."""
    return _number(connection, "user_version")


def _statements(sql: str) -> Iterator[str]:
    """The statements of a script, with their comments."""
    statement = ""
    for piece in sql.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    title = f"migration {step.version:04d}_{step.name}"
    for statement in _statements(step.sql):
        connection.execute(statement)
        if not connection.in_transaction:
            raise RuntimeError(f"{title} ends the transaction it runs in")
    if broken := connection.execute("PRAGMA foreign_key_check").fetchone():
        raise RuntimeError(f"{title} leaves a row of {broken[0]} without its parent in {broken[2]}")
    connection.execute(f"PRAGMA user_version = {step.version}")


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] | None = None) -> None:
    """Applies the steps that the database lacks; `connection` is in autocommit mode.

    Leaves foreign keys on. When a step fails, none of them was applied: raises `Refused` where what is stored does not
    fit the step, else what the disk's failure means. Raises also as `check_identity` does.
    """
    steps = load_migrations() if migrations is None else migrations
    check_identity(connection, path, steps)
    version = version_of(connection)
    missing = steps[version:]
    # Rebuilding a table, SQLite's way to alter it, must not fire its children's ON DELETE actions.
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        if missing:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for step in missing:
            _apply(connection, step)
        if missing:
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        fault = find_fault(error, path)
        raise fault or Refused(
            f"database {path}: it cannot be brought from schema version {version} to {len(steps)}: {error}. It was "
            "left as it is. Its schema is not that of its version: if it is damaged, restore a backup with "
            "`torcctl daemon restore FILE`",
            database=str(path),
            version=version,
        ) from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA foreign_keys = ON")
