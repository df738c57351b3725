"""The attempts a worker holds: waiting for room, running, being stopped.

Synchronous: it starts, watches and stops processes, and is told the time. Who is told of it, and when, is the
session's matter. All processes are watched through one epoll object, so that a job costs no task of its own
and all that ended at once is dealt with at once.
"""

import logging
import os
import select
import signal
from collections import deque
from collections.abc import Collection
from typing import Literal

from msgspec import UNSET

from torcctl.worker.ledger import Key
from torcctl.worker.process import (
    CANNOT_START,
    CannotStart,
    Launcher,
    Process,
    ProcessEnd,
    find_groups,
    signal_group,
)
from torcctl.worker.resources import Room
from torcctl.worker.time_left import TimeLeft
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, JobLaunch, OutputSeen

log = logging.getLogger(__name__)

Stopped = Literal["walltime", "worker_shutdown", "by_user", "superseded"]

GRACE_S = 10.0
"""Between TERM and KILL: batch systems allow more, the patience before a terminal is less."""


class Attempt:
    """One attempt of a job, from the hand-out to its end."""

    __slots__ = (
        "end", "error", "is_forgotten", "is_recovering", "job", "kill_at", "leader_ended", "process", "ref",
        "since", "stopped",
    )  # fmt: skip

    def __init__(self, job: JobLaunch, since: float) -> None:
        self.job = job
        self.since = since
        """When it was handed out."""
        self.ref = AttemptRef(job_id=job.job_id, attempt_id=job.attempt_id)
        self.process: Process | None = None
        self.is_recovering = job.recovery is not None
        """What runs, or is to, is the recovery script; the command comes after it."""
        self.end: ProcessEnd | None = None
        self.error: CannotStart | None = None
        self.stopped: Stopped | None = None
        self.is_forgotten = False
        """Superseded: its end interests nobody."""
        self.kill_at = 0.0
        self.leader_ended = False

    @property
    def key(self) -> Key:
        """Its identity in this process."""
        return self.job.job_id, self.job.attempt_id

    def report(self, outputs: list[OutputSeen], now_ms: int) -> AttemptEnd:
        """How it ended, for the daemon."""
        process, end = self.process, self.end
        if process is None or end is None:
            assert self.error is not None
            return AttemptEnd(
                job_id=self.job.job_id, attempt_id=self.job.attempt_id, return_code=CANNOT_START,
                started_at_ms=now_ms, ended_at_ms=now_ms, exec_time_s=0.0,
                stdout_path=self.error.stdout_path, stderr_path=self.error.stderr_path, outputs=outputs,
            )  # fmt: skip
        return AttemptEnd(
            job_id=self.job.job_id, attempt_id=self.job.attempt_id, return_code=end.return_code,
            stopped=self.stopped, started_at_ms=process.started_ms,
            ended_at_ms=process.started_ms + round(end.exec_time_s * 1000), exec_time_s=end.exec_time_s,
            peak_memory_bytes=end.peak_memory_bytes, cpu_seconds=end.cpu_seconds,
            stdout_path=process.stdout_path, stderr_path=process.stderr_path, outputs=outputs,
            recovery_failed=True if self.is_recovering and self.stopped is None else UNSET,
        )  # fmt: skip


