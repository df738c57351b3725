"""A worker that is killed takes its jobs with it: nothing of them may run beside their next attempts."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from test_worker_signals import PROGRAM
from worker_daemon import FakeDaemon, launch

from torcctl.worker.guard import Guard
from torcctl.worker.guardian import find_victims, find_writers, read_table

DEADLINE_S = 60

FORMS = {
    "by bash": "echo $$ > pid; sleep 100; :",
    "in another group": "set -m; sleep 100 & echo $! > pid; wait",
    "in another session": "setsid sleep 100 & echo $! > pid; wait",
    "orphaned in another session": "(setsid bash -c 'echo $$ > pid; exec sleep 100' &); sleep 100",
    "without an environment": "exec env -i bash -c 'echo $$ > pid; exec sleep 100'",
}
"""Commands that write to `pid` who must not outlive the worker."""


class Hired:
    """A worker in a process of its own, and what its jobs told."""

    def __init__(self, process: trio.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory

    def pids(self) -> list[int]:
        """The processes that the jobs told of, and the guardians."""
        told = [int(path.read_text()) for path in self.directory.glob("pid*")]
        return told + self.guardians()

    def guardians(self) -> list[int]:
        """The worker's guardian, and those of workers that it runs."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == self.process.pid and any(word.endswith(b"guardian.py") for word in words):
                found.append(int(entry))
        return found


Hire = Callable[..., Awaitable[Hired]]


@asynccontextmanager
async def hired(daemon: FakeDaemon, directory: Path) -> AsyncIterator[Hired]:
    """A worker that runs the daemon's jobs; killed at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PROGRAM, daemon.url], cwd=directory, stdout=subprocess.DEVNULL
    )
    try:
        yield Hired(process, directory)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def told(path: Path) -> int:
    """The number in a named pipe, once somebody writes it."""
    with trio.fail_after(DEADLINE_S):
        return int(await trio.to_thread.run_sync(path.read_text, abandon_on_cancel=True))


async def gone(pidfds: list[int]) -> None:
    """Returns when all these processes have ended."""
    with trio.fail_after(DEADLINE_S):
        for pidfd in pidfds:
            await trio.lowlevel.wait_readable(pidfd)
            os.close(pidfd)


@pytest.mark.parametrize("form", FORMS)
async def test_no_process_of_a_job_outlives_a_worker_that_is_killed(tmp_path: Path, form: str) -> None:
    """SEMANTICS 8.2, 8.4"""
    os.mkfifo(tmp_path / "pid")
    async with FakeDaemon(tmp_path).serving() as daemon:
        daemon.ready.append(launch(1, FORMS[form]))
        async with hired(daemon, tmp_path) as worker:
            job = os.pidfd_open(await told(tmp_path / "pid"))
            (guardian,) = worker.guardians()
            ends = [job, os.pidfd_open(guardian)]
            worker.process.kill()
            await gone(ends)


async def test_jobs_are_guarded_again_after_their_guardian_was_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    async with FakeDaemon(tmp_path).serving() as daemon:
        daemon.ready.append(launch(1, FORMS["without an environment"]))
        async with hired(daemon, tmp_path) as worker:
            job = os.pidfd_open(await told(tmp_path / "pid"))
            (first,) = worker.guardians()
            former = os.pidfd_open(first)
            os.kill(first, signal.SIGKILL)
            await gone([former])
            with trio.fail_after(DEADLINE_S):
                while worker.guardians() in ([], [first]):
                    await trio.lowlevel.checkpoint()
            assert not select.select([job], [], [], 0)[0], "the job was not touched"
            worker.process.kill()
            await gone([job])


async def test_a_worker_that_is_a_job_is_gone_with_its_own_jobs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    async with (
        FakeDaemon(tmp_path).serving() as outer,
        FakeDaemon(tmp_path, tmp_path / "inner.sock").serving() as inner,
    ):
        (tmp_path / "program.py").write_text(PROGRAM)
        outer.ready.append(launch(1, f"{sys.executable} program.py {inner.url}; :"))
        inner.ready.append(launch(2, FORMS["without an environment"]))
        async with hired(outer, tmp_path) as worker:
            job = os.pidfd_open(await told(tmp_path / "pid"))
            worker.process.kill()
            await gone([job])


async def test_a_worker_that_ends_in_order_takes_its_guardian_along_and_spares_what_left_its_job(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pid")
    os.mkfifo(tmp_path / "gate")
    async with FakeDaemon(tmp_path).serving() as daemon:
        daemon.ready.append(launch(1, "setsid bash -c 'echo $$ > pid; exec sleep 100' & read x < gate"))
        async with hired(daemon, tmp_path) as worker:
            service = await told(tmp_path / "pid")
            guardian = os.pidfd_open(worker.guardians()[0])
            (tmp_path / "gate").write_text("go\n")
            with trio.fail_after(DEADLINE_S):
                assert await worker.process.wait() == 0
            await gone([guardian])
            os.kill(service, signal.SIGKILL)  # it is there
    assert daemon.ended[1, 1].return_code == 0


def test_the_table_holds_what_runs_and_what_is_being_started(tmp_path: Path) -> None:
    guard = Guard()
    try:
        for pid in (11, 12, 13):
            guard.enter(pid)
        guard.leave(12)
        guard.enter(14)
        assert read_table(guard._descriptor) == (set(), {11, 13, 14})
        with open(tmp_path / "o", "wb") as stdout, open(tmp_path / "e", "wb") as stderr:
            guard.announce(stdout.fileno(), stderr.fileno())
            logs, _ = read_table(guard._descriptor)
            assert find_writers(logs) == set()
            jobs = [
                subprocess.Popen(["sleep", "100"], env={}, start_new_session=True, stdout=stdout),
                subprocess.Popen(["sleep", "100"], env={}, start_new_session=True, stderr=stderr),
            ]
        assert find_writers(logs) == {job.pid for job in jobs}
        guard.enter(15)
        assert read_table(guard._descriptor) == (set(), {11, 13, 14, 15})
    finally:
        guard.close()
        for job in jobs:
            job.kill()
            job.wait()


def test_only_marked_processes_and_their_sessions_are_victims() -> None:
    guard = Guard()
    try:
        name, _, value = guard.mark.partition("=")
        assert re.fullmatch("[0-9a-f]{16}", value)
        marked = subprocess.Popen(["sleep", "100"], env={name: value})
        other = subprocess.Popen(["sleep", "100"], env={name: value + "0"})
        leader = subprocess.Popen(["sleep", "100"], env={}, start_new_session=True)
        assert sorted(find_victims({leader.pid}, guard.mark.encode())) == sorted([marked.pid, leader.pid])
    finally:
        guard.close()
        for process in (marked, other, leader):
            process.kill()
            process.wait()
