"""How many jobs should wait at the worker, so that its slots never idle for the way to the daemon.

Plain arithmetic on run times. Only short jobs are asked for ahead: a job that waits here cannot be run by
another worker, and a long one would not notice the way.
"""

import math

SHORT_S = 0.2
"""Jobs that take longer than this on average are never asked for ahead."""

SUPPLY_S = 0.04
"""How much work should wait: several round trips and group commits of a busy daemon."""

MOST = 64
"""Most jobs that wait. At the rate at which one machine can start processes it is more than SUPPLY_S."""

WEIGHT = 0.1
"""Weight of the newest run time in the average: some ten jobs make a change of length felt."""


class RunTimes:
    """The average run time of recent jobs, and what follows from it."""

    def __init__(self) -> None:
        self._average_s: float | None = None
        self._is_stalled = False

    def on_end(self, exec_time_s: float) -> None:
        """Counts a job that ended."""
        self._is_stalled = False
        if self._average_s is None:
            self._average_s = exec_time_s
        else:
            self._average_s += WEIGHT * (exec_time_s - self._average_s)

    def on_stall(self) -> None:
        """Jobs waited for too long: the average is no guide until another job ends."""
        self._is_stalled = True

    def jobs_ahead(self, slots: int) -> int:
        """How many jobs should wait while `slots` jobs run."""
        if self._average_s is None or self._is_stalled or self._average_s >= SHORT_S:
            return 0
        return min(MOST, math.ceil(max(1, slots) * SUPPLY_S / max(self._average_s, 1e-4)))
