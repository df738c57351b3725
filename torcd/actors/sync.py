"""Compares the workers that a workflow has with the processes there are, and lets go of those that are gone."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from torcd.actors.entries import Entry
from torcd.actors.turn import Turn
from torcd.core.state import State
from torcd.core.status import LIVE, Status, mask_of, status_name
from torcd.processes import Attempt
from torcd.protocol.model import PlanJob
from torcd.protocol.process import has_ended
from torcd.protocol.sync import Synced, SyncedWorker

if TYPE_CHECKING:
    from torcd.actors.roster import Roster
    from torcd.actors.workflow import Finish

MOST_PIDS = 5
"""Processes that a warning names."""


def sync_workers(roster: "Roster", turn: Turn, processes: Mapping[Attempt, list[int]], *, dry_run: bool) -> "Finish":
    """Removes workers that are gone as the end of their lease would; answers `Synced`, with jobs without names.

    `processes` are those of jobs that were alive shortly before. A worker of which one is left keeps its jobs: they
    could run twice at the same time.
    """
    jobs: list[PlanJob] = []
    workers: list[SyncedWorker] = []
    warnings: list[str] = []
    for entry, status in _look_at(roster):
        ended = has_ended(entry.pid, entry.process)
        left = _find_left(turn.state, entry, processes) if ended else []
        released = ended is True and not left and status != "given_up" and not turn.is_ending(entry)
        if released:
            jobs += _plan_loss(turn.state, entry)
            if not dry_run:
                turn.after(roster.remove(turn, entry))
        elif (warning := _warn(entry, status, ended, left)) is not None:
            warnings.append(warning)
        workers.append(
            SyncedWorker(
                id=entry.worker_id,
                hostname=entry.hostname,
                pid=entry.pid,
                status=status,
                process="unknown" if ended is None else "gone" if ended else "alive",
                is_released=released,
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


def _find_left(state: State, entry: Entry, processes: Mapping[Attempt, list[int]]) -> list[int]:
    columns = state.jobs
    attempts = {(int(columns.ids.ids[job]), int(columns.attempt[job])) for job in _held(state, entry)}
    return [
        pid for attempt in attempts | entry.to_stop.keys() for pid in processes.get((state.workflow_id, *attempt), ())
    ]


def _plan_loss(state: State, entry: Entry) -> list[PlanJob]:
    """What `lose_worker` will do."""
    reason = {"kind": "worker_gone", "worker_id": entry.worker_id, "hostname": entry.hostname, "pid": entry.pid}
    changes = []
    for job in _held(state, entry):
        before = Status(int(state.jobs.status[job]))
        after = Status.READY if before == Status.PENDING else Status.TERMINATED
        job_id = int(state.jobs.ids.ids[job])
        changes.append(PlanJob(id=job_id, name="", from_=status_name(before), to=status_name(after), reasons=[reason]))
    return changes


def _warn(entry: Entry, status: WorkerStatus, ended: bool | None, left: list[int]) -> str | None:
    name = f"worker {entry.worker_id} (pid {entry.pid} on {entry.hostname})"
    if left:
        pids = ", ".join(map(str, left[:MOST_PIDS])) + (", …" if len(left) > MOST_PIDS else "")
        return f"{name} is gone, but processes of its jobs are alive: {pids}; end them, then try again"
    if status == "given_up":
        return f"{name} has lost its jobs, and those wait for its end: its process is alive; end it, or let it go on"
    if status == "away":
        where = "its process is alive" if ended is False else "it cannot be seen from here"
        return f"{name} has lost its connection; {where}, so its jobs are its own until its lease ends"
    return None
