"""Warnings that others can cause as often as they like: the log tells of the first, and counts the rest."""

import logging

import trio

EVERY_S = 60.0
"""A line a minute fills no disk."""


class Hush:
    """Passes on one warning at a time."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._quiet_until = float("-inf")
        self._untold = 0

    def warn(self, text: str) -> None:
        """Logs the warning, unless one was logged a short while ago."""
        now = trio.current_time()
        if now < self._quiet_until:
            self._untold += 1
            return
        more = f" (and {self._untold} like it since the last one was told)" if self._untold else ""
        self._logger.warning("%s%s", text, more)
        self._quiet_until, self._untold = now + EVERY_S, 0
