"""The daemon's pulse: measures how the event loop turns, looks after whoever is stuck, feeds the watchdog.

The service manager is told to restart the daemon by silence. What is a reason for that is decided in `core.health`:
an event loop that does not turn (then nothing here runs), an SQL thread that gets nowhere, actors of which none does.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Never

import trio

from torcd import systemd
from torcd.core.health import why_restart
from torcd.protocol.health import LoopHealth, Problem, WorkflowHealth

logger = logging.getLogger(__name__)

BEAT_S = 5.0
"""Between looks, unless the watchdog is more impatient: one takes half a millisecond, and an idle daemon sleeps."""

TICK_S = 1.0
"""Between tests whether a wait ends when it should: a process that is stopped while it waits has no long turn."""

KEPT_S = 60.0
"""What "the last minute" is."""


class LoopWatch(trio.abc.Instrument):
    """Measures the turns of the event loop: nobody else is served while one lasts."""

    def __init__(self) -> None:
        self._turn_began = perf_counter()
        self._worst_s = 0.0
        self._kept: deque[tuple[float, float]] = deque()
        """When and how long, of each beat the worst."""

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins."""
        self._turn_began = perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """It ends. A turn may take ten microseconds, so this is brief."""
        lag_s = perf_counter() - self._turn_began
        if lag_s > self._worst_s:
            self._worst_s = lag_s

    def note(self, lag_s: float) -> None:
        """Somebody was kept waiting so long."""
        self._worst_s = max(self._worst_s, lag_s)

    def beat(self) -> None:
        """A beat is over."""
        now = trio.current_time()
        self._kept.append((now, self._worst_s))
        self._worst_s = 0.0
        while self._kept[0][0] < now - KEPT_S:
            self._kept.popleft()

    def report(self) -> LoopHealth:
        """The worst of the last minute."""
        now = trio.current_time()
        at, worst_s = max([*self._kept, (now, self._worst_s)], key=lambda each: each[1])
        return LoopHealth(lag_ms=round(worst_s * 1000, 3), lag_ago_s=round(now - at, 1))


class Pulse:
    """Beats for as long as the daemon serves. What it looks at is handed in."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        survey: Callable[[], list[WorkflowHealth]],
        database_silent_s: Callable[[], float],
        find_problems: Callable[[Sequence[WorkflowHealth]], list[Problem]],
        notify: Callable[[str], None] = systemd.notify,
    ) -> None:
        self.loop = LoopWatch()
        self._feeds_every_s = systemd.watchdog_interval_s(environ)
        self._beat_s = min(BEAT_S, self._feeds_every_s or BEAT_S)
        self._survey = survey
        self._database_silent_s = database_silent_s
        self._find_problems = find_problems
        self._notify = notify
        self._fed_at = -float("inf")
        self._known: dict[str, str] = {}
        """Subject to state of the problems that were logged."""
        self._withheld: str | None = None

    async def run(self) -> Never:
        """Until cancelled."""
        trio.lowlevel.add_instrument(self.loop)
        try:
            while True:
                workflows = self._survey()
                self._feed(workflows)
                self._tell(self._find_problems(workflows))
                ends_at = trio.current_time() + self._beat_s
                while (due := min(trio.current_time() + TICK_S, ends_at)) < ends_at:
                    await self._wait(due)
                await self._wait(ends_at)
                self.loop.beat()
        finally:
            trio.lowlevel.remove_instrument(self.loop)

    async def _wait(self, due: float) -> None:
        await trio.sleep_until(due)
        self.loop.note(trio.current_time() - due)

    def _feed(self, workflows: Sequence[WorkflowHealth]) -> None:
        """Tells the watchdog that the daemon is of use, if it is."""
        reason = why_restart(self._database_silent_s(), workflows)
        if reason != self._withheld:
            self._withheld = reason
            if reason is not None and self._feeds_every_s is not None:
                logger.error("the watchdog is not fed any more, and will have the daemon restarted: %s", reason)
        now = trio.current_time()
        if reason is None and self._feeds_every_s is not None and now - self._fed_at >= self._feeds_every_s:
            self._fed_at = now
            self._notify("WATCHDOG=1")

    def _tell(self, problems: Sequence[Problem]) -> None:
        """Logs problems when they come and go, and has the service manager show them."""
        found = {problem.subject: f"{problem.problem}: {problem.advice}" for problem in problems}
        if found.keys() == self._known.keys():
            return
        for subject in found.keys() - self._known.keys():
            logger.warning("%s: %s", subject, found[subject])
        for subject in self._known.keys() - found.keys():
            logger.info("%s: well again", subject)
        self._known = found
        self._notify("STATUS=" + ("; ".join(f"{each.subject}: {each.problem}" for each in problems) or "serving"))
