"""Connections from other hosts that have not said who they are: how many are listened to, and which of them next.

A few are listened to at a time; the others wait, and cost a descriptor each. Those that belong here are done within
milliseconds: a crowd of them, as when all workers come back at once, passes quickly. While somebody waits, everybody
who is listened to has to be quick; and the one that came last is next, so that a crowd that only stands there keeps
nobody out.
"""

import logging
from typing import Protocol

import trio

from torcd.api.hush import Hush
from torcd.api.limits import Limits

logger = logging.getLogger(__name__)


class Stranger(Protocol):
    """A connection that is being made."""

    def hurry(self, deadline: float) -> None:
        """Has it end at that time unless it is known by then."""


class Strangers:
    """Those that are there now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heard: dict[Stranger, float] = {}
        """Who is listened to, since when."""
        self._waiting: dict[Stranger, trio.Event] = {}
        """In the order in which they came."""
        self._hush = Hush(logger)

    async def enter(self, stranger: Stranger) -> bool:
        """Waits until it is this one's turn; False when it waits too long or too many came after it.

        Call `leave` afterwards in any case.
        """
        if len(self._heard) < self._limits.heard_strangers:
            self._heard[stranger] = trio.current_time()
            return True
        turn = self._waiting[stranger] = trio.Event()
        if len(self._waiting) > self._limits.strangers:
            self._waiting.pop(next(iter(self._waiting))).set()
            self._hush.warn("a connection from another host was refused: too many have not said hello")
        for one in list(self._heard):
            self._hurry(one)
        with trio.move_on_after(self._limits.hello_s):
            await turn.wait()
        return stranger in self._heard

    def leave(self, stranger: Stranger) -> None:
        """It is a stranger no longer, or its connection is closed; again is fine."""
        self._waiting.pop(stranger, None)
        if self._heard.pop(stranger, None) is not None and self._waiting:
            newest, turn = self._waiting.popitem()
            self._heard[newest] = trio.current_time()
            turn.set()
            if self._waiting:
                self._hurry(newest)

    def _hurry(self, stranger: Stranger) -> None:
        stranger.hurry(self._heard[stranger] + self._limits.dawdle_s)
