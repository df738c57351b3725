"""Reads a workflow as it is, by names: what a changed specification is compared with."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from torcd.core.differences import (
    Attributes,
    Present,
    PresentFile,
    PresentJob,
    PresentRequirement,
    PresentValue,
)
from torcd.core.expansion import NewRequirement
from torcd.core.status import LIVE
from torcd.protocol.errors import NotFound
from torcd.protocol.specification import Header


def load_present(db: sqlite3.Connection, workflow_id: int) -> Present:
    """All of a workflow that can be compared without its definitions; raises NotFound."""
    row = db.execute("SELECT header, is_archived FROM workflow WHERE id = ?", (workflow_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no workflow {workflow_id}", noun="workflow", id=workflow_id)
    jobs = db.execute(
        "SELECT j.name, j.id, s.status, j.definition_digest, j.priority, q.name, j.scheduler, j.failure_handler,"
        " j.cancel_on_failure, j.supports_termination FROM job_state s JOIN job j ON j.id = s.job_id"
        " LEFT JOIN requirement q ON q.id = j.requirement_id WHERE s.workflow_id = ?",
        (workflow_id,),
    )
    files = db.execute(
        "SELECT name, id, path, may_be_missing FROM file WHERE workflow_id = ? AND is_script = 0", (workflow_id,)
    )
    values = db.execute(
        "SELECT u.name, u.id, u.is_ephemeral, v.digest FROM user_data u LEFT JOIN user_data_version v"
        " ON v.workflow_id = u.workflow_id AND v.user_data_id = u.id AND v.version = (SELECT max(version)"
        " FROM user_data_version WHERE workflow_id = u.workflow_id AND user_data_id = u.id) WHERE u.workflow_id = ?",
        (workflow_id,),
    )
    needs = db.execute(
        "SELECT id, name, num_cpus, memory_bytes, num_gpus, num_nodes, runtime_s FROM requirement"
        " WHERE workflow_id = ?",
        (workflow_id,),
    )
    return Present(
        workflow_id=workflow_id,
        is_archived=bool(row[1]),
        header=msgspec.json.decode(row[0], type=Header),
        jobs={
            name: PresentJob(job_id, status, digest, _attributes(*row)) for name, job_id, status, digest, *row in jobs
        },
        files={name: PresentFile(file_id, path, bool(flag)) for name, file_id, path, flag in files},
        user_data={name: PresentValue(each, bool(flag), digest) for name, each, flag, digest in values},
        requirements={row[1]: PresentRequirement(row[0], _requirement(row)) for row in needs},
    )


def _attributes(
    priority: int, need: str | None, scheduler: str | None, handler: str | None, cancel: int, stops: int
) -> Attributes:
    return Attributes(priority, need, scheduler, handler, bool(cancel), bool(stops))


def _requirement(row: tuple[Any, ...]) -> NewRequirement:
    return NewRequirement(**dict(zip(NewRequirement.__struct_fields__, row[1:], strict=True)))


def load_values(db: sqlite3.Connection, workflow_id: int, user_data_ids: Iterable[int]) -> dict[int, Any]:
    """The present values of user data; those without one are left out."""
    wanted = str(list(user_data_ids))
    rows = db.execute(
        "SELECT user_data_id, data FROM user_data_version WHERE workflow_id = ? AND user_data_id IN"
        " (SELECT value FROM json_each(?)) ORDER BY user_data_id, version",
        (workflow_id, wanted),
    )
    newest = dict(rows.fetchall())
    return {each: msgspec.json.decode(data) for each, data in newest.items() if data is not None}


def count_results(db: sqlite3.Connection, workflow_id: int, job_ids: Iterable[int]) -> dict[int, int]:
    """How many results each of some jobs has; those without any are left out."""
    rows = db.execute(
        "SELECT job_id, count(*) FROM result WHERE workflow_id = ? AND job_id IN (SELECT value FROM json_each(?))"
        " GROUP BY job_id",
        (workflow_id, str(list(job_ids))),
    )
    return dict(rows.fetchall())


def find_live_makers(db: sqlite3.Connection, workflow_id: int, file_ids: Iterable[int]) -> list[int]:
    """The live jobs that make one of some files."""
    rows = db.execute(
        "SELECT DISTINCT s.job_id FROM job_state s JOIN job_output o ON o.workflow_id = s.workflow_id"
        f" AND o.job_id = s.job_id WHERE s.workflow_id = ? AND s.status IN {tuple(map(int, LIVE))}"
        " AND o.file_id IN (SELECT value FROM json_each(?))",
        (workflow_id, str(list(file_ids))),
    )
    return [job_id for (job_id,) in rows]
