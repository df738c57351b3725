"""The daemon's pulse: what it measures of the event loop, and when it feeds the watchdog."""

import logging
import time
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from torcd import systemd
from torcd.protocol.health import Problem, WorkflowHealth
from torcd.pulse import LoopWatch, Pulse

PROBLEM = Problem(subject="workflow 7", problem="it is stuck", advice="wait")


class World:
    """What a pulse looks at, set by hand."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.silent_s = 0.0
        self.problems: list[Problem] = []

    def pulse(self, **environ: str) -> Pulse:
        return Pulse(
            environ,
            survey=self.survey,
            database_silent_s=lambda: self.silent_s,
            find_problems=self.find_problems,
            notify=self.told.append,
        )

    def survey(self) -> list[WorkflowHealth]:
        return []

    def find_problems(self, workflows: Sequence[WorkflowHealth]) -> list[Problem]:
        return self.problems


@pytest.fixture
def world() -> World:
    return World()


async def test_the_watchdog_is_fed_three_times_in_its_interval(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.move_on_after(60.5):
        await world.pulse(WATCHDOG_USEC="30000000").run()
    assert world.told == ["WATCHDOG=1"] * 7


async def test_the_watchdog_is_not_fed_while_the_sql_thread_gets_nowhere(
    world: World, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.silent_s = 500.0
    with trio.move_on_after(60):
        await world.pulse(WATCHDOG_USEC="30000000").run()
    assert world.told == []
    assert caplog.text.count("the watchdog is not fed any more") == 1


async def test_without_a_watchdog_nothing_is_fed(world: World, autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(60):
        await world.pulse().run()
    assert world.told == []


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "9000000"}, 3.0),
        ({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_is_for_the_process_that_it_names(environ: dict[str, str], interval_s: float | None) -> None:
    assert systemd.watchdog_interval_s(environ) == interval_s


async def test_problems_are_told_when_they_come_and_when_they_go(
    world: World, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.pulse().run)
        await trio.sleep(12)
        world.problems = [PROBLEM]
        await trio.sleep(12)
        world.problems = []
        await trio.sleep(12)
        nursery.cancel_scope.cancel()
    assert world.told == ["STATUS=workflow 7: it is stuck", "STATUS=serving"]
    assert caplog.text.count("workflow 7: it is stuck: wait") == 1
    assert caplog.text.count("workflow 7: well again") == 1


async def test_a_turn_that_keeps_the_event_loop_is_measured(world: World) -> None:
    pulse = world.pulse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        await trio.testing.wait_all_tasks_blocked()
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert pulse.loop.report().lag_ms >= 50
        nursery.cancel_scope.cancel()


async def test_a_turn_is_forgotten_after_a_minute(mock_clock: trio.testing.MockClock) -> None:
    watch = LoopWatch()
    watch.note(0.5)
    watch.beat()
    for _ in range(12):
        mock_clock.jump(5)
        watch.beat()
    assert (watch.report().lag_ms, watch.report().lag_ago_s) == (500, 60)
    mock_clock.jump(5)
    watch.beat()
    assert watch.report().lag_ms == 0


async def test_a_wait_that_ends_too_late_is_measured(world: World, mock_clock: trio.testing.MockClock) -> None:
    """As of a process that was stopped."""
    pulse = world.pulse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(3)
        await trio.testing.wait_all_tasks_blocked()
        assert pulse.loop.report().lag_ms == pytest.approx(2000)
        nursery.cancel_scope.cancel()
