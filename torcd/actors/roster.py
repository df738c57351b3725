"""The workers of one workflow: registration, leases, their end. What they are told: `answers`; to stop: `stops`.

Part of the workflow's actor. Attempts are in the state; here is only what dies with the daemon. What changes here
changes after the commit, so that a failed one leaves it as it was.
"""

from typing import TYPE_CHECKING

import trio

from torcd.actors.answers import Answers
from torcd.actors.clock import now_ms
from torcd.actors.entries import Entry, room_of
from torcd.actors.lease import STEPS
from torcd.actors.messages import Disconnected, LeaseEnded, Nudge, Register, StrayEnded, SyncWorkers, WaitEnded
from torcd.actors.stops import Stops, keys_of
from torcd.actors.sync import sync_workers
from torcd.actors.turn import Turn
from torcd.core.explanation import Wait
from torcd.core.placement import describe_lack, describe_need
from torcd.core.refusals import check_not_archived
from torcd.operations.report import lose_unknown_workers, lose_worker
from torcd.operations.resume import Resumed, resume_attempts
from torcd.protocol.process import has_ended
from torcd.protocol.worker_requests import RegisterWorker
from torcd.storage.workers import WorkerRow, insert_worker, load_workers, set_gone

if TYPE_CHECKING:
    from torcd.actors.workflow import Finish, WorkflowActor


