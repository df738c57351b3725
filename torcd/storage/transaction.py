"""Transactions as they run in the SQL thread: a group of writes in one, a read in its own snapshot.

Plain `sqlite3`: knows nothing of tasks, loops or threads. Failures are values (`outcome.Error`), so that one
hop into the thread carries the results of many callers back.
"""

import logging
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import outcome

from torcd.storage.faults import InDoubt, doubt, explain, is_interrupt, leaves_doubt, translated

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""What a caller wants done inside a transaction.

It may run twice (a group that fails is replayed), so it changes nothing but the database. It neither begins
nor ends a transaction (`executescript` does!) and returns plain values: a cursor handed out would hold the
snapshot open.
"""

_log = logging.getLogger(__name__)

# An interrupt holds for each statement that starts before the number of running ones is back at zero, and is
# forgotten when none runs. This statement has a second row, so it runs for as long as its cursor is open.
_KEEP_INTERRUPT = "SELECT 1 UNION ALL SELECT 2"


class Interrupted(Exception):
    """The read was stopped before it had a value."""


def _begin(connection: sqlite3.Connection, kind: str) -> None:
    if connection.in_transaction:  # a rollback failed, for instance when the disk did
        connection.execute("ROLLBACK")
    connection.execute(f"BEGIN {kind}")


@contextmanager
def _begun(connection: sqlite3.Connection) -> Iterator[None]:
    """Leaves no transaction behind: the body commits, otherwise everything is rolled back."""
    try:
        yield
    finally:
        if connection.in_transaction:  # SQLite itself rolls back after some errors
            connection.execute("ROLLBACK")


def _release(result: outcome.Outcome[T]) -> None:
    """Frees what an error's frames hold: a cursor there would keep its statement, and the snapshot, alive."""
    seen: list[BaseException] = []
    error = result.error if isinstance(result, outcome.Error) else None
    while error is not None and error not in seen:
        seen.append(error)
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _commit(connection: sqlite3.Connection, works: Sequence[Work[object]], path: Path) -> list[object]:
    with translated(path), _begun(connection):
        values = []
        for work in works:
            values.append(work(connection))
            if not connection.in_transaction:
                raise RuntimeError(f"{work!r} ended the transaction that it was given")
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if leaves_doubt(error) and not _void(connection):
                raise doubt(error, path) from error
            raise
    return values


def _void(connection: sqlite3.Connection) -> bool:
    """After a COMMIT that failed: makes sure that no recovery after a crash takes it for made; whether it is sure.

    In a write-ahead log the failed transaction may be all there, its end included: only this process knows that
    it does not count. A transaction without effect is written over it. A rollback journal is either played back or
    was given up already, which cannot be told from here.
    """
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            return False
        with _begun(connection):
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
    except sqlite3.Error:
        return False
    return True


def run_commits(
    connection: sqlite3.Connection, works: Sequence[Work[object]], path: Path
) -> list[outcome.Outcome[object]]:
    """Runs `works` in one durable transaction or, if that fails, each in its own; their outcomes in order."""
    try:
        _begin(connection, "IMMEDIATE")
    except sqlite3.Error as error:
        # No work is to blame, and trying each would wait for whoever holds the database once for each.
        return [outcome.Error(explain(error, path)) for _ in works]
    together = outcome.capture(_commit, connection, works, path)
    _release(together)
    if isinstance(together, outcome.Value):
        return [outcome.Value(value) for value in together.value]
    if len(works) == 1:
        return [together]
    if isinstance(together, outcome.Error) and isinstance(together.error, InDoubt):  # again might be twice
        return [outcome.Error(InDoubt(together.error.message, **together.error.data)) for _ in works]
    _log.info("a group of %d commits failed, each is tried alone: %r", len(works), together.error)
    return [run_commits(connection, [work], path)[0] for work in works]


def _read(connection: sqlite3.Connection, work: Work[T], is_stopped: Callable[[], bool], path: Path) -> T:
    with translated(path):
        _begin(connection, "DEFERRED")
        with _begun(connection), closing(connection.execute(_KEEP_INTERRUPT)):
            if is_stopped():  # before the statement above ran, an interrupt had no effect
                raise Interrupted
            changes = connection.total_changes
            value = work(connection)
            if connection.total_changes != changes:
                raise RuntimeError(f"{work!r} wrote inside a read; that was rolled back")
            return value


def run_read(
    connection: sqlite3.Connection, work: Work[T], is_stopped: Callable[[], bool], path: Path
) -> outcome.Outcome[T]:
    """Runs `work` on one snapshot and writes nothing; an error `Interrupted` if it was stopped in the middle.

    To stop it: make `is_stopped` true, then call the connection's `interrupt()`; both from any thread.
    """
    result = outcome.capture(_read, connection, work, is_stopped, path)
    _release(result)
    if isinstance(result, outcome.Error) and is_stopped() and is_interrupt(result.error):
        return outcome.Error(Interrupted())
    return result
