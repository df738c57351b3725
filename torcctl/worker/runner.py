"""Keeps the slots of a worker busy: starts jobs as room appears, and turns their ends into outcomes.

Two tasks share the attempts and never await between changing two things that must agree: one reaps and
starts, one presses what is being stopped. Nothing here talks to the daemon; outcomes are entered in the
ledger, and `on_change` is called when something was.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial

import trio

from torcctl.worker.ahead import RunTimes
from torcctl.worker.attempts import Attempt, Attempts, Stopped
from torcctl.worker.ledger import Ledger, key_of
from torcctl.worker.outputs import MAX_INLINE, observe_outputs
from torcctl.worker.process import Launcher
from torcctl.worker.resources import Room
from torcctl.worker.sampling import Sampler
from torcctl.worker.time_left import TimeLeft
from torcd.protocol.worker_requests import AttemptRef, Capacity, JobLaunch

log = logging.getLogger(__name__)

MAX_WAITING_S = 0.5
"""A job that found no room here for so long is handed back: another worker may have room."""

PRESS_S = 0.05
"""Between looks at jobs that are being stopped."""

GUARD_PAUSE_S = 1.0
"""After a guardian was replaced: one that is killed again and again must not take a processor."""


class Runner:
    """The attempts of one worker and what is to be told about them. `run` is its tasks; it closes the launcher."""

    def __init__(
        self,
        *,
        room: Room,
        launcher: Launcher,
        ledger: Ledger,
        time_left: TimeLeft,
        grace_s: float,
        doubt_s: float,
        on_change: Callable[[], None],
    ) -> None:
        self._room = room
        self._time_left = time_left
        self._launcher = launcher
        self._ledger = ledger
        self._grace_s = grace_s
        self._doubt_s = doubt_s
        self._on_change = on_change
        self._attempts = Attempts(room, launcher)
        self._run_times = RunTimes()
        self._settling: set[Attempt] = set()
        """Ended attempts whose outputs are being looked at in a thread."""
        self._has_stops = trio.Event()
        self._has_changed = trio.Event()
        self._has_started = trio.Event()
        self._why_closed: Stopped | None = None
        self._was_told_to_end = trio.Event()
        self.is_closed = False
        """No job is taken or started any more."""
        self.is_paused = False
        """Nothing is started while the daemon is away: what waits here may be another worker's by now."""
        self.has_new_room = False
        """There is room of which no outcome will tell the daemon."""

    async def run(self) -> None:
        """Reaps, starts and presses until cancelled. What still runs then is killed."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._press)
                nursery.start_soon(self._keep_guarded)
                nursery.start_soon(self._sample)
                while True:
                    await trio.lowlevel.wait_readable(self._attempts)
                    for attempt in self._attempts.collect():
                        if attempt.end is not None:  # else its command could not be started after its recovery
                            self._run_times.on_end(attempt.end.exec_time_s)
                        self._settle(attempt)
                    self.start_fitting()
                    self._notify()
        finally:
            self._attempts.close()
            self._launcher.close()

    async def _keep_guarded(self) -> None:
        """Replaces a guardian that somebody killed."""
        guard = self._launcher.guard
        while True:
            if guard.is_started:
                await trio.lowlevel.wait_readable(guard)
                log.warning("the guardian of this worker's jobs was killed; starting another one")
            try:
                guard.start()
            except OSError as error:
                log.warning("no guardian could be started: %s; jobs would outlive a worker that is killed", error)
            await trio.sleep(GUARD_PAUSE_S)

    async def _sample(self) -> None:
        """Notes now and then what the running jobs hold and have used."""
        sampler = Sampler()
        while True:
            await self._has_started.wait()
            await trio.sleep(sampler.pause_s)
            if running := self._attempts.processes():
                await trio.to_thread.run_sync(sampler.sample, running, abandon_on_cancel=True)
            else:
                self._has_started = trio.Event()

    async def _press(self) -> None:
        while True:
            await self._has_stops.wait()
            self._has_stops = trio.Event()
            while self._attempts.stopping:
                for attempt in self._attempts.press_stopping(trio.current_time()):
                    self._settle(attempt)
                self.start_fitting()
                self._notify()
                await trio.sleep(PRESS_S)

    def _notify(self) -> None:
        self._has_changed.set()
        self._has_changed = trio.Event()
        self._on_change()

    async def wait_stopped(self) -> None:
        """Returns when no process is left, and the outcomes of all are entered."""
        while self.is_busy:
            await self._has_changed.wait()

    # ---- what there is -----------------------------------------------------------------------------------

    @property
    def num_running(self) -> int:
        """Jobs whose processes live."""
        return len(self._attempts.running)

    @property
    def is_busy(self) -> bool:
        """Whether there are attempts whose end is to come."""
        return bool(self._attempts.running or self._settling)

    @property
    def is_idle(self) -> bool:
        """Whether no attempt is here in any state; the ledger may still hold outcomes."""
        return not (self._attempts.running or self._attempts.waiting or self._settling)

    @property
    def has_idle_slot(self) -> bool:
        """Whether a job could start at once if there were one."""
        return not (self.is_closed or self._room.is_full or self._attempts.waiting)

    @property
    def late_at(self) -> float:
        """When the first of the waiting jobs will have waited too long."""
        waiting = self._attempts.waiting
        return waiting[0].since + MAX_WAITING_S if waiting else float("inf")

    def capacity(self) -> Capacity | None:
        """What to ask the daemon for; None for nothing."""
        if self.is_closed:
            return None
        wanted = self._run_times.jobs_ahead(len(self._attempts.running))
        time_left_s = self._time_left.for_jobs_s(trio.current_time())
        return self._room.capacity(max(0, wanted - len(self._attempts.waiting)), time_left_s)

    def attempts(self) -> list[AttemptRef]:
        """Every attempt that this worker answers for, those with outcomes not yet acknowledged included."""
        held = [*self._attempts.running.values(), *self._attempts.waiting, *self._settling]
        return [attempt.ref for attempt in held] + self._ledger.attempts()

    # ---- orders ------------------------------------------------------------------------------------------

    def accept(self, jobs: Iterable[JobLaunch]) -> None:
        """Takes jobs that were handed out and starts those that fit. What cannot run here is handed back."""
        now = trio.current_time()
        for job in jobs:
            if self._attempts.holds((job.job_id, job.attempt_id)):
                continue
            if not self.is_closed and self._room.can_ever_fit(job):
                self._attempts.accept(job, now)
                continue
            self._ledger.add_returned(AttemptRef(job_id=job.job_id, attempt_id=job.attempt_id))
            if not self.is_closed:
                log.warning("job %d (%s) was handed back: it needs more than there is", job.job_id, job.name)
        self.start_fitting()

    def start_fitting(self) -> None:
        """Starts what waits and fits."""
        if self.is_paused:
            return
        now = trio.current_time()
        if self._time_left.is_limited and self._attempts.waiting:
            for attempt in self._attempts.take_too_long(self._time_left, now):
                self._ledger.add_returned(attempt.ref)
        started, failed = self._attempts.start_fitting()
        for attempt in (*started, *failed):
            self._ledger.add_started(attempt.ref, now)
        if started:
            self._has_started.set()
        for attempt in failed:
            self._settle(attempt)

    def hand_back(self, before: float = float("inf")) -> None:
        """Hands back the jobs that have waited since before that time."""
        for attempt in self._attempts.take_waiting(before):
            self._ledger.add_returned(attempt.ref)

    def hand_back_late(self) -> None:
        """Hands back what has waited for too long."""
        if self.late_at <= trio.current_time():
            self.hand_back(trio.current_time() - MAX_WAITING_S)
            self._run_times.on_stall()

    def stop_one(self, ref: AttemptRef) -> None:
        """The daemon wants this attempt to end. One that has ended is on its way to the daemon already."""
        key = key_of(ref)
        if self._attempts.drop_waiting(key):
            self._ledger.add_returned(ref)
        elif (attempt := self._attempts.running.get(key)) and attempt.stopped is None:
            self._stop([attempt], "by_user", self._grace_s)

    def forget(self, ref: AttemptRef, why: str) -> None:
        """The daemon does not accept this attempt any more: it is killed, and handed back once nothing of it is left.

        Without grace: what it saved now could overwrite what its successor has made.
        """
        log.warning("attempt %d of job %d is not accepted: %s", ref.attempt_id, ref.job_id, why)
        key = key_of(ref)
        self._ledger.forget(key)
        self._attempts.drop_waiting(key)
        if attempt := self._attempts.running.get(key):
            attempt.is_forgotten = True
            self._stop([attempt], "superseded", 0.0)
        elif key not in {attempt.key for attempt in self._settling}:
            self._ledger.add_returned(AttemptRef(job_id=ref.job_id, attempt_id=ref.attempt_id))  # `ref` may say more

    def close(self, grace_s: float, why: Stopped = "worker_shutdown") -> None:
        """Takes no more work, hands back what waits and stops what runs; again, to shorten the grace."""
        self._take_no_more()
        self._why_closed = self._why_closed or why
        self._was_told_to_end.set()
        self._stop(list(self._attempts.running.values()), why, grace_s)

    def drain(self, grace_s: float) -> None:
        """Takes no more work and hands back what waits; of what runs it stops only jobs that can end early."""
        self._take_no_more()
        polite = [attempt for attempt in self._attempts.running.values() if attempt.job.supports_termination]
        self._stop(polite, "walltime", grace_s)

    def _take_no_more(self) -> None:
        self.is_closed = True
        self.has_new_room = True  # so that the daemon is told that there is none
        self.hand_back()

    def _stop(self, attempts: Collection[Attempt], why: Stopped, grace_s: float) -> None:
        if attempts:
            self._attempts.stop(attempts, why, trio.current_time(), grace_s)
            self._has_stops.set()

    # ---- outcomes ----------------------------------------------------------------------------------------

    def _settle(self, attempt: Attempt) -> None:
        """Looks at the outputs of an attempt that ended and enters its outcome."""
        if attempt.is_forgotten:
            self._ledger.add_returned(attempt.ref)
        elif self._doubt_s and _may_have_been_signalled(attempt):
            self._settling.add(attempt)
            self._nursery.start_soon(self._settle_in_doubt, attempt)
        else:
            self._observe(attempt)

    async def _settle_in_doubt(self, attempt: Attempt) -> None:
        """Waits whether the worker is told to end, too: then that is why this attempt ended, and not by itself."""
        with trio.move_on_after(self._doubt_s):
            await self._was_told_to_end.wait()
        attempt.stopped = self._why_closed
        self._settling.remove(attempt)
        self._observe(attempt)
        self._notify()

    def _observe(self, attempt: Attempt) -> None:
        if len(attempt.job.outputs) <= MAX_INLINE and not _reads_content(attempt):
            self._enter(attempt)
        else:
            self._settling.add(attempt)
            self._nursery.start_soon(self._settle_in_thread, attempt)

    def _enter(self, attempt: Attempt) -> None:
        outputs = observe_outputs(attempt.job.outputs)
        self._ledger.add_ended(attempt.report(outputs, time.time_ns() // 1_000_000))

    async def _settle_in_thread(self, attempt: Attempt) -> None:
        observe = partial(observe_outputs, attempt.job.outputs, reads_content=_reads_content(attempt))
        outputs = await trio.to_thread.run_sync(observe, abandon_on_cancel=True)
        self._settling.remove(attempt)
        self._ledger.add_ended(attempt.report(outputs, time.time_ns() // 1_000_000))
        self._notify()


def _may_have_been_signalled(attempt: Attempt) -> bool:
    """Whether an attempt that nobody here has stopped may have been asked to end; some then exit with 0."""
    if attempt.end is None or attempt.stopped is not None:
        return False
    return attempt.end.return_code != 0 or attempt.job.supports_termination


def _reads_content(attempt: Attempt) -> bool:
    """Whether the content of the outputs is wanted; after a failure nobody will compare it."""
    ended_well = attempt.end is not None and attempt.end.return_code == 0
    return attempt.job.reads_content and bool(attempt.job.outputs) and ended_well
