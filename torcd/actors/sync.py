"""Compares the workers that a workflow has with the processes there are, and lets go of those that are gone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from torcd.actors.entries import Entry
from torcd.actors.messages import SyncWorkers
from torcd.actors.turn import Turn
from torcd.core.state import State
from torcd.core.status import LIVE, Status, StatusReason, mask_of, reason_name, status_name
from torcd.protocol.model import PlanJob
from torcd.protocol.process import has_ended
from torcd.protocol.sync import Synced, SyncedWorker

if TYPE_CHECKING:
    from torcd.actors.roster import Roster
    from torcd.actors.workflow import Finish


def sync_workers(roster: "Roster", turn: Turn, sync: SyncWorkers) -> "Finish":
    """Removes workers that are gone as the end of their lease would; answers `Synced`, with jobs without names.

    One whose process cannot be seen from here is gone, too, when it has lost its connection and its allocation has
    ended. One that is connected is there, whatever Slurm says: of a node that was lost it may run on.
    """
    dry_run = sync.dry_run
    jobs: list[PlanJob] = []
    workers: list[SyncedWorker] = []
    warnings: list[str] = []
    for entry, status in _look_at(roster):
        ended = has_ended(entry.pid, entry.process)
        slurm_state = None if entry.allocation_id is None else sync.ended.get(entry.allocation_id)
        if ended is None and slurm_state is not None and status == "away":
            ended = True
        released = ended is True and status != "given_up" and not turn.is_ending(entry)
        if released:
            jobs += _plan_loss(turn.state, entry, slurm_state)
            if not dry_run:
                is_visible = has_ended(entry.pid, entry.process) is not None
                turn.after(roster.remove(turn, entry, keeps_stray=is_visible))
        elif (warning := _warn(entry, status, ended)) is not None:
            warnings.append(warning)
        workers.append(
            SyncedWorker(
                id=entry.worker_id,
                hostname=entry.hostname,
                pid=entry.pid,
                status=status,
                process="unknown" if ended is None else "gone" if ended else "alive",
                is_released=released,
                allocation_id=entry.allocation_id,
            )
        )
    synced = Synced(
        workflow_id=turn.state.workflow_id,
        dry_run=dry_run,
        count=len(jobs),
        run_id=turn.state.run_id,
        jobs=jobs,
        workers=workers,
        warnings=warnings,
    )
    return lambda: synced


WorkerStatus = Literal["connected", "away", "given_up"]


def _look_at(roster: "Roster") -> Iterator[tuple[Entry, WorkerStatus]]:
    for entry in roster.entries():
        yield entry, "away" if entry.session is None else "connected"
    for entry in roster.stops.strays.entries():
        yield entry, "given_up"


def _held(state: State, entry: Entry) -> list[int]:
    columns = state.jobs
    return np.flatnonzero((columns.worker == entry.worker_id) & mask_of(LIVE)[columns.status]).tolist()


def _plan_loss(state: State, entry: Entry, slurm_state: str | None) -> list[PlanJob]:
    """What `lose_worker` will do."""
    reason: dict[str, object] = {
        "kind": "worker_gone",
        "worker_id": entry.worker_id,
        "hostname": entry.hostname,
        "pid": entry.pid,
    }
    if slurm_state is not None:
        reason |= {"allocation_id": entry.allocation_id, "slurm_state": slurm_state}
    changes = []
    for job in _held(state, entry):
        before = Status(int(state.jobs.status[job]))
        if before == Status.PENDING:
            after, why = Status.READY, StatusReason.NONE
        else:
            after, why = Status.TERMINATED, StatusReason.WORKER_LOST
        changes.append(
            PlanJob(
                id=int(state.jobs.ids.ids[job]),
                name="",
                from_=status_name(before),
                to=status_name(after),
                to_reason=reason_name(why),
                reasons=[reason],
            )
        )
    return changes


def _warn(entry: Entry, status: WorkerStatus, ended: bool | None) -> str | None:
    name = f"worker {entry.worker_id} (pid {entry.pid} on {entry.hostname})"
    if ended:
        return None  # what is left of its jobs, if anything, is killed now
    if status == "given_up":
        return f"{name} has lost its jobs, and those wait for its end: its process is alive; end it, or let it go on"
    if status == "away":
        where = "its process is alive" if ended is False else "it cannot be seen from here"
        return f"{name} has lost its connection; {where}, so its jobs are its own until its lease ends"
    return None