class Roster:
    """Serves the workers of one workflow."""

    def __init__(self, actor: "WorkflowActor") -> None:
        self._actor = actor
        self._entries: dict[int, Entry] = {}
        self.stops = Stops(actor, self._entries)
        self._strays = self.stops.strays
        self.answers = Answers(actor, self._entries, self.stops)

    @property
    def is_empty(self) -> bool:
        """Whether there is no worker, not even one that is away or was given up."""
        return not self._entries and not self._strays.entries()

    def entries(self) -> list[Entry]:
        """The workers that are connected or away."""
        return list(self._entries.values())

    def count_workers(self) -> tuple[int, int]:
        """How many workers are connected, and how many are away."""
        away = sum(entry.session is None for entry in self._entries.values())
        return len(self._entries) - away, away

    def knows(self, worker_id: int) -> bool:
        """Whether the worker is here, or away with a lease that has not ended."""
        return worker_id in self._entries

    async def load(self) -> None:
        """Takes over the workers that a former daemon knew; their leases start anew (SEMANTICS 8.4)."""
        workflow_id, database = self._actor.workflow_id, self._actor.database
        rows = await database.read(lambda db: load_workers(db, workflow_id))
        self._entries |= {row[0]: _entry_of(row) for row in rows}
        gone = await database.read(lambda db: load_workers(db, workflow_id, gone=True))
        given_up = {row[0]: _entry_of(row) for row in gone if has_ended(row[6], row[7]) is not None}
        await self.stops.hold_back(self._entries | given_up)
        for entry in self._entries.values():
            self._start_lease(entry)
        for entry in given_up.values():
            if entry.to_stop:
                self._strays.keep(entry)
        turn = Turn(self._actor.state, now_ms())
        lose_unknown_workers(turn.draft, list(self._entries))
        await turn.commit(self._actor.database)
        self._actor.conclude(turn)

    def on_own_message(self, turn: Turn, body: object) -> "Finish":
        """Decides on what sessions and timers tell."""
        match body:
            case Register() as register:
                return self._on_register(turn, register)
            case Disconnected() as gone:
                return self._on_disconnected(turn, gone)
            case LeaseEnded() as ended:
                return self._on_lease_ended(turn, ended)
            case SyncWorkers() as sync:
                return sync_workers(self, turn, sync)
            case StrayEnded() as ended:
                return self.stops.on_stray_ended(ended)
            case WaitEnded() as ended:
                return self.answers.on_wait_ended(turn, ended)
            case Nudge():
                return lambda: None
            case _:
                raise TypeError(f"no handler for {type(body).__name__}")

    # ---- coming and going ----

    def _on_register(self, turn: Turn, register: Register) -> "Finish":
        check_not_archived(turn.state)
        request = register.request
        resumed = Resumed()
        if request.worker_id is None:
            new = turn.query(lambda db: insert_worker(db, request, turn.now_ms))
        else:
            worker_id = request.worker_id
            resumed = resume_attempts(turn.draft, worker_id, request.hostname, request.attempts)
            new = turn.query(lambda db: set_gone(db, worker_id, gone=False))

        known = self._entries.get(request.worker_id or 0)
        if known is not None:
            turn.renew(known)
            self.answers.end_wait(turn, known)

        def finish() -> dict[str, object]:
            entry = self._enter(new.value, request)
            self._end_lease(entry)
            stray = self._strays.take(entry.worker_id)
            if stray is not None:
                entry.to_stop |= stray.to_stop
            self.stops.set_free(entry, list(entry.to_stop))
            entry.session = register.session
            entry.to_stop = dict.fromkeys(keys_of(resumed.to_stop))
            entry.told = set()
            if request.process:  # it will tell when they have ended
                entry.told.update(keys_of(resumed.lost))
                entry.to_stop |= dict.fromkeys(keys_of(resumed.lost))
            if register.closed.is_set():  # gone already: nobody will tell of it any more
                entry.session = None
                self._start_lease(entry)
            state = turn.state
            return {
                "worker_id": entry.worker_id,
                "lease_s": self._actor.lease_s,
                "submission_directory": state.submission_directory,
                "workflow_name": state.name,
                "run_id": state.run_id,
                "total": state.count,
                "counts": state.counts_by_name(),
                "lost": resumed.lost,
            }

        return finish

    def _enter(self, worker_id: int, request: RegisterWorker) -> Entry:
        entry = self._entries.get(worker_id)
        if entry is None:
            total = room_of(request.num_cpus, request.memory_bytes, request.num_gpus, request.max_parallel_jobs)
            entry = self._entries[worker_id] = Entry(
                worker_id, request.hostname, total, request.pid, request.process, request.allocation_id
            )
        return entry

    def _on_disconnected(self, turn: Turn, gone: Disconnected) -> "Finish":
        spoke = [entry for entry in self._entries.values() if entry.session is gone.session]
        for entry in spoke:
            self.answers.end_wait(turn, entry)

        def finish() -> None:
            for entry in spoke:
                if entry.session is gone.session:  # else it is back on another connection
                    entry.session = None
                    self._start_lease(entry)

        return finish

    def _start_lease(self, entry: Entry) -> None:
        self._end_lease(entry)
        lease = entry.lease = trio.CancelScope()

        async def run() -> None:
            with lease:
                for _ in range(STEPS):
                    await trio.sleep(self._actor.lease_s / STEPS)
                await self._actor.mailbox.post(LeaseEnded(entry.worker_id, lease))

        self._actor.nursery.start_soon(run)

    def _end_lease(self, entry: Entry) -> None:
        if entry.lease is not None:
            entry.lease.cancel()
            entry.lease = None

    def _on_lease_ended(self, turn: Turn, ended: LeaseEnded) -> "Finish":
        entry = self._entries.get(ended.worker_id)
        if entry is None or entry.lease is not ended.lease or turn.is_renewed(entry) or turn.is_ending(entry):
            return lambda: None  # it came back meanwhile
        return self.remove(turn, entry, keeps_stray=has_ended(entry.pid, entry.process) is not None)

    def on_leave(self, turn: Turn, worker_id: int) -> "Finish":
        """A worker's orderly end."""
        entry = self._entries.get(worker_id)
        if entry is None or turn.is_ending(entry):
            return lambda: {"worker_id": worker_id}
        return self.remove(turn, entry)

    def remove(self, turn: Turn, entry: Entry, *, keeps_stray: bool = False) -> "Finish":
        """Ends a worker. `keeps_stray`: the end of what it ran is to be waited for, and can be seen from here."""
        lost = lose_worker(turn.draft, entry.worker_id, entry.hostname)
        if keeps_stray:
            turn.stopping.update(job_id for job_id, _ in lost)
        turn.query(lambda db: set_gone(db, entry.worker_id, gone=True))
        self.answers.end_wait(turn, entry)
        turn.end(entry)

        def finish() -> dict[str, object]:
            self._end_lease(entry)
            self._entries.pop(entry.worker_id, None)
            if keeps_stray:
                entry.to_stop |= dict.fromkeys(lost)
                self._strays.keep(entry)
            else:
                self.stops.set_free(entry, list(entry.to_stop))
            return {"worker_id": entry.worker_id}

        return finish

    def find_hindrances(self, job: int) -> list[Wait]:
        """Why a ready job is not handed out, worker by worker."""
        state = self._actor.state
        job_id = int(state.jobs.ids.ids[job])
        if job_id in self.stops.stopping():
            return [Wait(kind="former_attempt", why="its former attempt may still be alive")]
        if (hold := self._actor.firings.explain_hold()) is not None:
            return [Wait(kind="action", why=hold)]
        need = state.ready.requirements[int(state.jobs.requirement[job])]
        waits = []
        for entry in self._entries.values():
            if entry.session is None:
                why = "away: it has lost its connection"
            elif entry.total.fits(need) < 1:
                why = f"too small: the job needs {describe_need(need)}"
            elif not need.ends_within(entry.time_left_s):
                why = f"short of time: {describe_lack(need, entry.time_left_s)}"
            else:
                why = "busy with other jobs"
            waits.append(Wait(kind="worker", worker_id=entry.worker_id, why=why))
        return waits or [Wait(kind="no_worker", why="no worker is connected")]


def _entry_of(row: WorkerRow) -> Entry:
    worker_id, hostname, cpus, memory_bytes, gpus, most, pid, process, allocation_id = row
    return Entry(worker_id, hostname, room_of(cpus, memory_bytes, gpus, most), pid, process, allocation_id)
