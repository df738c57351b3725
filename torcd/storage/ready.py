"""What the ready jobs of a workflow need, and what is known of the nodes that could run them."""

import sqlite3
from dataclasses import dataclass

import msgspec

from torcd.core.placement import NO_REQUIREMENT, Requirement
from torcd.core.sizing import Node
from torcd.core.status import Status
from torcd.protocol.specification import Header, SlurmSchedulerSpec


@dataclass(frozen=True, slots=True)
class Demand:
    """All that a proposal of Slurm jobs is made from; by the name of a scheduler, as jobs give it."""

    schedulers: list[SlurmSchedulerSpec]
    needs: dict[str | None, list[tuple[Requirement, int]]]
    nodes: dict[str | None, Node]
    pending: dict[str | None, int]
    at_work: int
    """Workers that are not gone, and allocations that have not ended."""


def load_demand(db: sqlite3.Connection, workflow_id: int) -> Demand:
    """The demand of a workflow, which must be there."""
    (header,) = db.execute("SELECT header FROM workflow WHERE id = ?", (workflow_id,)).fetchone()
    needs: dict[str | None, list[tuple[Requirement, int]]] = {}
    for scheduler, count, *row in db.execute(
        "SELECT j.scheduler, count(*), q.name, q.num_cpus, q.memory_bytes, q.num_gpus, q.num_nodes, q.runtime_s"
        " FROM job_state s JOIN job j ON j.id = s.job_id LEFT JOIN requirement q ON q.id = j.requirement_id"
        " WHERE s.workflow_id = ? AND s.status = ? GROUP BY j.scheduler, j.requirement_id",
        (workflow_id, int(Status.READY)),
    ):
        need = NO_REQUIREMENT if row[0] is None else Requirement(*row)
        needs.setdefault(scheduler, []).append((need, count))
    nodes = {
        scheduler: Node(*offer)
        for scheduler, *offer in db.execute(
            "SELECT a.scheduler, w.num_cpus, w.memory_bytes, w.num_gpus FROM worker w"
            " JOIN allocation a ON a.id = w.allocation_id WHERE w.workflow_id = ? ORDER BY w.id",
            (workflow_id,),
        )
    }
    pending = db.execute(
        "SELECT scheduler, count(*) FROM allocation WHERE workflow_id = ? AND status IN ('submitting', 'pending')"
        " AND cancel_reason IS NULL GROUP BY scheduler",
        (workflow_id,),
    ).fetchall()
    (at_work,) = db.execute(
        "SELECT (SELECT count(*) FROM worker WHERE workflow_id = :id AND is_gone = 0)"
        " + (SELECT count(*) FROM allocation"
        " WHERE workflow_id = :id AND status IN ('submitting', 'pending', 'active'))",
        {"id": workflow_id},
    ).fetchone()
    return Demand(msgspec.json.decode(header, type=Header).slurm_schedulers, needs, nodes, dict(pending), at_work)
