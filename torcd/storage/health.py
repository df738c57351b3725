"""What is known of the soundness of a database in use: checked at the start, and again whenever damage was met.

As long as damage stands, nothing is written: what refers to a page that is not what it was might do further damage.
SQLite reports a disk that fails to read in the same way, so a thorough check decides whether it stands.
"""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from torcd.protocol.errors import TorcError
from torcd.storage.faults import Damaged, damaged

_log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 600.0
"""Between checks of a damaged database: each reads all of it, and only a disk that works again makes a difference."""

FIRST_PAUSE_S = 5.0

Find = Callable[[bool], Awaitable[str | None]]
"""Reads the database, thoroughly or not, and says what is wrong with it."""


class Health:
    """What `model.Daemon` says of the database."""

    def __init__(self, path: Path) -> None:
        self.state = "running"
        """`running` while the first check does, then `sound`, `damaged`, or `failed` when it could not be made."""
        self.damage: Damaged | None = None
        self._path = path
        self._met = trio.Event()
        self._mended = trio.Event()

    async def wait_writable(self) -> None:
        """Waits while there is damage."""
        if self.damage is not None:
            await self._mended.wait()

    def check_writable(self) -> None:
        """Raises `Damaged` while there is damage."""
        if self.damage is not None:
            raise Damaged(self.damage.message, **self.damage.data)

    def meet(self, error: Damaged) -> None:
        """Notes damage that a read or a commit met. One value that is no text is no reason to stop all writing."""
        if self.damage is None and "sqlite" in error.data:
            self._note(error)

    def _note(self, error: Damaged) -> None:
        self.damage, self.state = error, "damaged"
        self._met.set()
        self._mended = trio.Event()
        _log.error("%s. Nothing is written to it any more", error.message)

    async def check(self, find: Find, *, thorough: bool = False) -> None:
        """Looks once, and notes or takes back damage."""
        started = trio.current_time()
        try:
            finding = await find(thorough)
        except (TorcError, sqlite3.Error) as error:
            self.state = "failed" if self.damage is None else "damaged"
            _log.error("database %s: it could not be checked: %s", self._path, error)
            return
        if finding is not None:
            if self.damage is None:
                self._note(damaged(self._path, finding))
            return
        if self.damage is not None and not thorough:
            return
        if self.damage is not None:
            _log.warning("database %s: the damage was not found again, the disk had failed to read", self._path)
        self.damage, self.state = None, "sound"
        self._mended.set()
        _log.info("database %s: checked in %.1f s, it is sound", self._path, trio.current_time() - started)

    async def watch(self, find: Find) -> None:
        """Goes on until cancelled."""
        await self.check(find)
        while True:
            await self._met.wait()
            self._met = trio.Event()
            pause_s = 0.0
            while self.damage is not None:
                await trio.sleep(pause_s)
                await self.check(find, thorough=True)
                pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
