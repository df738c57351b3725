"""Actions and their firings: written, loaded and listed."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from torcd.core.delta import Arm, Fire, FiringMove
from torcd.core.state import Action, Ids
from torcd.protocol.actions import Firing
from torcd.protocol.specification import ActionSpec
from torcd.storage.rows import next_ids

INTERRUPTED = (
    "the daemon, or the workflow's actor, ended meanwhile: what came of it is not known, and it is not repeated"
)
IS_OPEN = "status IN ('queued', 'running')"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ActionSpec).decode


def insert_actions(
    db: sqlite3.Connection,
    workflow_id: int,
    specs: Sequence[ActionSpec],
    jobs: Sequence[Sequence[int]],
    *,
    numbers: Sequence[int] | None = None,
    armed: bool = True,
) -> None:
    """Adds actions; `jobs[i]`: the ids of those that action `i` is about."""
    ids = next_ids(db, "action", len(specs))
    places = numbers or range(1, len(specs) + 1)
    db.executemany(
        "INSERT INTO action (id, workflow_id, number, spec, is_armed) VALUES (?, ?, ?, ?, ?)",
        (
            (action_id, workflow_id, number, _encode(spec).decode(), armed)
            for action_id, number, spec in zip(ids, places, specs, strict=True)
        ),
    )
    _insert_jobs(db, workflow_id, ids, jobs)


def _insert_jobs(db: sqlite3.Connection, workflow_id: int, ids: Sequence[int], jobs: Sequence[Sequence[int]]) -> None:
    db.executemany(
        "INSERT INTO action_job VALUES (?, ?, ?)",
        ((workflow_id, action_id, job_id) for action_id, each in zip(ids, jobs, strict=True) for job_id in each),
    )


def match_actions(
    db: sqlite3.Connection, workflow_id: int, specs: Sequence[ActionSpec]
) -> tuple[dict[int, int], list[int]]:
    """Which actions are the same as before, index → id, and the ids of those that are there no more.

    Those of equal actions are taken in their order.
    """
    rows = db.execute("SELECT id, spec FROM action WHERE workflow_id = ? ORDER BY number", (workflow_id,)).fetchall()
    present = [(action_id, _decode(text)) for action_id, text in rows]
    kept: dict[int, int] = {}
    for index, spec in enumerate(specs):
        place = next((place for place, (_, each) in enumerate(present) if each == spec), None)
        if place is not None:
            kept[index] = present.pop(place)[0]
    return kept, [action_id for action_id, _ in present]


def update_actions(
    db: sqlite3.Connection, workflow_id: int, specs: Sequence[ActionSpec], jobs: Sequence[Sequence[int]]
) -> None:
    """Makes a workflow's actions those of a changed specification; what stays the same keeps where it stands.

    New ones are not armed: whether they are to be is decided on the state as it is then.
    """
    kept, removed = match_actions(db, workflow_id, specs)
    db.execute("DELETE FROM action_job WHERE workflow_id = ?", (workflow_id,))
    gone = str(removed)
    db.execute("DELETE FROM firing WHERE action_id IN (SELECT value FROM json_each(?))", (gone,))
    db.execute("DELETE FROM action WHERE id IN (SELECT value FROM json_each(?))", (gone,))
    db.executemany("UPDATE action SET number = ? WHERE id = ?", [(index + 1, each) for index, each in kept.items()])
    _insert_jobs(db, workflow_id, list(kept.values()), [jobs[index] for index in kept])
    new = [index for index in range(len(specs)) if index not in kept]
    insert_actions(
        db,
        workflow_id,
        [specs[index] for index in new],
        [jobs[index] for index in new],
        numbers=[index + 1 for index in new],
        armed=False,
    )


def load_actions(db: sqlite3.Connection, workflow_id: int, jobs: Ids) -> list[Action]:
    """A workflow's actions, in their order."""
    rows = db.execute(
        "SELECT a.id, a.number, a.spec, a.is_armed, a.fired, (SELECT group_concat(job_id, ' ') FROM action_job j"
        " WHERE j.workflow_id = a.workflow_id AND j.action_id = a.id) FROM action a WHERE a.workflow_id = ?"
        " ORDER BY a.number",
        (workflow_id,),
    )
    return [
        Action(
            id=action_id,
            number=number,
            spec=_decode(spec),
            jobs=np.sort(jobs.find(np.fromstring(text or "", dtype=np.int64, sep=" "))),
            is_armed=bool(is_armed),
            fired=fired,
        )
        for action_id, number, spec, is_armed, fired, text in rows
    ]


def save_action_change(db: sqlite3.Connection, workflow_id: int, change: Arm | Fire | FiringMove) -> None:
    """Writes what became of actions."""
    match change:
        case Arm():
            db.executemany(
                "UPDATE action SET is_armed = ? WHERE id = ?", [(change.is_armed, each) for each in change.actions]
            )
        case Fire():
            db.execute("UPDATE action SET is_armed = 0, fired = ? WHERE id = ?", (change.number, change.action_id))
            db.execute(
                "INSERT INTO firing (workflow_id, action_id, number, run_id, status, fired_at_ms)"
                " VALUES (?, ?, ?, ?, 'queued', ?)",
                (workflow_id, change.action_id, change.number, change.run_id, change.at_ms),
            )
        case FiringMove():
            columns = ", ".join(f"{name} = ?" for name in change.columns)
            db.execute(
                f"UPDATE firing SET {columns} WHERE action_id = ? AND number = ?",
                (*change.columns.values(), change.action_id, change.number),
            )


def load_open_firings(db: sqlite3.Connection, workflow_id: int) -> list[tuple[Firing, str]]:
    """The firings that have not ended, oldest first, with their status."""
    rows = db.execute(
        f"SELECT action_id, number, run_id, status FROM firing WHERE workflow_id = ? AND {IS_OPEN} ORDER BY id",
        (workflow_id,),
    )
    return [(Firing(action_id=row[0], number=row[1], run_id=row[2]), row[3]) for row in rows]


def find_workflows_with_open_firings(db: sqlite3.Connection) -> list[int]:
    """The workflows whose actions a former daemon has not come to an end with."""
    return [row[0] for row in db.execute(f"SELECT DISTINCT workflow_id FROM firing WHERE {IS_OPEN}")]


def find_open(db: sqlite3.Connection, action_ids: Sequence[int]) -> list[int]:
    """Those of some actions that have a firing which has not ended."""
    rows: list[tuple[Any, ...]] = db.execute(
        f"SELECT DISTINCT action_id FROM firing WHERE action_id IN (SELECT value FROM json_each(?)) AND {IS_OPEN}",
        (str(list(action_ids)),),
    ).fetchall()
    return [row[0] for row in rows]
