"""Hands the workflow's counts to whoever shows them, not more often than an eye can follow."""

from collections.abc import Callable

import trio

INTERVAL_S = 0.1


class Progress:
    """The newest counts. What is not shown at once is shown by `tick` once it is due."""

    def __init__(self, show: Callable[[dict[str, int], int], None]) -> None:
        self._show = show
        self._shown_at = -float("inf")
        self._is_shown = True
        self.counts: dict[str, int] = {}
        self.total = 0

    @property
    def due(self) -> float:
        """When `tick` has something to show."""
        return float("inf") if self._is_shown else self._shown_at + INTERVAL_S

    def start(self, counts: dict[str, int], total: int) -> None:
        """Takes the state that the worker found."""
        self.total = total
        self.update(counts)

    def update(self, counts: dict[str, int]) -> None:
        """Takes new counts."""
        if counts != self.counts:
            self.counts, self._is_shown = counts, False
        self.tick()

    def tick(self) -> None:
        """Shows what is due."""
        if not self._is_shown and trio.current_time() >= self.due:
            self.flush()

    def flush(self) -> None:
        """Shows the newest counts if they were not shown."""
        if not self._is_shown:
            self._is_shown, self._shown_at = True, trio.current_time()
            self._show(self.counts, self.total)
