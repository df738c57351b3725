"""Workers that have lost their jobs while they, or what they ran, may be alive: stopped, cut off, or killed.

A job of theirs must not be handed out before its former attempt has ended. When the worker's process has, its guardian
takes the jobs along; what that could not, since it was killed or stopped itself, is killed here. Only processes of this
host can be watched.
"""

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from torcd.actors.entries import Entry
from torcd.actors.messages import StrayEnded
from torcd.processes import JobProcesses
from torcd.protocol.process import has_ended, mark_of

if TYPE_CHECKING:
    from torcd.actors.workflow import WorkflowActor

log = logging.getLogger(__name__)

GUARDIAN_S = 1.0
"""For a guardian to kill the jobs of a worker that has ended: it takes a tenth of that."""


@dataclass(slots=True, eq=False)
class Stray:
    """One such worker."""

    entry: Entry
    watch: trio.CancelScope = field(default_factory=trio.CancelScope)


class Strays:
    """Those of one workflow. Their entries' `to_stop` are the attempts that may be alive."""

    def __init__(self, actor: "WorkflowActor") -> None:
        self._actor = actor
        self._strays: dict[int, Stray] = {}
        self._processes = JobProcesses()

    def entries(self) -> list[Entry]:
        """The workers."""
        return [stray.entry for stray in self._strays.values()]

    def keep(self, entry: Entry) -> None:
        """Watches a worker's process until it and its jobs have ended, which `StrayEnded` tells."""
        stray = self._strays[entry.worker_id] = Stray(entry)
        self._actor.nursery.start_soon(self._watch, stray)

    def take(self, worker_id: int) -> Entry | None:
        """The worker that came back, or has ended; it is watched no more."""
        stray = self._strays.pop(worker_id, None)
        if stray is None:
            return None
        stray.watch.cancel()
        return stray.entry

    def holds(self, stray: object) -> bool:
        """Whether this is one of them still."""
        return any(each is stray for each in self._strays.values())

    async def _watch(self, stray: Stray) -> None:
        with stray.watch:
            entry = stray.entry
            await _wait_for_end(entry.pid, entry.process)
            await trio.sleep(GUARDIAN_S)
            count = await self._processes.end(mark_of(entry.pid, entry.process))
            if count:
                log.warning(
                    "worker %d (pid %d) has ended without a guardian; %d processes of its jobs were killed",
                    entry.worker_id,
                    entry.pid,
                    count,
                )
            await self._actor.mailbox.post(StrayEnded(stray.entry.worker_id, stray))


async def _wait_for_end(pid: int, identity: str) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, OverflowError):
        if has_ended(pid, identity):  # there is no descriptor either where its number is a thread's by now
            return
        raise
    try:
        if not has_ended(pid, identity):  # else the descriptor may be of another process with this pid
            await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