class Attempts:
    """Waiting, running and stopping attempts. Must be closed."""

    def __init__(self, room: Room, launcher: Launcher) -> None:
        self._room = room
        self._launcher = launcher
        self._epoll = select.epoll()
        self.waiting: deque[Attempt] = deque()
        """In the order of the daemon, which knows the priorities."""
        self.running: dict[Key, Attempt] = {}
        self._by_pidfd: dict[int, Attempt] = {}
        self._held: set[Key] = set()
        self.stopping: dict[Key, Attempt] = {}
        """Those of the running ones that were signalled."""

    def close(self) -> None:
        """Stops watching. What still runs is killed and left to init: nobody would collect its outcome."""
        groups = find_groups({attempt.process.pid for attempt in self.running.values() if attempt.process})
        for session, alive in groups.items():
            self._signal(alive | {session}, signal.SIGKILL)
        for pidfd in self._by_pidfd:
            os.close(pidfd)
        self._epoll.close()

    def fileno(self) -> int:
        """A descriptor that is readable while a process has ended and was not reaped."""
        return self._epoll.fileno()

    def processes(self) -> dict[int, Process]:
        """The running processes, by their pids."""
        return {attempt.process.pid: attempt.process for attempt in self.running.values() if attempt.process}

    def holds(self, key: Key) -> bool:
        """Whether the attempt waits or runs here."""
        return key in self._held

    def accept(self, job: JobLaunch, now: float) -> None:
        """Lets a job that was handed out wait for room."""
        attempt = Attempt(job, now)
        self.waiting.append(attempt)
        self._held.add(attempt.key)

    def start_fitting(self) -> tuple[list[Attempt], list[Attempt]]:
        """Starts every waiting attempt that fits, in order; (started, could not be started).

        A smaller job may start before a larger one that does not fit yet; the larger one is not starved,
        because whoever waits for long is handed back to the daemon.
        """
        started: list[Attempt] = []
        failed: list[Attempt] = []
        if not self.waiting or self._room.is_full:
            return started, failed
        left: deque[Attempt] = deque()
        while self.waiting:
            attempt = self.waiting.popleft()
            if not self._room.fits(attempt.job):
                left.append(attempt)
                if self._room.is_full:
                    break
                continue
            (started if self._start(attempt) else failed).append(attempt)
        self.waiting.extendleft(reversed(left))
        return started, failed

    def _start(self, attempt: Attempt) -> bool:
        try:
            process = self._launcher.start(attempt.job, self._room.next_devices(attempt.job))
        except CannotStart as error:
            self._note_refusal(attempt, error)
            self._held.discard(attempt.key)
            return False
        attempt.process = process
        self._room.take(attempt.job)
        self.running[attempt.key] = attempt
        self._watch(attempt, process)
        return True

    def _note_refusal(self, attempt: Attempt, error: CannotStart) -> None:
        log.warning("job %d (%s) could not be started: %s", attempt.job.job_id, attempt.job.name, error)
        attempt.error = error

    def _watch(self, attempt: Attempt, process: Process) -> None:
        self._by_pidfd[process.pidfd] = attempt
        self._epoll.register(process.pidfd, select.EPOLLIN)

    def collect(self) -> list[Attempt]:
        """The attempts whose process has ended; those being stopped are left to `press_stopping`."""
        ended = []
        for pidfd, _ in self._epoll.poll(0):
            attempt = self._by_pidfd[pidfd]
            if attempt.stopped is None:
                self._take_end(attempt)
                if not self._goes_on(attempt):
                    ended.append(self._finish(attempt))
            else:
                self._epoll.unregister(pidfd)  # or it would be reported again and again
                attempt.leader_ended = True
        return ended

    def stop(self, attempts: Collection[Attempt], why: Stopped, now: float, grace_s: float = GRACE_S) -> None:
        """Asks running attempts to end, with everything they started; KILL follows after the grace.

        For one that is being stopped already the reason stays and the grace can only get shorter.
        """
        groups = find_groups({attempt.process.pid for attempt in attempts if attempt.process})
        for attempt in attempts:
            assert attempt.process is not None
            if attempt.stopped is None:
                attempt.stopped = why
                attempt.kill_at = now + grace_s
                self.stopping[attempt.key] = attempt
                self._signal(groups[attempt.process.pid], signal.SIGTERM)
            attempt.kill_at = min(attempt.kill_at, now + grace_s)

    def press_stopping(self, now: float) -> list[Attempt]:
        """Kills what had its grace; the attempts of which no process is left, which have ended.

        While any process of a stopped job lives its leader is not reaped: a shell dies of TERM at once, the
        program it waited for may be saving its work.
        """
        if not self.stopping:
            return []
        groups = find_groups({attempt.process.pid for attempt in self.stopping.values() if attempt.process})
        ended = []
        for attempt in list(self.stopping.values()):
            assert attempt.process is not None
            alive = groups[attempt.process.pid]
            if alive and now >= attempt.kill_at:
                self._signal(alive, signal.SIGKILL)
            if attempt.leader_ended and not alive:
                self._take_end(attempt)
                ended.append(self._finish(attempt))
        return ended

    def _signal(self, groups: Collection[int], number: signal.Signals) -> None:
        for group in groups:
            signal_group(group, number)

    def _take_end(self, attempt: Attempt) -> None:
        """Reaps the attempt's process, and whatever that left behind."""
        assert attempt.process is not None
        if not attempt.leader_ended:
            self._epoll.unregister(attempt.process.pidfd)
        del self._by_pidfd[attempt.process.pidfd]
        attempt.end = self._launcher.reap(attempt.process)

    def _goes_on(self, attempt: Attempt) -> bool:
        """Starts the command of an attempt whose recovery script has succeeded; whether it runs now."""
        recovery, end = attempt.process, attempt.end
        assert recovery is not None
        assert end is not None
        if not attempt.is_recovering or end.return_code != 0:
            return False
        attempt.is_recovering, attempt.end = False, None
        try:
            attempt.process = self._launcher.go_on(attempt.job, recovery)
        except CannotStart as error:
            attempt.process = None
            self._note_refusal(attempt, error)
            return False
        self._watch(attempt, attempt.process)
        return True

    def _finish(self, attempt: Attempt) -> Attempt:
        """Lets go of an attempt that is over."""
        del self.running[attempt.key]
        self._held.discard(attempt.key)
        self.stopping.pop(attempt.key, None)
        self._room.give_back(attempt.job)
        return attempt

    def take_too_long(self, time_left: TimeLeft, now: float) -> list[Attempt]:
        """Removes the waiting attempts that have no time to end any more."""
        taken = [attempt for attempt in self.waiting if not time_left.allows(attempt.job, now)]
        for attempt in taken:
            self.waiting.remove(attempt)
            self._held.discard(attempt.key)
        return taken

    def take_waiting(self, before: float) -> list[Attempt]:
        """Removes the attempts that have waited since before that time."""
        taken = []
        while self.waiting and self.waiting[0].since <= before:
            taken.append(self.waiting.popleft())
        self._held.difference_update(attempt.key for attempt in taken)
        return taken

    def drop_waiting(self, key: Key) -> bool:
        """Removes an attempt that has not started; whether it was there."""
        for attempt in self.waiting:
            if attempt.key == key:
                self.waiting.remove(attempt)
                self._held.discard(key)
                return True
        return False
