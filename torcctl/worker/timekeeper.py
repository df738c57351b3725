"""Learns how much time a worker has left, also while it runs: an administrator may extend a Slurm job, or shorten it.

Slurm's own answer is a duration. It is asked for seldom: its controller answers all jobs of the cluster.
"""

import logging
import os
import random
import subprocess
from collections.abc import Awaitable, Callable

import trio

from torcctl.worker.slurm_environment import LEFT_FORMAT, find_time_left
from torcctl.worker.time_left import TimeLeft
from torcd.protocol.units import round_walltime

log = logging.getLogger(__name__)

ASK_DEADLINE_S = 10.0
"""For one answer: with its controller gone `squeue` would wait for many minutes."""

ATTEMPTS = 3
"""To learn the time before the first job is claimed."""

ATTEMPT_PAUSE_S = 1.0

RATE = 100
"""Questions a second of the workers of one allocation."""

LONGEST_SPREAD_S = 10.0
"""A job that asks for all of the time is started in the first minute only: the answer must not take too much of it."""

ASK_AGAIN_S = 300.0
"""Between answers; each pause is up to as much again, so that the workers of an allocation do not ask all at once."""

FRESH = 0.9
"""A worker that finds less than this of the walltime was not started at the beginning of its job."""

FINAL_S = ASK_DEADLINE_S + 2.0
"""At least so long before jobs are stopped it is asked once more: no silence of Slurm's may take from their grace."""

TOLERANCE_S = 2.0
"""Answers are in whole seconds, and take a moment: a smaller difference changes nothing."""

Ask = Callable[[], Awaitable[float | None]]
"""The seconds that are left, infinite without a limit; None: no answer."""


def find_spread(num_nodes: int) -> float:
    """The seconds over which the workers of so many nodes, which begin and end together, ask one after the other."""
    return min(num_nodes / RATE, LONGEST_SPREAD_S)


class Timekeeper:
    """Keeps a worker's `TimeLeft` true. `ask` None: the limit does not change.

    `limit_s` is what is known of the limit from the beginning; with `ask` it is asked for soon all the same.
    `fallback_s` is what it is taken for if nobody answers. Of many workers that begin together each asks at a moment of
    its own within `spread_s`.
    """

    def __init__(
        self,
        time_left: TimeLeft,
        *,
        limit_s: float | None = None,
        ask: Ask | None = None,
        fallback_s: float | None = None,
        spread_s: float = 0.0,
    ) -> None:
        self.time_left = time_left
        self._limit_s = limit_s
        self._ask = ask
        self._fallback_s = fallback_s
        self._spread_s = spread_s

    async def begin(self) -> None:
        """Learns the limit, before the first claim."""
        await self._learn()
        if self.time_left.drain_at <= trio.current_time():
            grace_s = self.time_left.grace_s
            log.warning("the time is nearly up already, with a grace of %.0f s: no job is started", grace_s)

    async def _learn(self) -> None:
        if self._limit_s is not None:
            self.time_left.limit(self._limit_s, trio.current_time())
        if self._limit_s is not None or self._ask is None:
            return
        began = trio.current_time()
        await trio.sleep(self._draw())
        for attempt in range(ATTEMPTS):
            if attempt:
                await trio.sleep(ATTEMPT_PAUSE_S)
            left_s = await self._ask()
            if left_s is not None:
                self.time_left.limit(left_s, trio.current_time(), whole_s=self._find_whole(left_s))
                return
        if self._fallback_s is None:
            log.warning("Slurm does not say how much time is left: jobs are started as if there were no end")
        else:
            log.warning("Slurm does not say how much time is left: it is taken for %.0f s", self._fallback_s)
            self.time_left.limit(self._fallback_s, began)

    def _draw(self) -> float:
        return random.uniform(0, self._spread_s)

    def _find_whole(self, left_s: float) -> float:
        """All of a job's time, of which a little has gone by: Slurm's limits are whole minutes."""
        if left_s == float("inf"):
            return left_s
        whole_s = round_walltime(left_s)
        walltime_s = self._fallback_s
        return whole_s if walltime_s is None or left_s < FRESH * walltime_s else max(whole_s, walltime_s)

    async def wait_for_drain(self) -> None:
        """Returns when the end is so near that no job may be started any more."""
        known = self._limit_s is not None  # by what was said before the beginning: it is corrected soon
        ask_at = trio.current_time() + (self._draw() if known else ASK_AGAIN_S * random.uniform(1, 2))
        final_s = FINAL_S + self._draw()
        while (now := trio.current_time()) < self.time_left.drain_at:
            final_at = self.time_left.drain_at - final_s
            if self._ask is None or now >= final_at:
                await trio.sleep_until(self.time_left.drain_at)
                continue
            await trio.sleep_until(min(ask_at, final_at))
            await self._look_again(self._ask)
            ask_at = trio.current_time() + ASK_AGAIN_S * random.uniform(1, 2)

    async def _look_again(self, ask: Ask) -> None:
        left_s = await ask()
        now = trio.current_time()
        if left_s is None:
            return  # what was known stays
        before = self.time_left.end_at
        if abs(now + left_s - before) > TOLERANCE_S:
            self.time_left.limit(left_s, now)
            log.info("Slurm's limit has changed: %.0f s are left", left_s)


async def ask_slurm(job_id: str) -> float | None:
    """What Slurm says is left of a job; see `Ask`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        with trio.move_on_after(ASK_DEADLINE_S):
            done = await trio.run_process(
                ["squeue", "-h", "-j", job_id, "-o", LEFT_FORMAT],
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
                env=environment,
            )
            return find_time_left(done.stdout.decode(errors="replace"), job_id)
    except OSError as error:
        log.info("squeue cannot be run: %s", error)
    return None
