"""Archived workflows: what they refuse, what goes on, and who is not allowed to archive (SEMANTICS 5.5)."""

import pytest
from actor_rig import House, answer_of, error_of, ref
from builders import chained, job

from torcd.protocol.edits import ArchiveWorkflow, UnarchiveWorkflow
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.requests import (
    CancelWorkflow,
    DeleteWorkflow,
    Initialize,
    Operation,
    Prepare,
    Reinit,
    ResetJobs,
    ResetStatus,
    Restart,
    UpdateUserData,
)
from torcd.protocol.specification import UserDataSpec

OPERATIONS: list[type[Operation]] = [Initialize, Prepare, Reinit, Restart, ResetStatus, ResetJobs]


@pytest.fixture
async def workflow(house: House) -> int:
    """a>b with a user data; a is ready."""
    workflow_id = await house.create([job("a"), job("b", depends_on=["a"])], (), [UserDataSpec(name="u", data=1)])
    await house.run(Initialize, workflow_id)
    return workflow_id


async def archive(house: House, workflow_id: int) -> None:
    await house.send(workflow_id, ArchiveWorkflow(workflow_id=workflow_id))


@pytest.mark.parametrize("kind", OPERATIONS)
async def test_operations_and_their_dry_runs_are_refused_at_once(
    house: House, workflow: int, kind: type[Operation]
) -> None:
    """SEMANTICS 5.5: also a run that would have nothing to prepare; no task is made, no file looked at"""
    await archive(house, workflow)
    before = await house.database.read(lambda db: list(db.iterdump()))
    house.scanner.scanned.clear()
    for begin in (house.begin, house.preview):
        with pytest.raises(Refused, match=f"workflow {workflow} is archived.*workflows unarchive {workflow}") as no:
            await begin(kind, workflow, force=True)
        assert no.value.data == {"workflow_id": workflow}
    assert house.scanner.scanned == []
    assert await house.database.read(lambda db: list(db.iterdump())) == before


async def test_edits_cancel_and_workers_are_refused(house: House, workflow: int) -> None:
    """SEMANTICS 5.5"""
    await archive(house, workflow)
    for body in (UpdateUserData(workflow_id=workflow, name="u", data=2), CancelWorkflow(workflow_id=workflow)):
        with pytest.raises(Refused, match="archived"):
            await house.send(workflow, body)
    with pytest.raises(Refused, match="archived"):
        await house.hire(workflow)
    assert await house.rows("SELECT count(*) FROM worker") == [(0,)]
    assert await house.status(workflow) == {"a": "ready", "b": "blocked"}
    await house.check(workflow)


async def test_what_was_archived_is_as_it_was_once_it_is_unarchived(house: House, workflow: int) -> None:
    """SEMANTICS 5.5, 7.1; again is fine"""
    for _ in range(2):
        await archive(house, workflow)
    assert await house.rows("SELECT is_archived FROM workflow") == [(1,)]
    await house.check(workflow)
    for _ in range(2):
        await house.send(workflow, UnarchiveWorkflow(workflow_id=workflow))
    assert await house.rows("SELECT is_archived FROM workflow") == [(0,)]
    kinds = [kind for (kind,) in await house.rows("SELECT kind FROM event WHERE kind LIKE '%archived' ORDER BY seq")]
    assert kinds == ["workflow_archived", "workflow_unarchived"]
    hand = await house.hire(workflow)
    assert await hand.work() == ["a", "b"]


async def test_a_workflow_with_live_jobs_is_not_archived(house: House, workflow: int) -> None:
    """SEMANTICS 5.5"""
    hand = await house.hire(workflow)
    launch = (await hand.claim())["a"]
    with pytest.raises(Conflict, match=r"1 job under way: \d+ a \(pending\).*workflows cancel") as no:
        await archive(house, workflow)
    assert no.value.data == {"workflow_id": workflow, "jobs": [launch.job_id], "count": 1}
    await hand.report(returned=[ref(launch)])
    await archive(house, workflow)


async def test_a_workflow_with_an_active_task_is_not_archived(house: House, workflow: int) -> None:
    """SEMANTICS 6.3"""
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    for body in (ArchiveWorkflow(workflow_id=workflow), UnarchiveWorkflow(workflow_id=workflow)):
        with pytest.raises(Conflict) as no:
            await house.send(workflow, body)
        assert no.value.data["task_id"] == task_id
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"


async def test_a_waiting_worker_is_told_that_nothing_will_come_and_gets_nothing(house: House) -> None:
    """SEMANTICS 5.5: an archived workflow hands out no jobs"""
    workflow = await house.create(chained("a>b"))
    hand = await house.hire(workflow)
    waiting = await hand.listen()
    await archive(house, workflow)
    answer = await answer_of(waiting)
    assert (answer.jobs, answer.stranded, answer.complete) == ([], 2, False)
    ready = await house.create([job("r")])
    await house.run(Initialize, ready)
    idle = await house.hire(ready)
    # in one group: nothing that a worker asks for with the archiving is handed out
    archived, asked = house.post(ready, ArchiveWorkflow(workflow_id=ready), idle.request(jobs=5, wait_s=60))
    await answer_of(archived)
    answer = await answer_of(asked)
    assert (answer.jobs, answer.stranded) == ([], 1)
    assert await house.status(ready) == {"r": "ready"}


async def test_a_cancel_that_comes_with_the_archiving_is_refused(house: House, workflow: int) -> None:
    """SEMANTICS 5.5: both in one group"""
    archived, canceled = house.post(
        workflow, ArchiveWorkflow(workflow_id=workflow), CancelWorkflow(workflow_id=workflow)
    )
    await answer_of(archived)
    assert isinstance(await error_of(canceled), Refused)
    assert await house.status(workflow) == {"a": "ready", "b": "blocked"}


async def test_an_archived_workflow_is_deleted(house: House, workflow: int) -> None:
    """SEMANTICS 5.5"""
    await archive(house, workflow)
    await house.send(workflow, DeleteWorkflow(workflow_id=workflow))
    assert await house.rows("SELECT count(*) FROM workflow") == [(0,)]
