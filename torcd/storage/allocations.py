"""Rows of allocations."""

import secrets
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from torcd.core.allocations import ACTIVE, COMPLETE, OPEN, QUEUED, REFUSED, SUBMITTING, Backlog, Change, Row
from torcd.core.sizing import OnTheirWay
from torcd.core.status import Status
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.slurm import Allocation
from torcd.protocol.specification import Header
from torcd.storage.lists import NUMBER, TEXT, Listing
from torcd.storage.rows import format_time, next_ids


class NewAllocations(msgspec.Struct, frozen=True, kw_only=True):
    """Some of one kind, before they are submitted."""

    count: int
    scheduler: str | None
    num_nodes: int
    walltime_s: int
    memory_bytes: int | None
    requested_by: str
    request_key: str | None


def _make_allocation(row: tuple[Any, ...]) -> Allocation:
    times = [None if at_ms is None else format_time(at_ms) for at_ms in row[13:17]]
    return Allocation(
        id=row[0],
        allocation_id=row[0],
        workflow_id=row[1],
        status=row[2],
        scheduler=row[3],
        slurm_job_id=row[4],
        job_name=row[5],
        num_nodes=row[6],
        walltime_s=row[7],
        memory_bytes=row[8],
        slurm_state=row[9],
        slurm_reason=row[10],
        error=row[11],
        workers=row[12],
        created_at=format_time(row[13]),
        submitted_at=times[1],
        started_at=times[2],
        ended_at=times[3],
    )


_WORKERS = (
    "(SELECT count(*) FROM worker w WHERE w.workflow_id = a.workflow_id AND w.allocation_id = a.id AND w.is_gone = 0)"
)
ALLOCATIONS = Listing(
    select="SELECT a.id, a.workflow_id, a.status, a.scheduler, a.slurm_job_id, a.job_name, a.num_nodes, a.walltime_s,"
    f" a.memory_bytes, a.slurm_state, a.slurm_reason, a.error, {_WORKERS}, a.created_at_ms, a.submitted_at_ms,"
    " a.started_at_ms, a.ended_at_ms FROM allocation a",
    where="a.workflow_id = ?",
    key="a.id",
    filters={
        "id": ("a.id", NUMBER),
        "allocation_id": ("a.id", NUMBER),
        "status": ("a.status", TEXT),
        "scheduler": ("a.scheduler", TEXT),
        "slurm_job_id": ("a.slurm_job_id", NUMBER),
        "job_name": ("a.job_name", TEXT),
        "slurm_state": ("a.slurm_state", TEXT),
    },
    make=_make_allocation,
)


def insert_allocations(
    db: sqlite3.Connection, workflow_id: int, new: NewAllocations, at_ms: int
) -> list[tuple[int, str]]:
    """Adds rows that are about to be submitted; their ids and job names."""
    named = [
        (each, f"torc_{workflow_id}_{each}_{secrets.token_hex(4)}") for each in next_ids(db, "allocation", new.count)
    ]
    db.executemany(
        "INSERT INTO allocation (id, workflow_id, status, scheduler, job_name, num_nodes, walltime_s, memory_bytes,"
        " requested_by, request_key, created_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (each, workflow_id, SUBMITTING, new.scheduler, name, new.num_nodes, new.walltime_s, new.memory_bytes,
             new.requested_by, new.request_key, at_ms)
            for each, name in named
        ],
    )  # fmt: skip
    return named


def update_allocations(db: sqlite3.Connection, changes: Sequence[Change], at_ms: int) -> None:
    """Writes what has become of some. The first time of each kind stays; one that runs again has not ended.

    An error stays only until Slurm tells of the allocation: then what went wrong has come to nothing.
    """
    db.executemany(
        "UPDATE allocation SET status = ?, slurm_job_id = coalesce(?, slurm_job_id), slurm_state = ?, slurm_reason = ?,"
        " error = CASE WHEN ? THEN coalesce(?, error) ELSE ? END,"
        " submitted_at_ms = CASE WHEN ? IS NULL THEN submitted_at_ms ELSE coalesce(submitted_at_ms, ?) END,"
        " started_at_ms = CASE WHEN ? THEN coalesce(started_at_ms, ?) ELSE started_at_ms END,"
        " ended_at_ms = CASE WHEN ? THEN coalesce(ended_at_ms, ?) END WHERE id = ?",
        [
            (change.status, change.job_id, change.state, change.reason, change.status == SUBMITTING, change.error,
             change.error, change.job_id, at_ms,
             change.status == ACTIVE, at_ms, change.status in (COMPLETE, REFUSED), at_ms, change.id)
            for change in changes
        ],
    )  # fmt: skip


def set_cancel_reason(db: sqlite3.Connection, ids: Sequence[int], reason: str) -> None:
    """Notes that allocations are to be canceled."""
    db.executemany(
        "UPDATE allocation SET cancel_reason = coalesce(cancel_reason, ?) WHERE id = ?",
        [(reason, each) for each in ids],
    )


_ROW = (
    "SELECT id, workflow_id, status, job_name, slurm_job_id, slurm_state, slurm_reason, cancel_reason, created_at_ms,"
    " error FROM allocation"
)
IS_OPEN = f"status IN ({', '.join(repr(status) for status in OPEN)})"
_IS_QUEUED = f"status IN ({', '.join(repr(status) for status in QUEUED)})"


def load_open(db: sqlite3.Connection, workflow_id: int | None = None) -> list[Row]:
    """The allocations that have not ended, of one workflow or of all."""
    if workflow_id is None:
        return [Row(*row) for row in db.execute(f"{_ROW} WHERE {IS_OPEN} ORDER BY id")]
    rows = db.execute(f"{_ROW} WHERE workflow_id = ? AND {IS_OPEN} ORDER BY id", (workflow_id,))
    return [Row(*row) for row in rows]


