"""Answers how the daemon is: from what it has measured, never by asking whom it reports on."""

import os
import resource
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import trio

from torcd.actors.supervisor import Supervisor
from torcd.api.limits import Usage
from torcd.api.session import Handler, Session
from torcd.bus import Bus
from torcd.core.health import SILENT_S, find_problems
from torcd.protocol.health import DatabaseHealth, GetHealth, Health, LoopHealth, Problem, SlurmHealth, WorkflowHealth
from torcd.protocol.mounts import is_local
from torcd.protocol.requests import Request
from torcd.pulse import Pulse
from torcd.storage.database import Database

DISK_DEADLINE_S = 1.0
"""For the size of a file: a file system that does not answer is not waited for."""

MOST_LOOKS = 2
"""Looks at the disk at once; one that never ends keeps its thread."""


class HealthDesk:
    """The handler of `protocol.health`, and the daemon's pulse."""

    def __init__(
        self,
        database: Database,
        supervisor: Supervisor,
        bus: Bus,
        usage: Usage,
        slurm: Callable[[], SlurmHealth | None] = lambda: None,
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._bus = bus
        self._usage = usage
        self._slurm = slurm
        self._began_at = trio.current_time()
        self._looks = trio.CapacityLimiter(MOST_LOOKS)
        self.pulse = Pulse(
            os.environ,
            survey=supervisor.survey,
            database_silent_s=database.vitals.silent_s,
            find_problems=self._find_problems,
        )

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {GetHealth: self._health}

    async def _health(self, session: Session, request: GetHealth) -> Health:
        sizes = None
        with trio.move_on_after(DISK_DEADLINE_S):
            sizes = await trio.to_thread.run_sync(
                _look_at_disk, self._database.path, abandon_on_cancel=True, limiter=self._looks
            )
        workflows = self._supervisor.survey()
        return Health(
            uptime_s=round(trio.current_time() - self._began_at, 3),
            memory_bytes=_resident_bytes(),
            open_files=_count_descriptors(),
            open_files_limit=_descriptor_limit(),
            connections=self._usage.connections,
            subscriptions=self._bus.subscription_count,
            workers=sum(each.workers for each in workflows),
            event_loop=self.pulse.loop.report(),
            database=self._database_health(sizes),
            workflows=workflows,
            problems=self._find_problems(workflows),
            slurm=self._slurm(),
        )

    def _find_problems(self, workflows: Sequence[WorkflowHealth]) -> list[Problem]:
        loop: LoopHealth = self.pulse.loop.report()
        left = _descriptor_limit() - _count_descriptors()
        return find_problems(loop, self._database_health(None), workflows, left, self._slurm())

    def _database_health(self, sizes: tuple[int, int] | None) -> DatabaseHealth:
        vitals = self._database.vitals
        silent_s = vitals.silent_s()
        state = "failing" if vitals.is_failing else "ok"
        return DatabaseHealth(
            state="silent" if silent_s > SILENT_S else state,
            file_system=self._database.file_system,
            is_local=is_local(self._database.file_system),
            size_bytes=None if sizes is None else sizes[0],
            free_bytes=None if sizes is None else sizes[1],
            last_commit_at=_time(vitals.last_commit_at),
            last_error=vitals.last_error,
            last_error_at=_time(vitals.last_error_at),
            silent_s=round(silent_s, 3),
        )


def _look_at_disk(path: Path) -> tuple[int, int] | None:
    """The bytes of the database with its log, and those that are free for it."""
    try:
        log = path.with_name(path.name + "-wal")
        size = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
        space = os.statvfs(path.parent)
    except OSError:
        return None
    return size, space.f_bavail * space.f_frsize


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _descriptor_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
