"""What the ready jobs of a workflow need, and what is known of the nodes that could run them."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from torcd.core.outlook import Outlook
from torcd.core.placement import NO_REQUIREMENT, Requirement
from torcd.core.sizing import Node, OnTheirWay
from torcd.core.status import Status
from torcd.protocol.specification import Header, SlurmSchedulerSpec
from torcd.storage.allocations import IS_OPEN, load_pending


@dataclass(frozen=True, slots=True)
class Demand:
    """All that a proposal of Slurm jobs is made from; by the name of a scheduler, as jobs give it."""

    schedulers: list[SlurmSchedulerSpec]
    needs: dict[str | None, list[tuple[Requirement, int]]]
    nodes: dict[str | None, Node]
    pending: dict[str | None, list[OnTheirWay]]
    at_work: int
    """Workers that are not gone, and allocations that have not ended."""
    slurm_defaults: dict[str, Any]


_NEEDS = (
    "SELECT j.scheduler, count(*), q.name, q.num_cpus, q.memory_bytes, q.num_gpus, q.num_nodes, q.runtime_s"
    " FROM job_state s JOIN job j ON j.id = s.job_id LEFT JOIN requirement q ON q.id = j.requirement_id"
    " WHERE s.workflow_id = ? AND {condition} GROUP BY j.scheduler, j.requirement_id"
)
_READY = _NEEDS.format(condition=f"s.status = {Status.READY:d} AND s.job_id NOT IN (SELECT value FROM json_each(?))")
_LISTED = _NEEDS.format(condition="s.job_id IN (SELECT value FROM json_each(?))")
_WAITING = _NEEDS.format(condition=f"s.status <= {Status.READY:d} AND (j.scheduler IS NULL OR j.scheduler IS ?)")


def load_demand(db: sqlite3.Connection, workflow_id: int, outlook: Outlook | None = None) -> Demand:
    """The demand of a workflow, which must be there: that of now, or how it will be after a plan."""
    (header,) = db.execute("SELECT header FROM workflow WHERE id = ?", (workflow_id,)).fetchone()
    needs: dict[str | None, list[tuple[Requirement, int]]] = {}
    for scheduler, need, count in _find_needs(db, workflow_id, outlook or Outlook([], [])):
        needs.setdefault(scheduler, []).append((need, count))
    nodes = {
        scheduler: Node(*offer)
        for scheduler, *offer in db.execute(
            "SELECT a.scheduler, w.num_cpus, w.memory_bytes, w.num_gpus FROM worker w"
            " JOIN allocation a ON a.id = w.allocation_id WHERE w.workflow_id = ? AND a.memory_bytes IS NULL"
            " ORDER BY w.id",
            (workflow_id,),
        )
    }
    pending = load_pending(db, workflow_id)
    (at_work,) = db.execute(
        "SELECT (SELECT count(*) FROM worker WHERE workflow_id = :id AND is_gone = 0)"
        f" + (SELECT count(*) FROM allocation WHERE workflow_id = :id AND {IS_OPEN})",
        {"id": workflow_id},
    ).fetchone()
    said = msgspec.json.decode(header, type=Header)
    return Demand(said.slurm_schedulers, needs, nodes, pending, at_work, said.slurm_defaults)


def load_waiting(db: sqlite3.Connection, workflow_id: int, scheduler: str | None) -> list[tuple[Requirement, int]]:
    """What the jobs need that have yet to run, of those that name this scheduler or none, and how many they are."""
    return [(_need(row), count) for _, count, *row in db.execute(_WAITING, (workflow_id, scheduler))]


def _find_needs(
    db: sqlite3.Connection, workflow_id: int, outlook: Outlook
) -> Iterator[tuple[str | None, Requirement, int]]:
    """How many ready jobs have which scheduler and need."""
    queries = [(_READY, outlook.changed, None), *((_LISTED, ids, given) for ids, given in outlook.ready)]
    for sql, ids, given in queries:
        for scheduler, count, *row in db.execute(sql, (workflow_id, msgspec.json.encode(ids).decode())):
            yield scheduler, given or _need(row), count


def _need(row: list[Any]) -> Requirement:
    return NO_REQUIREMENT if row[0] is None else Requirement(*row)
