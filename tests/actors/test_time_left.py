"""Workers whose time is limited: what they are handed, how long they wait, what an explanation says of them."""

from typing import Any

import pytest
from actor_rig import Hand, House, answer_of, ref
from builders import job
from trio.testing import MockClock

from torcd.protocol.requests import Initialize
from torcd.protocol.specification import ResourceRequirementsSpec
from torcd.protocol.worker_requests import Capacity, ReportWorker


@pytest.fixture
async def workflow(house: House) -> int:
    """hour and minute take so long, any says nothing; hour is the first in line."""
    needs = [
        ResourceRequirementsSpec(name="hour", runtime="PT1H"),
        ResourceRequirementsSpec(name="minute", runtime="PT1M"),
    ]
    specs = [job("hour", resource_requirements="hour", priority=9), job("minute", resource_requirements="minute")]
    workflow_id = await house.create([*specs, job("any")], resource_requirements=needs)
    await house.run(Initialize, workflow_id)
    return workflow_id


def asks(hand: Hand, time_left_s: float | None, **parts: Any) -> ReportWorker:
    return ReportWorker(worker_id=hand.worker_id, capacity=Capacity(jobs=9, time_left_s=time_left_s), **parts)


async def claim(hand: Hand, time_left_s: float | None) -> list[str]:
    return [each.name for each in (await hand.house.send(hand.workflow_id, asks(hand, time_left_s))).jobs]


async def test_a_worker_is_handed_what_ends_in_its_time(house: House, workflow: int) -> None:
    """SEMANTICS 8.1"""
    short, long = await house.hire(workflow), await house.hire(workflow)
    assert await claim(short, 59.0) == ["any"]
    assert await claim(short, 3599.0) == ["minute"]
    assert await claim(long, None) == ["hour"]


async def test_a_job_that_takes_all_of_a_workers_time_is_handed_out_at_its_beginning(
    house: House, workflow: int, mock_clock: MockClock
) -> None:
    """SEMANTICS 8.1. By a real clock some microseconds go by between the report and the answer."""
    mock_clock.rate = 1
    hand = await house.hire(workflow)
    assert sorted(await claim(hand, 60.0)) == ["any", "minute"]


async def test_a_launch_says_how_long_its_job_takes_if_anybody_said_so(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    launches = await hand.claim()
    assert {name: each.runtime_s for name, each in launches.items()} == {"hour": 3600.0, "minute": 60.0, "any": 0.0}


async def test_the_time_that_a_report_waits_is_taken_off(house: House, workflow: int, mock_clock: MockClock) -> None:
    """SEMANTICS 8.1"""
    busy, idle = await house.hire(workflow), await house.hire(workflow)
    launches = await busy.claim()
    (waiting,) = house.post(workflow, asks(idle, 65.0, wait_s=60))
    await house.settle(workflow)
    mock_clock.jump(10)
    await busy.report(returned=[ref(launches["minute"])])
    await house.settle(workflow)
    assert not waiting.reply.is_given, "55 s are left"
    await busy.report(returned=[ref(launches["any"])])
    assert [each.name for each in (await answer_of(waiting)).jobs] == ["any"]


async def test_a_worker_is_told_that_nothing_that_is_left_ends_in_its_time(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    launches = await hand.claim()
    await hand.report(ended=[hand.end(launches["any"])], returned=[ref(launches["hour"]), ref(launches["minute"])])
    answer = await house.send(workflow, asks(hand, 59.0, wait_s=60))
    assert (answer.jobs, answer.stranded, answer.complete) == ([], 2, False)


async def test_what_workers_have_left_is_known_from_what_they_told(
    house: House, workflow: int, mock_clock: MockClock
) -> None:
    short, endless, silent = [await house.hire(workflow) for _ in range(3)]
    await claim(short, 59.0)
    await claim(endless, None)
    mock_clock.jump(9)
    assert house.supervisor.times_left(workflow) == {
        short.worker_id: pytest.approx(50, abs=1), endless.worker_id: None, silent.worker_id: None,
    }  # fmt: skip
    mock_clock.jump(60)
    assert house.supervisor.times_left(workflow)[short.worker_id] == 0
    assert house.supervisor.times_left(workflow + 1) == {}


async def test_a_worker_that_lingers_waits_until_a_job_appears_that_it_can_run(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    launches = await hand.claim()
    await hand.report(ended=[hand.end(each) for each in launches.values()])
    (waiting,) = house.post(workflow, asks(hand, None, wait_s=60, lingers=True))
    await house.settle(workflow)
    assert not waiting.reply.is_given, "though the workflow is complete"
    await house.run(Initialize, workflow, force=True)
    assert {each.name for each in (await answer_of(waiting)).jobs} == {"hour", "minute", "any"}
