"""Units of work, the order in which helpers take them, and the lane in which one helper does."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from torcd.files.stat_process import Rows, StatProcess


@dataclass(eq=False)
class Unit:
    """A piece of a scan: the places start ≤ i < stop of its result."""

    number: int
    """Under which helpers keep its paths; 0 if they need not."""
    start: int
    stop: int
    attempts: int = 0


class UnitQueue:
    """What is left of a scan. Each helper has its own part, whose paths it knows, and then helps others."""

    def __init__(self, units: list[Unit], helpers: int) -> None:
        self._parts: list[deque[Unit]] = [deque() for _ in range(helpers)]
        for place, unit in enumerate(units):
            self._parts[place * helpers // len(units)].append(unit)

    def take(self, who: int) -> Unit | None:
        """The next unit for a helper."""
        if self._parts[who]:
            return self._parts[who].popleft()
        longest = max(self._parts, key=len)
        return longest.pop() if longest else None

    def put_back(self, who: int, unit: Unit) -> None:
        """Returns a unit that was not done."""
        self._parts[who].appendleft(unit)


class Lane:
    """The place of one helper: started on demand, replaced when lost, used by one scan at a time.

    `kept` is the scanner's set of the units whose paths helpers shall keep.
    """

    def __init__(self, program: Path, kept: set[int]) -> None:
        self._program = program
        self._kept = kept
        self._lock = trio.Lock()  # fair: the scans of several workflows take turns, unit by unit
        self._helper: StatProcess | None = None
        self._lost: list[StatProcess] = []

    async def stat(
        self, unit: Unit, paths: Callable[[], bytes], patience_s: float, on_rows: Callable[[int], None]
    ) -> Rows:
        """Has a unit stat'ed (see StatProcess.stat). Raises HelperLost; the next call starts a new helper."""
        async with self._lock:
            if self._helper is not None and self._helper.has_ended:  # it was idle
                self.discard()
            rows = None
            try:
                if self._helper is None:
                    self._helper = await StatProcess.start(self._program)
                await self._helper.forget(self._helper.known - self._kept)
                rows = await self._helper.stat(unit.number, unit.stop - unit.start, paths, patience_s, on_rows)
                return rows
            finally:
                if rows is None or rows.stalled:
                    self.discard()

    @property
    def pid(self) -> int | None:
        """The helper's process id, if it was started."""
        return self._helper.pid if self._helper else None

    def discard(self) -> None:
        """Kills the helper, if there is one."""
        if self._helper is not None:
            self._helper.kill()
            self._lost.append(self._helper)
            self._helper = None
        self._lost = [helper for helper in self._lost if not helper.has_ended]

    async def wait_ended(self) -> None:
        """Waits for the discarded helpers, but not for ever."""
        for helper in self._lost:
            await helper.wait_ended()
