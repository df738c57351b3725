"""What the jobs of a workflow need, as they stand now."""

import sqlite3
from dataclasses import dataclass

import msgspec

from torcd.core.graph import pack
from torcd.core.status import WAITING, mask_of
from torcd.core.workload import Group, group_jobs
from torcd.protocol.specification import Header
from torcd.storage.allocations import load_pending
from torcd.storage.load import load_state


@dataclass(frozen=True, slots=True)
class Workload:
    """The jobs of a workflow by what they need, its header, and how many Slurm jobs wait already, by scheduler."""

    header: Header
    groups: list[Group]
    pending: dict[str | None, int]


def load_workload(db: sqlite3.Connection, workflow_id: int) -> Workload:
    """All of it; raises NotFound. Takes as long as loading the workflow."""
    state = load_state(db, workflow_id)
    (header,) = db.execute("SELECT header FROM workflow WHERE id = ?", (workflow_id,)).fetchone()
    jobs = state.jobs
    schedulers: list[str | None] = [None] * len(jobs.status)
    for job_id, name in db.execute(
        "SELECT id, scheduler FROM job WHERE workflow_id = ? AND scheduler IS NOT NULL", (workflow_id,)
    ):
        schedulers[jobs.ids.find_one(job_id)] = name
    downstream = state.graph.downstream
    groups = group_jobs(
        state.requirements,
        jobs.requirement,
        schedulers,
        pack(downstream.owners(), downstream.items),
        mask_of(WAITING)[jobs.status],
    )
    pending = {name: sum(each.count for each in waiting) for name, waiting in load_pending(db, workflow_id).items()}
    return Workload(msgspec.json.decode(header, type=Header), groups, pending)
