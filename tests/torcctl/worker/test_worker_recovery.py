"""Recovery scripts: what runs before the command of a job that is retried (SEMANTICS 8.6)."""

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import UNSET
from session_rig import is_alive, read_pid, working
from test_worker_session import FAMILY
from worker_daemon import FakeDaemon, launch

from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, JobLaunch, Recovery


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with FakeDaemon(tmp_path).serving() as daemon:
        yield daemon


def text(path: str | None) -> str:
    """What a log holds."""
    return Path(path or "").read_text()


def retried(script: str, command: str, job_id: int = 1) -> JobLaunch:
    """The second attempt of a job whose first one failed with 42."""
    recovery = Recovery(script=script, attempt_id=1, return_code=42, stderr_path="/logs/first.e")
    job = launch(job_id, command, attempt_id=2)
    return type(job)(**{name: getattr(job, name) for name in job.__struct_fields__} | {"recovery": recovery})


async def run(daemon: FakeDaemon, *jobs: JobLaunch) -> AttemptEnd:
    """The end of the first of some jobs."""
    daemon.ready.extend(jobs)
    async with working(daemon) as work:
        await work.result()
    return daemon.ended[1, 2]


async def test_the_script_comes_first_and_the_command_after_it_in_the_same_logs(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    end = await run(daemon, retried("echo fixing; echo trouble >&2", "echo working; echo more >&2; exit 3"))
    assert (end.return_code, end.recovery_failed) == (3, UNSET)
    assert text(end.stdout_path) == "fixing\nworking\n"
    assert text(end.stderr_path) == "trouble\nmore\n"
    assert sorted(path.name for path in (tmp_path / ".torc/7").iterdir()) == ["job_1_2.e", "job_1_2.o"]


async def test_the_script_is_told_what_failed_and_the_command_is_not(daemon: FakeDaemon) -> None:
    names = "$TORC_RETURN_CODE $TORC_FAILED_ATTEMPT $TORC_RECOVERY_FOR"
    end = await run(daemon, retried(f"echo $TORC_JOB_ID $TORC_ATTEMPT_ID {names}", f"echo {names} $TORC_ATTEMPT_ID"))
    assert text(end.stdout_path) == "1 2 42 1 /logs/first.e\n2\n"


async def test_a_script_that_fails_ends_the_attempt_with_its_code(daemon: FakeDaemon, tmp_path: Path) -> None:
    end = await run(daemon, retried("exit 5", "touch ran"))
    assert (end.return_code, end.recovery_failed, end.stopped) == (5, True, None)
    assert not (tmp_path / "ran").exists()


async def test_the_time_of_the_script_is_part_of_the_attempts(daemon: FakeDaemon) -> None:
    end = await run(daemon, retried("sleep 0.2", "true"))
    assert end.exec_time_s >= 0.2


async def test_a_script_that_cannot_be_started_ends_the_attempt(daemon: FakeDaemon) -> None:
    end = await run(daemon, retried("x" * 3_000_000, "true"))
    assert end.return_code == 126


async def test_a_command_that_cannot_be_started_after_its_script_ends_the_attempt(
    daemon: FakeDaemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        end = await run(daemon, retried("true", "x" * 3_000_000), launch(2, "touch ran"))
    assert (end.return_code, end.recovery_failed) == (126, UNSET)
    assert "larger than this system allows" in text(end.stderr_path)
    assert (tmp_path / "ran").exists()


async def test_logs_that_the_script_removed_are_made_again(daemon: FakeDaemon) -> None:
    end = await run(daemon, retried('rm -r "$TORC_OUTPUT_DIR"', "echo here"))
    assert text(end.stdout_path) == "here\n"


async def test_what_the_script_leaves_behind_ends_with_it(daemon: FakeDaemon, tmp_path: Path) -> None:
    until_gone = "while [ -e /proc/$(cat pid)/exe ]; do sleep 0.01; done"  # killed is not yet gone
    end = await run(daemon, retried("sleep 1000 & echo $! > pid", until_gone))
    assert end.return_code == 0
    assert not is_alive(int((tmp_path / "pid").read_text()))


async def test_an_attempt_is_stopped_during_its_script(daemon: FakeDaemon, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    daemon.ready.append(retried(FAMILY, "touch ran"))
    async with working(daemon, grace_s=0.1) as work:
        pid = await read_pid(tmp_path / "pipe")
        daemon.stop.append(AttemptRef(job_id=1, attempt_id=2))
        daemon.poke()
        await work.result()
    end = daemon.ended[1, 2]
    assert (end.stopped, end.recovery_failed) == ("by_user", UNSET)
    assert not is_alive(pid)
    assert not (tmp_path / "ran").exists()
