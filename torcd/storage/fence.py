"""Keeps numbers that were given after a backup from being given again once it is restored.

Workers and scripts may hold ids and attempts of the time that is lost. They are to be refused as superseded or
unknown, and never to be taken for something that was made since (SEMANTICS 5.3). What was the last number given is
read from the database that is replaced; where that cannot be read, or has lost its end, a gap is left.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from torcd.storage.soundness import beside, find_lost

GAP = 1_000_000
"""Left for what may have been given after a backup, in each kind of id; a few workflows of many jobs."""

WORKFLOW_GAP = 1_000
"""Likewise for workflows, whose ids people type."""

ATTEMPT_GAP = 1_000
"""Likewise for the attempts of one job."""


class Marks(msgspec.Struct, frozen=True):
    """The last numbers that a database gave."""

    ids: dict[str, int]
    """By table."""
    attempts: dict[int, int]
    """The highest of any job, by workflow."""


def _load_marks(db: sqlite3.Connection) -> Marks:
    ids = dict(db.execute("SELECT name, seq FROM sqlite_sequence"))
    attempts = dict(db.execute("SELECT workflow_id, max(attempt) FROM job_state GROUP BY workflow_id"))
    has_floors = any(row[1] == "attempt_floor" for row in db.execute("PRAGMA table_info(workflow)"))
    if has_floors:
        for workflow_id, floor in db.execute("SELECT id, attempt_floor FROM workflow"):
            attempts[workflow_id] = max(floor, attempts.get(workflow_id, 0))
    return Marks(ids, attempts)


def read_marks(path: Path, *, was_left_open: bool) -> Marks | None:
    """The marks of a database that is not in use, which is not changed; None when they cannot be relied on."""
    if not path.exists() or find_lost(path, was_left_open=was_left_open) is not None:
        return None
    try:
        mode = "mode=ro" if beside(path, "-wal").exists() else "immutable=1"  # else files would be made for it
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as db:
            return _load_marks(db)
    except (sqlite3.Error, OSError):
        return None


def raise_marks(db: sqlite3.Connection, replaced: Marks | None) -> None:
    """Has a restored database number on from what the one that it replaces had reached; in one transaction."""
    own = _load_marks(db)
    db.execute("BEGIN IMMEDIATE")
    for table, seq in own.ids.items():
        gap = WORKFLOW_GAP if table == "workflow" else GAP
        last = seq + gap if replaced is None else max(seq, replaced.ids.get(table, 0))
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (last, table))
    for table in _numbered(db) - own.ids.keys():
        last = GAP if replaced is None else replaced.ids.get(table, 0)
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))
    for (workflow_id,) in db.execute("SELECT id FROM workflow").fetchall():
        attempt = own.attempts.get(workflow_id, 0)
        floor = attempt + ATTEMPT_GAP if replaced is None else max(attempt, replaced.attempts.get(workflow_id, 0))
        db.execute("UPDATE workflow SET attempt_floor = ? WHERE id = ?", (floor, workflow_id))
    db.execute("COMMIT")


def _numbered(db: sqlite3.Connection) -> set[str]:
    """The tables whose ids are never used again."""
    found = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'")
    return {name for (name,) in found}
