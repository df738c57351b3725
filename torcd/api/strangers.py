"""Connections from other hosts that have not said who they are: how many there may be, and who makes room.

A daemon's peers say hello within milliseconds. So when there are too many strangers the one that has dawdled
longest makes room, and only if nobody dawdles the newcomer is turned away: neither a crowd that says nothing nor one
that comes again and again keeps others out for long.
"""

import logging
from collections.abc import Callable

import trio

from torcd.api.hush import Hush
from torcd.api.limits import Limits

logger = logging.getLogger(__name__)


class Strangers:
    """Those that are there now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[object, tuple[float, Callable[[], None]]] = {}
        """Since when each is there and what sends it away, the first to come first."""
        self._leaving: set[object] = set()
        """Sent away, and not gone yet."""
        self._hush = Hush(logger)

    def enter(self, stranger: object, send_away: Callable[[], None]) -> bool:
        """Whether there is room for one more; it then counts until `leave`."""
        now = trio.current_time()
        if len(self._waiting) >= self._limits.strangers:
            oldest, (since, make_room) = next(iter(self._waiting.items()))
            if now - since < self._limits.dawdle_s or len(self._leaving) >= self._limits.strangers:
                self._hush.warn("a connection from another host was refused: too many have not said hello")
                return False
            del self._waiting[oldest]
            self._leaving.add(oldest)
            make_room()
        self._waiting[stranger] = now, send_away
        return True

    def leave(self, stranger: object) -> None:
        """It is a stranger no longer, or its connection is closed."""
        self._waiting.pop(stranger, None)
        self._leaving.discard(stranger)
