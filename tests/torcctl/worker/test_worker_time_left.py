"""How a worker knows how much time it has left, and what it does with that."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from trio.testing import MockClock, wait_all_tasks_blocked
from worker_daemon import launch

from torcctl.worker import timekeeper
from torcctl.worker.entry import _make_timekeeper
from torcctl.worker.slurm_environment import Share
from torcctl.worker.time_left import BEGINNING_S, GRACE_S, MARGIN_S, TimeLeft, parse_limit
from torcctl.worker.timekeeper import (
    ASK_AGAIN_S,
    ASK_DEADLINE_S,
    ATTEMPTS,
    LONGEST_SPREAD_S,
    RATE,
    Ask,
    Timekeeper,
    ask_slurm,
    find_spread,
)
from torcd.protocol.errors import Refused


def limited(limit_s: float, *, grace_s: float | None = None) -> TimeLeft:
    time_left = TimeLeft(grace_s=grace_s)
    time_left.limit(limit_s, 0.0)
    return time_left


def test_a_long_time_ends_with_the_grace_and_the_margin() -> None:
    time_left = limited(3600)
    assert (time_left.drain_at, time_left.kill_at) == (3600 - MARGIN_S - GRACE_S, 3600 - MARGIN_S)


def test_of_a_short_time_both_take_a_tenth() -> None:
    time_left = limited(60)
    assert (time_left.drain_at, time_left.kill_at) == (48, 54)


def test_a_chosen_grace_is_kept() -> None:
    assert limited(3600, grace_s=5).drain_at == 3600 - MARGIN_S - 5


def test_a_newer_limit_moves_the_end_and_leaves_grace_and_margin() -> None:
    time_left = limited(60)
    time_left.limit(7200, 50.0)
    assert time_left.kill_at - time_left.drain_at == 6
    assert time_left.end_at == 7250


def test_in_its_beginning_a_worker_starts_jobs_that_ask_for_all_of_its_time() -> None:
    """A user asks Slurm for as much time as the job takes: no worker would ever have that left."""
    time_left = TimeLeft()
    time_left.limit(3590, 0.0, whole_s=3600)
    hour = structs.replace(launch(1), runtime_s=3600)
    assert time_left.allows(hour, 59)
    assert not time_left.allows(hour, 61)
    assert not time_left.allows(structs.replace(hour, runtime_s=3601), 0)
    time_left.limit(100, 50.0)
    assert not time_left.allows(hour, 80), "it was cut short, and stops its jobs"


async def test_the_whole_time_of_a_slurm_job_is_in_whole_minutes_or_what_was_asked_for() -> None:
    async def ask() -> float | None:
        await trio.lowlevel.checkpoint()
        return 3535.0

    for fallback_s, whole_s in ((None, 3540.0), (3600.0, 3600.0), (7200.0, 3540.0)):
        keeper = Timekeeper(TimeLeft(), ask=ask, fallback_s=fallback_s)
        await keeper.begin()
        assert keeper.time_left.for_jobs_s(trio.current_time()) == whole_s


def test_without_a_limit_there_is_no_end() -> None:
    time_left = TimeLeft()
    assert time_left.for_jobs_s(1e9) is None
    time_left.limit(float("inf"), 0.0)
    assert time_left.for_jobs_s(1e9) is None
    assert time_left.allows(launch(1), 1e9)


@given(limit_s=st.floats(0.1, 1e7), runtime_s=st.floats(0, 1e7), now=st.floats(0, 1e7))
def test_a_job_that_is_started_ends_before_anything_is_stopped(limit_s: float, runtime_s: float, now: float) -> None:
    """SEMANTICS 8.1: what the daemon hands out by the time it was told of, the worker starts; and nothing else."""
    time_left = limited(limit_s)
    left_s = time_left.for_jobs_s(now)
    assert left_s is not None
    job = structs.replace(launch(1), runtime_s=runtime_s)
    assert time_left.allows(job, now) == (runtime_s <= left_s)
    if time_left.allows(job, now) and now >= min(BEGINNING_S, limit_s / 10):
        assert runtime_s == 0 or now + runtime_s <= time_left.drain_at + 1e-3
    assert time_left.drain_at <= time_left.kill_at <= time_left.end_at


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("04:00:00", 14400), ("2-00:00:01", 172801), ("PT1H30M", 5400), ("PT0.5S", 0.5), ("P1DT1S", 86401)],
)
def test_a_time_limit_is_written_as_slurm_or_as_specifications_have_it(text: str, seconds: float) -> None:
    assert parse_limit(text, "--time-limit") == seconds


@pytest.mark.parametrize("text", ["", "5", "10:00", "PT", "P", "PT0S", "00:00:00", "soon"])
def test_what_is_no_time_is_refused_by_the_name_of_the_option(text: str) -> None:
    with pytest.raises(Refused, match=r"--time-limit: .* is no time"):
        parse_limit(text, "--time-limit")


# ---- learning it ----


def answering(*answers: float | None) -> tuple[Ask, Iterator[float | None]]:
    """What gives these answers in turn, then none."""
    left = iter(answers)

    async def ask() -> float | None:
        await trio.lowlevel.checkpoint()
        return next(left, None)

    return ask, left


async def test_a_chosen_limit_costs_no_question() -> None:
    ask, left = answering(10.0)
    keeper = Timekeeper(TimeLeft(), limit_s=100, ask=ask)
    await keeper.begin()
    assert keeper.time_left.end_at == pytest.approx(trio.current_time() + 100, abs=1)
    assert list(left) == [10.0]


@pytest.mark.parametrize("left_s", [3590.0, 1700.0, float("inf")])
async def test_a_limit_that_slurm_said_in_advance_is_corrected_soon(autojump_clock: MockClock, left_s: float) -> None:
    """Work begins at once, and jobs may take all of the time"""
    began = trio.current_time()
    asked = trio.Event()

    async def ask() -> float | None:
        await trio.lowlevel.checkpoint()
        asked.set()
        return left_s

    keeper = Timekeeper(TimeLeft(), limit_s=3600, ask=ask, spread_s=10)
    await keeper.begin()
    assert (trio.current_time(), keeper.time_left.for_jobs_s(began)) == (began, 3600)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.wait_for_drain)
        await asked.wait()
        await wait_all_tasks_blocked()
        now = trio.current_time()
        assert now <= began + 10
        assert keeper.time_left.end_at == pytest.approx(now + left_s, abs=2)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("limit_s", [None, 3600.0])
async def test_many_workers_of_an_allocation_do_not_ask_all_at_once(
    autojump_clock: MockClock, limit_s: float | None
) -> None:
    began = trio.current_time()
    end_at = began + 3600
    asked: list[float] = []

    async def ask() -> float | None:
        await trio.lowlevel.checkpoint()
        asked.append(trio.current_time() - began)
        return end_at - trio.current_time()

    async def live() -> None:
        keeper = Timekeeper(TimeLeft(), limit_s=limit_s, ask=ask, spread_s=find_spread(500))
        await keeper.begin()
        await keeper.wait_for_drain()

    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(live)
    first, last = [at for at in asked if at < 200], [at for at in asked if at > 3500]
    assert (len(first), max(first) <= 5) == (500, True)
    assert (len(last) >= 500, max(last) <= 3600 - MARGIN_S - GRACE_S - ASK_DEADLINE_S) == (True, True)
    for answers in (first, last):
        assert max(Counter(map(int, answers)).values()) < 2 * RATE


def test_the_more_nodes_the_longer_they_take_to_ask() -> None:
    assert [find_spread(count) for count in (1, 200, 10**6)] == [0.01, 2, LONGEST_SPREAD_S]


@pytest.mark.parametrize(
    ("walltime", "limit_s", "end_s", "has_asked"),
    [("3600", 1800.0, 1800, False), ("3600", None, 3600, True), ("", 1800.0, 1800, True), ("x", None, None, True)],
)
async def test_only_a_fresh_worker_of_a_slurm_that_said_the_limit_begins_without_an_answer(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    walltime: str,
    limit_s: float | None,
    end_s: float | None,
    has_asked: bool,
) -> None:
    """SEMANTICS 8.1: another one may have come late, or Slurm may not have given what was asked for."""
    monkeypatch.setenv("TORC_WALLTIME_S", walltime)
    monkeypatch.setenv("PATH", "/nowhere")  # no squeue answers
    began = trio.current_time()
    keeper = _make_timekeeper(Share(slurm_job_id="1", limit_s=limit_s), None, None)
    await keeper.begin()
    assert (trio.current_time() > began) == has_asked
    assert keeper.time_left.end_at == (float("inf") if end_s is None else began + end_s)


async def test_slurm_is_asked_again_until_it_answers(autojump_clock: MockClock) -> None:
    ask, _ = answering(None, 100.0)
    keeper = Timekeeper(TimeLeft(), ask=ask)
    await keeper.begin()
    assert keeper.time_left.end_at == trio.current_time() + 100


@pytest.mark.parametrize("fallback_s", [None, 600.0])
async def test_without_an_answer_the_walltime_counts_if_that_is_known(
    autojump_clock: MockClock, fallback_s: float | None
) -> None:
    began = trio.current_time()
    ask, _ = answering(*[None] * ATTEMPTS)
    keeper = Timekeeper(TimeLeft(), ask=ask, fallback_s=fallback_s)
    await keeper.begin()
    assert keeper.time_left.end_at == (float("inf") if fallback_s is None else began + fallback_s)


async def test_a_worker_whose_time_was_extended_goes_on(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    end_at = began + 100

    async def ask() -> float | None:
        return end_at - trio.current_time()

    keeper = Timekeeper(TimeLeft(), ask=ask)
    await keeper.begin()
    end_at = began + 5000  # learned shortly before the former end, if not before
    await keeper.wait_for_drain()
    assert trio.current_time() == pytest.approx(began + 5000 - 20, abs=0.1)


async def test_a_worker_whose_time_was_cut_short_learns_it(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    answers = [90000.0, 300.0]
    ask, _ = answering(*answers)
    keeper = Timekeeper(TimeLeft(), ask=ask)
    await keeper.begin()
    await keeper.wait_for_drain()
    assert trio.current_time() - began < 2 * ASK_AGAIN_S + 300


async def test_while_slurm_does_not_answer_what_was_known_stays(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    ask, _ = answering(4 * ASK_AGAIN_S)
    keeper = Timekeeper(TimeLeft(), ask=ask)
    await keeper.begin()
    await keeper.wait_for_drain()
    assert trio.current_time() == pytest.approx(began + 4 * ASK_AGAIN_S - GRACE_S - MARGIN_S)


async def test_slurm_is_asked_once_more_before_jobs_are_stopped(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    end_at = began + 3600
    asked: list[float] = []

    async def ask() -> float | None:
        asked.append(trio.current_time() - began)
        return (end_at if len(asked) < 3 or asked[-1] < 3500 else end_at + 100) - trio.current_time()

    keeper = Timekeeper(TimeLeft(), ask=ask)
    await keeper.begin()
    await keeper.wait_for_drain()
    assert trio.current_time() == pytest.approx(began + 3700 - GRACE_S - MARGIN_S, abs=0.1)
    assert any(3500 < at < 3600 - GRACE_S - MARGIN_S for at in asked)
    assert len(asked) < 20


async def test_a_grace_that_leaves_no_time_for_jobs_is_told(caplog: pytest.LogCaptureFixture) -> None:
    await Timekeeper(TimeLeft(grace_s=90), limit_s=100).begin()
    assert "with a grace of 90 s: no job is started" in caplog.text
    caplog.clear()
    await Timekeeper(TimeLeft(grace_s=80), limit_s=100).begin()
    assert caplog.text == ""


async def ask_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> float | None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\n{script}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return await ask_slurm("7")


async def test_squeue_is_asked_for_the_own_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await ask_program(tmp_path, monkeypatch, """test "$*" = "-h -j 7 -o %A %L" && printf '6 1:00\n7 2:00\n'""")
    assert told == 120.0


@pytest.mark.parametrize("script", ["exit 1", "echo slurm_load_jobs error: Invalid job id specified", "sleep 60"])
async def test_a_squeue_that_fails_babbles_or_hangs_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(timekeeper, "ASK_DEADLINE_S", 0.2)
    assert await ask_program(tmp_path, monkeypatch, script) is None


async def test_a_slurm_that_is_silent_takes_nothing_from_the_grace(autojump_clock: MockClock) -> None:
    began = trio.current_time()

    async def ask() -> float | None:
        if trio.current_time() == began:
            return 60.0
        await trio.sleep(ASK_DEADLINE_S)
        return None

    keeper = Timekeeper(TimeLeft(), ask=ask)
    await keeper.begin()
    await keeper.wait_for_drain()
    assert trio.current_time() == pytest.approx(began + 48)
