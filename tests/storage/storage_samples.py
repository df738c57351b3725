"""What the database's tests share: a small schema, a work that waits to be let on, a look at the threads."""

import sqlite3
import threading
from collections.abc import Callable

import trio

from torcd.storage.migrate import Migration

MIGRATIONS = [
    Migration(
        version=1,
        name="initial",
        sql="""
            CREATE TABLE item (id INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
            CREATE TABLE part (
                id INTEGER PRIMARY KEY,
                item_id INTEGER NOT NULL REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED
            ) STRICT;
        """,
    )
]

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def insert(number: int, note: str = "") -> Callable[[sqlite3.Connection], int]:
    """A work that inserts one item and returns its id."""

    def work(sql: sqlite3.Connection) -> int:
        sql.execute("INSERT INTO item (id, note) VALUES (?, ?)", (number, note))
        return number

    return work


def items(sql: sqlite3.Connection) -> list[int]:
    """A work that returns the ids of all items."""
    return [number for (number,) in sql.execute("SELECT id FROM item ORDER BY id")]


def endless(sql: sqlite3.Connection) -> None:
    """A work that ends only by an interrupt."""
    sql.execute(ENDLESS).fetchone()


class Gate:
    """A work that sets `begun` and goes on to `work` when `open` is set."""

    def __init__(self, work: Callable[[sqlite3.Connection], object] = lambda sql: "through") -> None:
        self.begun = trio.Event()
        self.open = threading.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._work = work

    def __call__(self, sql: sqlite3.Connection) -> object:
        self._token.run_sync_soon(self.begun.set)
        assert self.open.wait(60), "nobody opened the gate"
        return self._work(sql)


def left_threads() -> list[threading.Thread]:
    """The threads of databases that do not end by themselves."""
    threads = [t for t in threading.enumerate() if "sql" in t.name or "_connection_worker_thread" in t.name]
    for thread in threads:
        thread.join(30)
    return [thread for thread in threads if thread.is_alive()]
