"""Rows of every kind: their ids, and their times as users see them."""

import sqlite3
from datetime import UTC, datetime


def format_time(unix_ms: int) -> str:
    """An RFC 3339 UTC time with milliseconds."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{unix_ms % 1000:03d}Z"


def next_ids(db: sqlite3.Connection, table: str, count: int) -> range:
    """The ids of the next rows of a table."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    first = 1 if row is None else int(row[0]) + 1
    return range(first, first + count)
