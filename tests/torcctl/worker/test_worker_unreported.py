"""Results of a worker whose daemon is away, or speaks another protocol by now, are not lost (SEMANTICS 8.4)."""

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from session_rig import read_pid, until_gone
from test_worker_session import UNTIL_GO, working
from worker_daemon import FakeDaemon, launch

from torcctl.worker.ledger import Ledger
from torcctl.worker.unreported import Unreported, find_unreported, save_unreported
from torcd.protocol.errors import NotFound, Unauthorized
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef

NEWER = Unauthorized(
    "torcd 9.0 speaks protocol 9 and torcctl worker 0.1.0 speaks 1: update torcctl worker", protocol=9, version="9.0"
)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with FakeDaemon(tmp_path).serving() as daemon:
        yield daemon


def end(job_id: int) -> AttemptEnd:
    return AttemptEnd(job_id=job_id, attempt_id=1, return_code=0, started_at_ms=1, ended_at_ms=2, exec_time_s=0.1)


def files(directory: Path) -> list[str]:
    return [path.name for path in (directory / ".torc/7").glob("unreported_*")]


async def test_a_worker_with_results_waits_for_the_daemon_longer_than_one_without(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torcctl.worker.link.AWAY_S", 0.0)
    daemon.ready.append(launch(1, f"{UNTIL_GO}; touch done"))
    async with working(daemon) as work:
        await daemon.until(lambda: (1, 1) in daemon.running)
        daemon.vanish()
        (tmp_path / "go").touch()
        with trio.fail_after(60):
            while not (tmp_path / "done").exists():
                await trio.lowlevel.checkpoint()
        with trio.move_on_after(1):  # it tries in vain; a worker without results would end now
            await work.over.wait()
            pytest.fail("it gave up")
        await daemon.come_back()
        outcome = await work.result()
    assert outcome.counts == {"completed": 1}
    assert not files(tmp_path)


async def test_what_cannot_be_told_at_the_end_is_left_for_the_next_worker(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torcctl.worker.session.FLUSH_S", 0.1)
    daemon.ready.append(launch(1, UNTIL_GO))
    async with working(daemon, grace_s=0.1) as work:
        await daemon.until(lambda: (1, 1) in daemon.running)
        daemon.vanish()
        work.session.shut_down()
        await work.result()
    assert files(tmp_path) == ["unreported_5.json"]
    assert "1 results could not be reported; they are in" in caplog.text
    await daemon.come_back()
    async with working(daemon) as work:
        outcome = await work.result()
    assert daemon.ended[1, 1].stopped == "worker_shutdown"
    assert outcome.complete
    assert not files(tmp_path)
    _, _, delivery = daemon.registrations
    assert (delivery.worker_id, delivery.attempts) == (5, [AttemptRef(job_id=1, attempt_id=1)])
    assert delivery.process == "", "whoever delivers may live on for long"


async def test_a_daemon_of_another_protocol_is_told_of_the_results_by_the_next_worker(
    daemon: FakeDaemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.ready.extend([launch(1, UNTIL_GO), launch(2, UNTIL_GO), launch(3)])
    async with working(daemon) as work:
        await daemon.until(lambda: len(daemon.running) == 2)
        daemon.vanish()
        daemon.unwelcome = NEWER
        await daemon.come_back()
        with trio.fail_after(60):
            while "What runs goes on to its end" not in caplog.text:
                await trio.lowlevel.checkpoint()
        (tmp_path / "go").touch()
        with pytest.raises(Unauthorized, match="speaks protocol 9"):
            await work.result()
    assert files(tmp_path) == ["unreported_5.json"]
    assert not daemon.ended
    daemon.unwelcome = None
    async with working(daemon) as work:
        await work.result()
    assert {key: end.return_code for key, end in daemon.ended.items()} == {(1, 1): 0, (2, 1): 0, (3, 1): 0}
    assert not files(tmp_path)


async def test_of_a_worker_that_is_refused_no_result_is_lost_that_was_just_being_looked_at(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    daemon.ready.append(launch(1, "echo $$ > pipe; exit 5"))
    async with working(daemon, doubt_s=1000) as work:
        await until_gone(await read_pid(tmp_path / "pipe"))
        await trio.testing.wait_all_tasks_blocked()
        daemon.unwelcome = NotFound("there is no workflow 7")
        daemon.vanish()
        await daemon.come_back()
        with pytest.raises(NotFound, match="no workflow 7"):
            await work.result()
    ((_, left),) = find_unreported(str(tmp_path / ".torc/7"), 7)
    assert [(found.job_id, found.return_code) for found in left.ended] == [(1, 5)]


async def test_results_that_are_not_accepted_now_stay(daemon: FakeDaemon, tmp_path: Path) -> None:
    output_dir = tmp_path / ".torc/7"
    output_dir.mkdir(parents=True)
    save_unreported(str(output_dir), Unreported(workflow_id=7, worker_id=4, hostname="h", ended=[end(1)]))
    daemon.ready.append(launch(2))
    daemon.error = NotFound("no such worker")
    async with working(daemon) as work:
        await work.result()
    assert files(tmp_path) == ["unreported_4.json"]


def test_the_file_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    left = Unreported(workflow_id=7, worker_id=4, hostname="h", ended=[end(1), end(2)])
    save_unreported(str(tmp_path), left)
    save_unreported(str(tmp_path), Unreported(workflow_id=8, worker_id=5, hostname="h", ended=[end(3)]))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []
    assert [found for _, found in find_unreported(str(tmp_path), 7)] == [left]


def test_a_file_of_a_former_version_can_be_read(tmp_path: Path) -> None:
    """Golden: what is written must load for ever."""
    (tmp_path / "unreported_4.json").write_text(
        '{"workflow_id":7,"worker_id":4,"hostname":"h","ended":[{"job_id":1,"attempt_id":1,"return_code":0,'
        '"stopped":null,"started_at_ms":1,"ended_at_ms":2,"exec_time_s":0.1,"peak_memory_bytes":null,'
        '"cpu_seconds":null,"stdout_path":null,"stderr_path":null,"outputs":[{"file_id":1,"mtime_ns":5,"size":1}]}]}'
    )
    ((_, found),) = find_unreported(str(tmp_path), 7)
    assert msgspec.to_builtins(found.ended[0].outputs) == [{"file_id": 1, "mtime_ns": 5, "size": 1}]


def test_a_damaged_file_is_left_alone_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "unreported_4.json").write_text("{")
    assert list(find_unreported(str(tmp_path), 7)) == []
    assert "cannot be read" in caplog.text


def test_a_full_disk_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    save_unreported(str(tmp_path / "gone"), Unreported(workflow_id=7, worker_id=4, hostname="h", ended=[end(1)]))
    assert "could neither be reported nor written" in caplog.text


def test_the_ledger_tells_the_ends_that_were_not_acknowledged() -> None:
    ledger = Ledger()
    ledger.add_ended(end(1))
    ledger.take()
    ledger.add_ended(end(2))
    assert [each.job_id for each in ledger.ends()] == [1, 2]
    ledger.settle()
    assert [each.job_id for each in ledger.ends()] == [2]
