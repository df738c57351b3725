"""What one SQL thread is at, and what came of its commits: noted by its lane, read by whoever asks how it is.

A long transaction on a slow disk is no trouble as long as it gets on. Whether it does is told by the processor time
of its thread: one that waits for a disk which never answers uses none.
"""

import time
from collections.abc import Callable, Sequence

import outcome
import trio

from torcd.protocol.errors import Unavailable

CpuClock = Callable[[], float]
"""Seconds of processor time that the thread has used. Raises OSError once it has ended."""


class Vitals:
    """Of one SQL thread."""

    def __init__(self, cpu_clock: CpuClock) -> None:
        self.last_commit_at: float | None = None
        """Unix time, as that of the error."""
        self.last_error: str | None = None
        self.last_error_at: float | None = None
        self.is_failing = False
        """Whether the last commit failed because of the disk or the file. Not told by times: clocks are set back."""
        self._cpu_clock = cpu_clock
        self._cpu_s: float | None = None
        self._is_busy = False
        self._moved_at = trio.current_time()

    def begin(self) -> None:
        """The thread takes something up."""
        self._is_busy = True
        self._moved_at = trio.current_time()

    def end(self) -> None:
        """It has done it."""
        self._is_busy = False

    def note_commits(self, results: Sequence[outcome.Outcome[object]]) -> None:
        """What came of a group of commits; what a caller did wrong says nothing of the disk."""
        if any(isinstance(result, outcome.Value) for result in results):
            self.last_commit_at, self.is_failing = time.time(), False
            return
        for result in results:
            if isinstance(result, outcome.Error) and isinstance(result.error, Unavailable):
                self.last_error, self.last_error_at = result.error.message, time.time()
                self.is_failing = True

    def silent_s(self) -> float:
        """For how long the thread has been at something without using its processor, as far as calls of this saw."""
        if not self._is_busy:
            return 0.0
        now = trio.current_time()
        try:
            cpu_s = self._cpu_clock()
        except OSError:
            return 0.0
        if cpu_s != self._cpu_s:
            self._cpu_s, self._moved_at = cpu_s, now
        return now - self._moved_at
