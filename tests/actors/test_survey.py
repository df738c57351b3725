"""How actors are, seen from outside, while they do not answer (docs/service.md)."""

from typing import Any

import pytest
import trio
import trio.testing
from actor_rig import House
from builders import chained

from torcd.actors import supervisor as supervisor_module
from torcd.actors.messages import CommitEdit, Nudge
from torcd.core.health import STUCK_S
from torcd.protocol.health import WorkflowHealth
from torcd.protocol.requests import CancelWorkflow, Initialize, Reinit


@pytest.fixture
async def workflow(house: House) -> int:
    workflow_id = await house.create(chained("a", "b"), ["f"])
    await house.run(Initialize, workflow_id)
    return workflow_id


def survey(house: House) -> WorkflowHealth:
    (found,) = house.supervisor.survey()
    return found


def wind(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Has time pass for whoever looks, and for nobody else: no deadline ends."""
    now = trio.current_time() + seconds
    monkeypatch.setattr("torcd.actors.survey.trio.current_time", lambda: now)


async def test_an_idle_workflow_and_its_workers(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    await house.hire(workflow)
    hand.hang_up()
    await house.settle(workflow)
    found = survey(house)
    assert (found.workflow_id, found.state, found.at, found.waiting) == (workflow, "idle", None, 0)
    assert (found.workers, found.workers_away, found.crashes) == (1, 1, 0)


async def test_a_task_is_told_with_its_progress_and_is_stalled_without_any(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    await house.settle(workflow)
    found = survey(house)
    assert found.task is not None
    assert (found.state, found.task.task_id, found.task.operation) == ("busy", task_id, "reinit")
    active = house.actor(workflow).tasks.active
    assert active is not None
    active.note_progress("scan", 3, 9)
    with monkeypatch.context() as patch:
        wind(patch, 70)
        found = survey(house)
    assert found.task is not None
    assert (found.state, found.task.phase, found.task.done, found.task.total) == ("stalled", "scan", 3, 9)
    assert found.task.since_progress_s == pytest.approx(70, abs=5)
    gate.set()
    await house.wait(task_id)
    assert survey(house).task is None


async def test_an_actor_whose_commit_hangs_is_stuck_and_what_waits_is_counted(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.database.commit_gate = trio.Event()
    house.post(workflow, CancelWorkflow(workflow_id=workflow))
    await house.database.commit_begun.wait()
    house.post(workflow, Nudge(), Nudge())
    found = survey(house)
    assert (found.state, found.at, found.waiting) == ("busy", "workflows.cancel", 2)
    with monkeypatch.context() as patch:
        wind(patch, STUCK_S + 1)
        assert survey(house).state == "stuck"
    gate, house.database.commit_gate = house.database.commit_gate, None
    gate.set()
    await house.settle(workflow)
    assert survey(house).state == "idle"


async def test_crashes_are_counted_and_a_faulted_workflow_is_told_with_its_last_one(
    house: House, workflow: int
) -> None:
    def crash(turn: Any) -> Any:
        raise ValueError("on purpose")

    for count in range(1, supervisor_module.MOST_CRASHES + 2):
        (message,) = house.post(workflow, CommitEdit(crash))
        with pytest.raises(Exception, match="crashed"), trio.fail_after(10):
            await message.reply.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert survey(house).crashes == count
    found = survey(house)
    assert (found.state, found.fault) == ("faulted", "ValueError: on purpose")
