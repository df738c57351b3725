"""Finds jobs by what users call them: ids and names, thousands in one query."""

import sqlite3
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from torcd.protocol.errors import BadRequest, NotFound

SHOWN = 20
"""How many keys an error names."""


def find_jobs(
    db: sqlite3.Connection, workflow_id: int | None, ids: Sequence[int], names: Sequence[str]
) -> tuple[int, list[int]]:
    """The workflow and the ids of jobs, those of the names last. Without a workflow the first id decides on it.

    Raises NotFound when there is no such job, also when it is one of another workflow.
    """
    if not ids and workflow_id is None:
        raise BadRequest("names need a workflow_id", path="$.workflow_id")
    sql = "SELECT id, workflow_id FROM job WHERE id IN (SELECT value FROM json_each(?))"
    owners: dict[int, int] = dict(db.execute(sql, (str(list(ids)),)))
    unknown = [job_id for job_id in ids if job_id not in owners]
    if unknown:
        _refuse("there is no job", unknown)
    workflow = owners[ids[0]] if workflow_id is None else workflow_id
    strangers = [job_id for job_id in ids if owners[job_id] != workflow]
    if strangers:
        raise NotFound(
            f"job {strangers[0]} is in workflow {owners[strangers[0]]}, not in workflow {workflow}: name jobs of one "
            "workflow at a time",
            noun="job",
            id=strangers[0],
            ids=strangers[:1000],
            workflow_id=owners[strangers[0]],
        )
    sql = "SELECT name, id FROM job WHERE workflow_id = ? AND name IN (SELECT value FROM json_each(?))"
    named: dict[str, int] = dict(db.execute(sql, (workflow, msgspec.json.encode(names).decode())))
    nameless = [name for name in names if name not in named]
    if nameless:
        _refuse(f"workflow {workflow} has no job named", nameless)
    return workflow, [*ids, *(named[name] for name in names)]


def find_names(db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, str]:
    """The names of jobs; nothing of those that there are no more."""
    return dict(db.execute("SELECT id, name FROM job WHERE id IN (SELECT value FROM json_each(?))", (str(list(ids)),)))


def _refuse(what: str, keys: Sequence[int | str]) -> NoReturn:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    raise NotFound(
        f"{what} {', '.join(repr(key) for key in keys[:SHOWN])}{more}", noun="job", id=keys[0], ids=list(keys[:1000])
    )
