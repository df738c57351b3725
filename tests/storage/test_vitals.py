"""How an SQL thread is told to get on or to be stuck."""

import itertools
import sqlite3
from pathlib import Path

import outcome
import pytest
import trio

from torcd.protocol.errors import Refused, Unavailable
from torcd.storage import vitals as vitals_module
from torcd.storage.database import open_database
from torcd.storage.vitals import Vitals


class Cpu:
    """A thread's processor time, set by hand."""

    def __init__(self) -> None:
        self.used_s = 1.0

    def __call__(self) -> float:
        return self.used_s


async def test_a_thread_without_work_is_never_silent(autojump_clock: trio.testing.MockClock) -> None:
    vitals = Vitals(Cpu())
    await trio.sleep(100)
    assert vitals.silent_s() == 0
    vitals.begin()
    vitals.end()
    await trio.sleep(100)
    assert vitals.silent_s() == 0


async def test_a_thread_that_uses_its_processor_is_not_silent_however_long_it_takes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    cpu = Cpu()
    vitals = Vitals(cpu)
    vitals.begin()
    for _ in range(5):
        await trio.sleep(60)
        cpu.used_s += 0.001
        assert vitals.silent_s() == 0
    await trio.sleep(60)
    assert vitals.silent_s() == pytest.approx(60)
    vitals.end()
    vitals.begin()
    assert vitals.silent_s() == pytest.approx(0)


async def test_a_thread_that_has_ended_is_not_silent() -> None:
    def gone() -> float:
        raise OSError

    vitals = Vitals(gone)
    vitals.begin()
    assert vitals.silent_s() == 0


async def test_only_the_disk_makes_commits_fail() -> None:
    vitals = Vitals(Cpu())
    vitals.note_commits([outcome.Error(Refused("the caller's fault"))])
    assert not vitals.is_failing
    vitals.note_commits([outcome.Error(Unavailable("the disk is full"))])
    assert (vitals.is_failing, vitals.last_error) == (True, "the disk is full")
    vitals.note_commits([outcome.Value(None), outcome.Error(Unavailable("replayed"))])
    assert not vitals.is_failing


@pytest.mark.parametrize("step_s", [0, -3600])
async def test_a_clock_that_stands_or_is_set_back_hides_no_failure_and_no_success(
    monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    times = itertools.count(1_800_000_000, step_s)
    monkeypatch.setattr(vitals_module.time, "time", lambda: float(next(times)))
    vitals = Vitals(Cpu())
    for _ in range(2):
        vitals.note_commits([outcome.Value(None)])
        assert not vitals.is_failing
        vitals.note_commits([outcome.Error(Unavailable("the disk is full"))])
        assert vitals.is_failing


async def test_a_real_thread_tells_its_commits_and_whether_it_gets_on(tmp_path: Path) -> None:
    async with open_database(tmp_path / "torc.db", migrations=[]) as database:
        await database.commit(lambda db: db.execute("CREATE TABLE t (x)"))
        assert database.vitals.last_commit_at is not None
        begun = trio.Event()
        token = trio.lowlevel.current_trio_token()
        release = trio.Event()

        def blocks(db: sqlite3.Connection) -> None:
            token.run_sync_soon(begun.set)
            trio.from_thread.run(release.wait, trio_token=token)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.commit, blocks)
            await begun.wait()
            with trio.fail_after(10):
                while database.vitals.silent_s() == 0:  # its last steps before it waits use the processor
                    await trio.lowlevel.checkpoint()
            release.set()
        assert database.vitals.silent_s() == 0
