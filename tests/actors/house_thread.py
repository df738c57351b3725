"""A house whose trio loop runs in a thread of its own, for tests that are not trio tasks.

Hypothesis decides between the steps of a history, in the main thread, so a step cannot be a part of one long trio task.
"""

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import trio
from actor_rig import House, open_house
from fakes import FakeDisk

T = TypeVar("T")

END_S = 30.0
"""Longer than it takes to close a database on a busy machine."""


class HouseThread:
    """An open house; close it. Everything of the house is touched by `call` alone."""

    def __init__(self, path: Path, disk: FakeDisk) -> None:
        self.house: House
        self._token: trio.lowlevel.TrioToken
        self._scope = trio.CancelScope()
        self._error: BaseException | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(path, disk), name="house", daemon=True)
        self._thread.start()
        self._opened.wait()
        self._check()

    def call(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Has the loop run an async function; returns what it returns, raises what it raises."""
        try:
            return trio.from_thread.run(function, *arguments, trio_token=self._token)
        except (trio.Cancelled, trio.RunFinishedError):
            self._join()
            raise

    def close(self) -> None:
        """Ends the house as a daemon's end would: everything in it is cancelled, the database is closed."""
        trio.from_thread.run_sync(self._scope.cancel, trio_token=self._token)
        self._join()

    def _join(self) -> None:
        self._thread.join(END_S)
        assert not self._thread.is_alive(), "the house does not end"
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self, path: Path, disk: FakeDisk) -> None:
        try:
            trio.run(self._live, path, disk)
        except BaseException as error:  # noqa: BLE001  # handed over to the thread that waits
            self._error = error
        finally:
            self._opened.set()

    async def _live(self, path: Path, disk: FakeDisk) -> None:
        with self._scope:
            async with open_house(path, disk) as self.house:
                self._token = trio.lowlevel.current_trio_token()
                self._opened.set()
                await trio.sleep_forever()
