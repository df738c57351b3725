"""Attempts that must end before their jobs are handed out again: canceled, superseded, or of workers that are lost.

Part of a workflow's roster. They are kept with their workers, and are what those workers are told to stop. After a
restart of the daemon they are found by what no worker has told the end of.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from torcd.actors.entries import Entry
from torcd.actors.messages import Nudge, StrayEnded
from torcd.actors.strays import Strays
from torcd.actors.turn import Turn
from torcd.core.status import Status
from torcd.operations.resume import IDLE, has_idle_attempts
from torcd.protocol.worker_requests import AttemptRef
from torcd.storage.workers import find_unreported

if TYPE_CHECKING:
    from torcd.actors.workflow import Finish, WorkflowActor

Key = tuple[int, int]
"""Job id and attempt."""


def keys_of(refs: Iterable[AttemptRef]) -> list[Key]:
    """The attempts as they stand in `Entry.to_stop`."""
    return [(ref.job_id, ref.attempt_id) for ref in refs]


class Stops:
    """Those of one workflow; `workers` are the roster's, `strays` the workers that it gave up."""

    def __init__(self, actor: "WorkflowActor", workers: dict[int, Entry]) -> None:
        self._actor = actor
        self._workers = workers
        self.strays = Strays(actor)

    async def hold_back(self, entries: dict[int, Entry]) -> None:
        """At the start: notes the attempts of these workers that may be alive although their jobs are not live."""
        state = self._actor.state
        if not entries or not has_idle_attempts(state, entries):
            return
        statuses = [int(status) for status in IDLE]
        unreported = await self._actor.database.read(
            lambda db: find_unreported(db, state.workflow_id, list(entries), statuses), long=True
        )
        for worker_id, job_id, attempt in unreported:
            entries[worker_id].to_stop[job_id, attempt] = None

    def ask_to_stop(self, turn: Turn, jobs: NDArray[np.int64]) -> None:
        """After the commit, has the workers stop the present attempts of these live jobs."""
        columns = turn.state.jobs
        ids = columns.ids.ids[jobs].tolist()
        turn.stopping.update(ids)
        keys = zip(ids, columns.attempt[jobs].tolist(), strict=True)
        attempts = list(zip(columns.worker[jobs].tolist(), keys, strict=True))

        def ask() -> None:
            for worker_id, attempt in attempts:
                entry = self._workers.get(worker_id)
                if entry is not None:
                    entry.to_stop[attempt] = None
            self._actor.nursery.start_soon(self._actor.mailbox.post, Nudge())

        if attempts:
            turn.after(ask)

    def stopping(self, turn: Turn | None = None) -> set[int]:
        """The jobs whose former attempt may still be alive: none of them is handed out before it has ended."""
        if turn is not None and turn.knows_stopping:
            return turn.stopping
        entries = (*self._workers.values(), *self.strays.entries())
        stopping = {job_id for entry in entries for job_id, _ in entry.to_stop}
        if turn is None:
            return stopping
        turn.knows_stopping = True  # what the entries hold changes only after a turn
        turn.stopping.update(stopping)
        return turn.stopping

    def set_free(self, entry: Entry, attempts: list[Key]) -> None:
        """Attempts have ended, or their worker is lost: jobs that waited for that can be handed out."""
        ended = [attempt for attempt in attempts if entry.to_stop.pop(attempt, self) is not self]
        if not ended:
            return
        state = self._actor.state
        jobs = state.jobs.ids.find(np.array([job_id for job_id, _ in ended], dtype=np.int64))
        jobs = jobs[jobs >= 0]  # an update may have removed one that was canceled
        state.ready.add(jobs[state.jobs.status[jobs] == Status.READY])
        self._actor.nursery.start_soon(self._actor.mailbox.post, Nudge())

    def on_stray_ended(self, ended: StrayEnded) -> "Finish":
        """A worker that was given up has ended, and its jobs with it."""

        def finish() -> None:
            if self.strays.holds(ended.stray) and (entry := self.strays.take(ended.worker_id)):
                self.set_free(entry, list(entry.to_stop))

        return finish
