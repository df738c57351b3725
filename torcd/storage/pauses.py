"""Lets others use a connection while a function that takes long has it.

For the single connection of network file systems: the long function calls `pause` now and then, and what others want
done with the connection is done in between, in the same thread.
"""

import sqlite3
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

import outcome
from trio.lowlevel import Abort, RaiseCancelT, current_task, current_trio_token, reschedule, wait_task_rescheduled

T = TypeVar("T")


class Stopped(Exception):
    """The long function is to end: nobody waits for it any more."""


class Over(Exception):
    """The long function has ended: the connection is to be used as ever. Nothing was done."""


class _Guest:
    """Somebody who waits for a pause."""

    def __init__(self, function: Callable[[sqlite3.Connection], object]) -> None:
        self._function = function
        self._task = current_task()
        self._token = current_trio_token()
        self._is_gone = False

    def serve(self, connection: sqlite3.Connection) -> None:
        """Does what is wanted; in the thread of the connection."""
        self._token.run_sync_soon(self._wake, outcome.capture(self._function, connection))

    def _wake(self, result: outcome.Outcome[object]) -> None:
        if not self._is_gone:
            reschedule(self._task, result)

    async def wait(self) -> object:
        """What the function came to. Cancelled, it is no longer waited for and may be done all the same."""

        def abort(raise_cancel: RaiseCancelT) -> Abort:
            self._is_gone = True
            return Abort.SUCCEEDED

        return await wait_task_rescheduled(abort)


class Pauses:
    """The pauses of one long function."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._guests: SimpleQueue[_Guest] = SimpleQueue()
        self._lock = threading.Lock()  # whoever is queued before the end is served
        self._is_over = False
        self._is_stopped = False

    def run_long(self, function: Callable[[sqlite3.Connection, Callable[[], None]], T]) -> T:
        """Calls the long function; in the thread of the connection."""
        try:
            return function(self._connection, self.pause)
        finally:
            with self._lock:
                self._is_over = True
            self._serve_all()

    def pause(self) -> None:
        """Serves whoever waits. Raises Stopped."""
        self._serve_all()
        if self._is_stopped:
            raise Stopped

    def _serve_all(self) -> None:
        while True:
            try:
                guest = self._guests.get_nowait()
            except Empty:
                return
            guest.serve(self._connection)

    def stop(self) -> None:
        """Ends the long function at its next pause; from any thread."""
        self._is_stopped = True

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What `function` returns or raises in the next pause. Raises Over when there will be none."""
        guest = _Guest(function)
        with self._lock:
            if self._is_over:
                raise Over
            self._guests.put(guest)
        return cast(Any, await guest.wait())  # type: ignore[no-any-return]  # what its own function returned
