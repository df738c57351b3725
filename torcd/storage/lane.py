"""The queue before one SQL thread: who waits, what runs together, and what a cancelled caller can rely on.

Pure trio: how a function gets into the SQL thread is a `Hop` that the owner passes in. One task, `serve`, is
the only one that uses the hop, so no lock is needed. The queue holds one entry for each task that waits in
`commit` or `read` and needs no bound of its own: who limits callers limits it.
"""

import logging
import math
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar, cast

import outcome
import trio
from trio.lowlevel import (
    Abort,
    ParkingLot,
    RaiseCancelT,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from torcd.protocol.errors import TorcError, Unavailable
from torcd.storage.transaction import Interrupted, Work, run_commits, run_read
from torcd.storage.vitals import Vitals

T = TypeVar("T")
_log = logging.getLogger(__name__)

GROUP_LIMIT = 1000
"""Commits in one transaction: its `fsync` is a small part then, and replaying it takes about a second."""

CLOSE_DEADLINE_S = 20.0
"""How long closing waits for queued commits: well below the 90 s after which systemd kills."""


class Hop(Protocol):
    """Runs a function on the connection in the SQL thread; a cancelled hop no longer waits for it."""

    def __call__(self, function: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]: ...


class _Commit:
    """A caller that waits for its transaction."""

    def __init__(self, work: Work[object]) -> None:
        self.work = work
        self.task = trio.lowlevel.current_task()


class _Read(_Commit):
    """A caller that waits for a query; `stop` raises why that is to end, cancellation or closing."""

    stop: RaiseCancelT | None = None

    def is_stopped(self) -> bool:
        return self.stop is not None


class Lane:
    """One SQL thread's work: commits in groups, each read alone, in the order in which they came."""

    def __init__(self, path: Path, hop: Hop, interrupt: Callable[[], None], vitals: Vitals) -> None:
        self.vitals = vitals
        self._path = path
        self._hop = hop
        self._interrupt = interrupt
        self._waiting: dict[_Commit, None] = {}  # in order, and a cancelled caller leaves in O(1)
        self._running: list[_Commit] = []
        self._wakeup = ParkingLot()
        self._closing = False
        self._scope = trio.CancelScope(shield=True, deadline=math.inf)

    async def commit(self, work: Work[T]) -> T:
        """Waits for `work` to be durable; once the SQL thread has it, no cancellation interrupts the wait."""
        return cast(T, await self._wait(_Commit(work)))

    async def read(self, work: Work[T]) -> T:
        """Waits for `work`; a cancellation stops the query and then waits until the SQL thread is free."""
        return cast(T, await self._wait(_Read(work)))

    @enable_ki_protection  # an interrupt between the two would leave an entry whose task does not wait
    async def _wait(self, entry: _Commit) -> object:
        if self._closing:
            raise self._closed("nothing was done")
        self._waiting[entry] = None
        self._wakeup.unpark()

        def abort(raise_cancel: RaiseCancelT) -> Abort:
            if entry in self._waiting:
                del self._waiting[entry]
                return Abort.SUCCEEDED
            if isinstance(entry, _Read):
                self._stop(entry, raise_cancel)
            return Abort.FAILED  # `serve` reschedules it

        return await wait_task_rescheduled(abort)

    def _stop(self, read: _Read, reason: RaiseCancelT) -> None:
        if read.stop is None:
            read.stop = reason  # first: the thread looks at it, then the interrupt counts
            self._interrupt()

    @enable_ki_protection
    async def serve(self) -> None:
        """Feeds the SQL thread until `close`; shielded, so that callers learn what their commits came to."""
        try:
            with self._scope:
                while await self._take():
                    self.vitals.begin()
                    results = await self._run()
                    self.vitals.end()
                    for entry, result in zip(self._running, results, strict=True):
                        reschedule(entry.task, result)
                    self._running = []
            if self._scope.cancelled_caught:
                _log.error("database %s: busy for %g s after closing", self._path, CLOSE_DEADLINE_S)
        finally:  # by the deadline or by a bug, nobody is left waiting
            self._closing = True
            for entry in self._running:
                reschedule(entry.task, outcome.Error(self._closed("it may or may not have been committed")))
            self._refuse(list(self._waiting))

    async def _take(self) -> bool:
        """Moves what runs next from waiting to running; false when the lane is closed and empty."""
        while not self._waiting:
            if self._closing:
                return False
            await self._wakeup.park()
        for entry in self._waiting:
            if self._running and (isinstance(entry, _Read) or len(self._running) == GROUP_LIMIT):
                break
            self._running.append(entry)
            if isinstance(entry, _Read):
                break
        for entry in self._running:
            del self._waiting[entry]
        return True

    async def _run(self) -> list[outcome.Outcome[object]]:
        first = self._running[0]
        if not isinstance(first, _Read):
            works = [entry.work for entry in self._running]
            results = await self._hop(lambda connection: run_commits(connection, works, self._path))
            self.vitals.note_commits(results)
            return results
        result = await self._hop(lambda sql: run_read(sql, first.work, first.is_stopped, self._path))
        if isinstance(result, outcome.Error) and isinstance(result.error, Interrupted) and first.stop:
            return [outcome.capture(first.stop)]
        return [result]

    def close(self) -> None:
        """Takes nothing more: reads end now, queued commits are made, `serve` returns by the deadline."""
        self._closing = True
        self._scope.deadline = trio.current_time() + CLOSE_DEADLINE_S
        self._refuse([entry for entry in self._waiting if isinstance(entry, _Read)])
        for entry in self._running:
            if isinstance(entry, _Read):
                self._stop(entry, self._raise_closed)
        self._wakeup.unpark_all()

    def _refuse(self, entries: list[_Commit]) -> None:
        for entry in entries:
            del self._waiting[entry]
            reschedule(entry.task, outcome.Error(self._closed("nothing was done")))

    def _raise_closed(self) -> NoReturn:
        raise self._closed("nothing was done")

    def _closed(self, consequence: str) -> TorcError:
        return Unavailable(
            f"database {self._path} is being closed: {consequence}. Try again when the daemon is back",
            database=str(self._path),
        )
