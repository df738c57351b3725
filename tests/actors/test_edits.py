"""Jobs are disabled and enabled by the actor: an edit, which no task has to wait for (SEMANTICS 2.5, 6.3)."""

import pytest
from actor_rig import House, answer_of
from builders import chained

from torcd.actors import workflow as workflow_module
from torcd.protocol.edits import ArchiveWorkflow, DisableJobs, EnableJobs
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import Initialize, Reinit


@pytest.fixture
async def workflow(house: House) -> int:
    """a>b>c, initialized."""
    workflow_id = await house.create(chained("a>b>c"))
    await house.run(Initialize, workflow_id)
    return workflow_id


@pytest.fixture(params=[5_000, 1], ids=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large workflow is evaluated in a thread."""
    monkeypatch.setattr(workflow_module, "INLINE_JOBS", request.param)


@pytest.mark.usefixtures("size")
async def test_a_waiting_worker_gets_what_becomes_ready_at_once(house: House, workflow: int) -> None:
    """SEMANTICS 2.5"""
    ids = await house.ids(workflow)
    hand = await house.hire(workflow)
    await hand.finish((await hand.claim())["a"], code=1)
    idle = await hand.listen()
    assert (await answer_of(idle)).complete
    answer = await house.send(workflow, DisableJobs(workflow_id=workflow, jobs=[ids["a"]]))
    assert answer == {"workflow_id": workflow, "disabled": 1, "unchanged": 0, "jobs": [ids["a"]]}
    assert await hand.work() == ["b", "c"]
    assert await house.send(workflow, EnableJobs(workflow_id=workflow, jobs=[ids["a"], ids["b"]])) == {
        "workflow_id": workflow, "enabled": 1, "unchanged": 1, "jobs": [ids["a"]],
    }  # fmt: skip
    assert await house.status(workflow) == {"a": "uninitialized", "b": "completed", "c": "completed"}
    await house.check(workflow)


async def test_a_report_that_waits_is_answered_with_a_job_that_was_blocked(house: House) -> None:
    """SEMANTICS 2: pushed at once"""
    workflow = await house.create(chained("a>b"))
    await house.run(Initialize, workflow)
    ids = await house.ids(workflow)
    first, second = await house.hire(workflow), await house.hire(workflow)
    launch = (await first.claim())["a"]
    waiting = await second.listen()
    await first.finish(launch, code=1)
    assert (await answer_of(waiting)).complete
    await house.send(workflow, DisableJobs(workflow_id=workflow, jobs=[ids["a"]]))
    assert list(await second.claim()) == ["b"]


async def test_it_is_refused_while_a_task_is_active_or_the_workflow_archived(house: House, workflow: int) -> None:
    """SEMANTICS 5.5, 6.3"""
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    requests = [kind(workflow_id=workflow, jobs=[1]) for kind in (DisableJobs, EnableJobs)]
    for request, name in zip(requests, ("jobs disable", "jobs enable"), strict=True):
        with pytest.raises(Conflict, match=f"{name} is refused: task {task_id}") as conflict:
            await house.send(workflow, request)
        assert conflict.value.data["task_id"] == task_id
    gate.set()
    await house.wait(task_id)
    await house.send(workflow, ArchiveWorkflow(workflow_id=workflow))
    for request in requests:
        with pytest.raises(Refused, match="archived"):
            await house.send(workflow, request)


async def test_what_is_refused_leaves_the_state_as_it_was(house: House, workflow: int) -> None:
    """SEMANTICS §5: all or nothing"""
    ids = await house.ids(workflow)
    with pytest.raises(NotFound, match="nothing was changed"):
        await house.send(workflow, DisableJobs(workflow_id=workflow, jobs=[ids["a"], 77]))
    house.database.failing_commits = 1
    with pytest.raises(Exception, match="disk is full"):
        await house.send(workflow, DisableJobs(workflow_id=workflow, jobs=[ids["a"]]))
    assert await house.status(workflow) == {"a": "ready", "b": "blocked", "c": "blocked"}
    await house.check(workflow)