def load_pending(db: sqlite3.Connection, workflow_id: int) -> dict[str | None, list[OnTheirWay]]:
    """The Slurm jobs of a workflow that wait, and are not to be canceled, by the names of their schedulers."""
    pending: dict[str | None, list[OnTheirWay]] = {}
    for scheduler, *row in db.execute(
        "SELECT scheduler, count(*), walltime_s, memory_bytes FROM allocation"
        f" WHERE workflow_id = ? AND {_IS_QUEUED} AND cancel_reason IS NULL"
        " GROUP BY scheduler, walltime_s, memory_bytes",
        (workflow_id,),
    ):
        pending.setdefault(scheduler, []).append(OnTheirWay(*row))
    return pending


def find_longest(db: sqlite3.Connection, workflow_id: int) -> int:
    """The longest walltime of a workflow's allocations that have not ended and are not to be canceled; 0: none."""
    (longest_s,) = db.execute(
        f"SELECT max(walltime_s) FROM allocation WHERE workflow_id = ? AND {IS_OPEN} AND cancel_reason IS NULL",
        (workflow_id,),
    ).fetchone()
    return longest_s or 0


def load_named(db: sqlite3.Connection, names: Sequence[str]) -> list[Row]:
    """The allocations with these job names."""
    names_json = msgspec.json.encode(list(names)).decode()
    return [
        Row(*row) for row in db.execute(f"{_ROW} WHERE job_name IN (SELECT value FROM json_each(?))", (names_json,))
    ]


def find_scheduled(db: sqlite3.Connection, workflow_id: int, request_key: str | None) -> list[Row]:
    """The allocations that a request with this key has made."""
    if request_key is None:
        return []
    rows = db.execute(f"{_ROW} WHERE request_key = ? AND workflow_id = ? ORDER BY id", (request_key, workflow_id))
    return [Row(*row) for row in rows]


def load_allocations(db: sqlite3.Connection, ids: Sequence[int]) -> list[Allocation]:
    """Allocations by id, in the order of their ids."""
    rows = db.execute(
        f"{ALLOCATIONS.select} WHERE a.id IN (SELECT value FROM json_each(?)) ORDER BY a.id", (str(list(ids)),)
    )
    return [_make_allocation(row) for row in rows]


def load_ids(db: sqlite3.Connection, workflow_id: int) -> list[int]:
    """The allocations of a workflow."""
    return [row[0] for row in db.execute("SELECT id FROM allocation WHERE workflow_id = ?", (workflow_id,))]


def load_ended(db: sqlite3.Connection, workflow_id: int) -> dict[int, str]:
    """How the allocations of a workflow ended that did, in Slurm's words."""
    found = db.execute(
        "SELECT id, coalesce(slurm_state, 'UNKNOWN') FROM allocation WHERE workflow_id = ? AND status = ?",
        (workflow_id, COMPLETE),
    )
    return dict(found.fetchall())


def load_names(db: sqlite3.Connection, ids: Sequence[int]) -> dict[str, int]:
    """When each was made, by job name."""
    found = db.execute(
        "SELECT job_name, created_at_ms FROM allocation WHERE id IN (SELECT value FROM json_each(?))", (str(list(ids)),)
    )
    return dict(found.fetchall())


def find_with_workers(db: sqlite3.Connection, ids: Sequence[int]) -> set[int]:
    """Those of some allocations that a worker has ever come from."""
    rows = db.execute(
        "SELECT DISTINCT allocation_id FROM worker WHERE allocation_id IN (SELECT value FROM json_each(?))",
        (str(list(ids)),),
    )
    return {row[0] for row in rows}


def check_none_open(db: sqlite3.Connection, workflow_id: int) -> None:
    """Raises Refused when a workflow has allocations that have not ended."""
    ids = [row.id for row in load_open(db, workflow_id)]
    if ids:
        count = "an allocation" if len(ids) == 1 else f"{len(ids)} allocations"
        raise Refused(
            f"workflow {workflow_id} has {count} of Slurm that did not end ({', '.join(map(str, ids[:10]))}"
            f"{', …' if len(ids) > 10 else ''}): end them first, with `torcctl -k {workflow_id} slurm cancel`",
            workflow_id=workflow_id,
            allocations=ids,
        )


def load_backlogs(db: sqlite3.Connection, workflow_ids: Sequence[int]) -> dict[int, Backlog]:
    """What workflows have to do."""
    found = {}
    for workflow_id in workflow_ids:
        row = db.execute("SELECT is_canceled, is_archived FROM workflow WHERE id = ?", (workflow_id,)).fetchone()
        if row is None:
            continue
        is_busy = db.execute(
            "SELECT EXISTS (SELECT 1 FROM task WHERE workflow_id = :id AND status IN ('queued', 'running'))"
            " OR EXISTS (SELECT 1 FROM job_state WHERE workflow_id = :id AND status <= :last)",
            {"id": workflow_id, "last": int(Status.RUNNING)},
        ).fetchone()[0]
        found[workflow_id] = Backlog(is_over=bool(row[1]) or not is_busy, is_canceled=bool(row[0]))
    return found


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow, as far as scheduling nodes for it needs it."""

    header: Header
    directory: str
    is_archived: bool


def load_wanted(db: sqlite3.Connection, workflow_id: int) -> Wanted:
    """The workflow; raises NotFound."""
    row = db.execute(
        "SELECT header, submission_directory, is_archived FROM workflow WHERE id = ?", (workflow_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no workflow {workflow_id}", noun="workflow", id=workflow_id)
    header, directory, is_archived = row
    return Wanted(header=msgspec.json.decode(header, type=Header), directory=directory, is_archived=bool(is_archived))
