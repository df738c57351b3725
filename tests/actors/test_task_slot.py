"""The task slot of a workflow: who gets it, who is told what, and what goes on beside it."""

from typing import Any

import pytest
import trio
import trio.testing
from actor_rig import DEADLINE_S, Hand, House, answer_of, error_of, ref
from builders import DIRECTORY, chained, job, new_specification

from torcd.actors.mailbox import Message
from torcd.actors.messages import MakeUpdate, Preview
from torcd.core.delta import TaskBegin
from torcd.protocol.edits import ArchiveWorkflow
from torcd.protocol.errors import Conflict, Refused, TorcError
from torcd.protocol.requests import (
    CancelTask,
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
from torcd.storage.save import ABANDONED, begin_task
from torcd.storage.tasks import find_by_key

JOBS = [
    job("a", input_files=["x"], output_files=["y"], output_user_data=["u"]),
    job("b", input_files=["y"]),
    job("c", input_files=["x"], input_user_data=["given"]),
]
VALUES = [UserDataSpec(name="u"), UserDataSpec(name="given", data=1)]


@pytest.fixture
async def workflow(house: House) -> int:
    """a>b and c, initialized."""
    house.disk.write("x")
    workflow_id = await house.create(JOBS, (), VALUES)
    assert (await house.run(Initialize, workflow_id)).status == "succeeded"
    return workflow_id


async def held(
    house: House, workflow_id: int, kind: type[Operation] = Reinit, **parameters: Any
) -> tuple[int, trio.Event]:
    """A task whose scan is under way, and what lets it go on."""
    gate = house.scanner.hold()
    task_id = await house.begin(kind, workflow_id, requested_by="ann", **parameters)
    with trio.fail_after(10):
        await house.scanner.begun.wait()
    return task_id, gate


async def outcome_of(message: Message) -> object:
    """The answer to a message, or its error."""
    try:
        return await message.reply.wait()
    except TorcError as error:
        return error


# ---- success and refusal ----


async def test_an_operation_is_a_task_that_succeeds_with_its_plan(house: House, workflow: int) -> None:
    """SEMANTICS §5, 6.1"""
    (row,) = await house.rows("SELECT operation, status, params FROM task")
    assert row == ("initialize", "succeeded", '{"force":false,"stop_live":false}')
    task = await house.task(1)
    assert task.result is not None
    assert (task.result["count"], task.result["run_id"], task.result["dry_run"]) == (3, 1, False)
    assert await house.status(workflow) == {"a": "ready", "b": "blocked", "c": "ready"}
    await house.check(workflow)


async def test_a_refused_operation_is_a_failed_task_with_the_error_and_frees_the_slot(
    house: House, workflow: int
) -> None:
    """SEMANTICS §5: nothing else is changed"""
    house.disk.delete("x")
    before = await house.status(workflow)
    task = await house.run(Reinit, workflow)
    assert (task.status, task.error_code) == ("failed", 422)
    assert task.error is not None
    assert "/submitted/x" in task.error
    assert task.error_data is not None
    assert task.error_data["paths"] == ["/submitted/x"]
    assert await house.status(workflow) == before
    assert await house.rows("SELECT run_id FROM workflow") == [(1,)]
    assert (await house.run(Reinit, workflow, force=True)).status == "succeeded"


async def test_an_unknown_job_id_fails_the_task(house: House, workflow: int) -> None:
    """SEMANTICS §5: all or nothing"""
    task = await house.run(ResetJobs, workflow, jobs=[1, 999])
    assert (task.status, task.error_code) == ("failed", 404)


async def test_prepare_without_anything_to_prepare_is_no_task(house: House, workflow: int) -> None:
    """SEMANTICS 5.1"""
    assert await house.send(workflow, Prepare(workflow_id=workflow)) is None
    assert len(await house.rows("SELECT 1 FROM task")) == 1


async def test_contents_are_read_where_they_decide_or_were_never_read(house: House) -> None:
    """SEMANTICS 4.9"""
    house.disk.write("x", "y")
    workflow = await house.create([job("a", input_files=["x", "y"])], detect="content")
    await house.run(Initialize, workflow)
    house.disk.touch("z")
    assert [sorted(paths) for paths in house.scanner.read_paths] == [[f"{DIRECTORY}/x", f"{DIRECTORY}/y"]]
    house.scanner.read_paths.clear()
    house.disk.touch("x")
    await house.run(Reinit, workflow)
    await house.run(Reinit, workflow, detect="mtime")
    assert house.scanner.read_paths == [[f"{DIRECTORY}/x", f"{DIRECTORY}/y"]], "y was read within the clock's grain"
    await house.check(workflow)


# ---- 6.1, 6.2 ----


async def test_the_same_request_while_one_is_active_is_answered_with_that_task(house: House, workflow: int) -> None:
    """SEMANTICS 6.1, 6.2: for any number of clients"""
    task_id, gate = await held(house, workflow)
    requests = [
        Reinit(workflow_id=workflow),
        Reinit(workflow_id=workflow, force=False, stop_live=False, detect=None, requested_by="bob"),
        Reinit(workflow_id=workflow, detect="mtime"),
        Reinit(workflow_id=workflow, expect="other", request_key="k", follow=True),
    ]
    for request in requests * 20:
        assert await house.send(workflow, request) == (task_id, True)
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"
    assert await house.rows("SELECT count(*) FROM task WHERE operation = 'reinit'") == [(1,)]
    assert await house.rows("SELECT run_id FROM workflow") == [(2,)]


async def test_requests_that_arrive_together_begin_one_task(house: House, workflow: int) -> None:
    """SEMANTICS 6.1, 6.2"""
    house.scanner.hold()
    messages = house.post(workflow, *(Reinit(workflow_id=workflow) for _ in range(30)))
    answers = [await answer_of(message) for message in messages]
    assert {task_id for task_id, _ in answers} == {2}
    assert [existing for _, existing in answers] == [False] + [True] * 29


# ---- 6.3 ----

OTHERS: list[tuple[type[Operation], dict[str, Any], dict[str, list[Any]]]] = [
    (Reinit, {"force": True}, {"force": [False, True]}),
    (Reinit, {"stop_live": True, "detect": "mtime"}, {"stop_live": [False, True]}),
    (Restart, {}, {"operation": ["reinit", "restart"]}),
    (ResetStatus, {"failed_only": True}, {"operation": ["reinit", "reset-status"]}),
    (ResetJobs, {"jobs": [1]}, {"operation": ["reinit", "jobs reset-status"]}),
    (Initialize, {}, {"operation": ["reinit", "initialize"]}),
    (Prepare, {}, {"operation": ["reinit", "prepare"]}),
]


@pytest.mark.parametrize(("kind", "parameters", "differing"), OTHERS)
async def test_another_request_while_one_is_active_is_a_conflict_that_tells_all(
    house: House, workflow: int, kind: type[Operation], parameters: dict[str, Any], differing: dict[str, list[Any]]
) -> None:
    """SEMANTICS 6.3"""
    task_id, gate = await held(house, workflow)
    told = rf"task {task_id} \(reinit with detect=mtime, asked for by ann at 20\S+Z\).*tasks wait {task_id}"
    with pytest.raises(Conflict, match=told) as no:
        await house.begin(kind, workflow, **parameters)
    data = no.value.data
    assert (data["task_id"], data["operation"], data["requested_by"]) == (task_id, "reinit", "ann")
    assert data["params"] == {"force": False, "stop_live": False, "detect": "mtime"}
    assert data["created_at"].endswith("Z")
    assert data["differing"] == differing
    assert ("differs in" in str(no.value)) == (kind is Reinit)
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"


async def test_edits_while_a_task_is_active_are_conflicts(house: House, workflow: int) -> None:
    """SEMANTICS 6.3"""
    task_id, gate = await held(house, workflow)
    value = UpdateUserData(workflow_id=workflow, name="given", data=2)
    for message in house.post(workflow, value, DeleteWorkflow(workflow_id=workflow)):
        error = await error_of(message)
        assert isinstance(error, Conflict)
        assert error.data["task_id"] == task_id
    with pytest.raises(Conflict, match="jobs update is refused"):
        await house.edit(workflow, 1, command="new")
    gate.set()
    await house.wait(task_id)
    await house.send(workflow, value)
    await house.edit(workflow, 1, command="new")
    assert await house.rows("SELECT command FROM job WHERE id = 1") == [("new",)]
    await house.check(workflow)


async def test_another_workflow_is_never_held_up(house: House, workflow: int) -> None:
    """SEMANTICS 6.3"""
    other = await house.create(chained("z"))
    _, gate = await held(house, workflow)
    house.scanner._gate = None  # only the first scan is held
    assert (await house.run(Initialize, other)).status == "succeeded"
    hand = await house.hire(other)
    assert await hand.work() == ["z"]
    gate.set()


# ---- 6.5 ----


async def test_claims_completions_and_writes_of_jobs_go_on_while_a_task_scans(house: House, workflow: int) -> None:
    """SEMANTICS 6.3, 6.5"""
    hand = await house.hire(workflow)
    task_id, gate = await held(house, workflow)
    launches = await hand.claim()
    assert list(launches) == ["a", "c"]
    first = launches["a"]
    write = UpdateUserData(workflow_id=workflow, name="u", data=0.5, job_id=first.job_id, attempt_id=first.attempt_id)
    await house.send(workflow, write)
    await hand.finish(first)
    assert list(await hand.claim()) == ["b"]
    assert (await house.task(task_id)).status == "running"
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"
    assert await house.status(workflow) == {"a": "completed", "b": "pending", "c": "pending"}
    await house.check(workflow)


async def test_the_plan_is_made_on_the_state_it_is_applied_to(house: House, workflow: int) -> None:
    """SEMANTICS 6.5: an output that a job wrote after the scan had looked is neither missing nor changed"""
    hand = await house.hire(workflow)
    launches = await hand.claim()
    write = UpdateUserData(
        workflow_id=workflow, name="u", data=1, job_id=launches["a"].job_id, attempt_id=launches["a"].attempt_id
    )
    await house.send(workflow, write)
    task_id, gate = await held(house, workflow)  # y is absent now
    await hand.finish(launches["a"])
    gate.set()
    task = await house.wait(task_id)
    assert (task.status, task.error) == ("succeeded", None)
    assert task.result is not None
    assert task.result["listed"] == 0
    assert (await house.status(workflow))["a"] == "completed"
    seen = house.disk.stat("y")
    assert await house.rows(
        "SELECT mtime_ns, size FROM file_record r JOIN file f ON f.id = file_id WHERE name = 'y'"
    ) == [seen]
    assert await hand.work() == ["b"]
    await hand.finish(launches["c"])
    task = await house.run(Reinit, workflow)
    assert task.result is not None
    assert task.result["listed"] == 0, "what was run is up to date"


async def test_a_dry_run_while_a_task_is_active_plans_on_the_committed_state_and_warns(
    house: House, workflow: int
) -> None:
    """SEMANTICS 5.4, 6.3"""
    task_id, gate = await held(house, workflow, Restart)
    house.scanner._gate = None
    house.disk.touch("x")
    planned = await house.preview(Reinit, workflow)
    assert f"task {task_id} (restart) is active" in planned.summary.warnings[-1]
    assert planned.summary.run_id == 2
    gate.set()
    await house.wait(task_id)


async def test_a_dry_run_makes_no_task_and_writes_nothing(house: House, workflow: int) -> None:
    """SEMANTICS 5.4"""
    before = await house.database.read(lambda db: list(db.iterdump()))
    planned = await house.preview(ResetStatus, workflow)
    assert planned.summary.listed == 3
    house.disk.delete("x")
    with pytest.raises(Refused):
        await house.preview(Reinit, workflow)
    assert await house.database.read(lambda db: list(db.iterdump())) == before
    await house.check(workflow)


@pytest.mark.parametrize("kind", [Initialize, Reinit, Restart, Prepare])
async def test_a_cancel_of_the_workflow_does_not_wait_for_the_task_and_outlives_it(
    house: House, workflow: int, kind: type[Operation]
) -> None:
    """SEMANTICS 6.3: as if the operation had come first and the cancel then"""
    await house.run(ResetStatus, workflow)
    task_id, gate = await held(house, workflow, kind)
    assert await house.send(workflow, CancelWorkflow(workflow_id=workflow)) == {"workflow_id": workflow, "canceled": 3}
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"
    assert set((await house.status(workflow)).values()) == {"canceled"}
    assert await house.rows("SELECT is_canceled FROM workflow") == [(1,)]
    await house.check(workflow)
    assert not await (await house.hire(workflow)).claim()


async def test_a_dry_run_goes_on_when_an_update_takes_files_away(house: House) -> None:
    """SEMANTICS 5.4: planned on the committed state; 6.3: no conflict"""
    files = [f"x{number}" for number in range(10)]
    house.disk.write(*files)
    workflow = await house.create([job(f"reads-{file}", input_files=[file]) for file in files])
    await house.run(Initialize, workflow)
    actor = house.actor(workflow)
    gate = house.database.read_gate = trio.Event()
    preview = Preview(Reinit(workflow_id=workflow, dry_run=True))
    await house.send(workflow, preview)
    await house.database.read_begun.wait()
    await house.send(workflow, MakeUpdate(new_specification([job("reads-x0", input_files=["x0"])]), None))
    gate.set()
    assert (await preview.reply.wait()).summary.count == 0
    assert house.actor(workflow) is actor, "it did not crash"


async def test_a_request_that_joined_a_task_gets_it_again_under_its_key(house: House, workflow: int) -> None:
    """SEMANTICS 6.2, 6.4: also when the task has ended before the request is repeated"""
    task_id, gate = await held(house, workflow, request_key="first")
    joining = Reinit(workflow_id=workflow, request_key="second", requested_by="bob")
    assert await house.send(workflow, joining) == (task_id, True)
    assert await house.send(workflow, joining) == (task_id, True)
    gate.set()
    await house.wait(task_id)
    assert await house.send(workflow, joining) == (task_id, True)
    assert await house.rows("SELECT run_id FROM workflow") == [(2,)]
    with pytest.raises(Conflict, match="use a new key"):
        await house.send(workflow, Restart(workflow_id=workflow, request_key="second"))


async def test_progress_is_told_to_followers_and_kept_nowhere(house: House, workflow: int) -> None:
    """SEMANTICS 7.1: ephemeral"""
    follower = house.bus.subscribe(workflow, None)
    task_id, gate = await held(house, workflow)
    assert follower.has_progress()
    assert follower.take_progress() == f'{{"task_id":{task_id},"phase":"scan","done":0,"total":2}}'
    gate.set()
    await house.wait(task_id)
    assert '"done":2' in follower.take_progress()
    events = list(iter(lambda: follower.take(), []))
    assert "task_ended" in "".join(text for batch in events for text in batch)
    assert await house.rows("SELECT count(*) FROM event WHERE kind LIKE '%progress%'") == [(0,)]
    follower.close()


async def test_an_operation_looks_at_each_file_once_and_only_at_those_it_needs(house: House, workflow: int) -> None:
    """SEMANTICS 4.1, 5.1"""
    house.scanner.scanned.clear()
    await house.run(Reinit, workflow)
    assert [sorted(paths) for paths in house.scanner.scanned] == [["/submitted/x", "/submitted/y"]]
    house.scanner.scanned.clear()
    await house.run(ResetJobs, workflow, jobs=[2])
    assert house.scanner.scanned == []
    await house.run(Prepare, workflow)
    assert house.scanner.scanned == [["/submitted/y"]]


# ---- 6.4 ----


async def test_a_request_key_finds_its_task_also_when_that_has_ended(house: House, workflow: int) -> None:
    """SEMANTICS 6.4"""
    task = await house.run(Reinit, workflow, request_key="key")
    assert await house.send(workflow, Reinit(workflow_id=workflow, request_key="key")) == (task.task_id, True)
    found = await house.database.read(lambda db: find_by_key(db, "key"))
    assert found is not None
    assert (found.task_id, found.status) == (task.task_id, "succeeded")
    assert await house.rows("SELECT run_id FROM workflow") == [(2,)]
    assert (await house.run(Reinit, workflow, request_key="other")).task_id == task.task_id + 1


async def test_a_request_is_the_same_under_its_key_whatever_has_happened_since(house: House) -> None:
    """SEMANTICS 6.4: what it left open is what it was then, also when the workflow would refuse it now"""
    workflow_id = await house.create(chained("a"))
    first = await house.run(Prepare, workflow_id, request_key="run")
    assert first.operation == "initialize"
    reset = await house.run(ResetStatus, workflow_id, request_key="reset", reinitialize=True)
    requests = {
        first.task_id: Prepare(workflow_id=workflow_id, request_key="run"),
        reset.task_id: ResetStatus(workflow_id=workflow_id, request_key="reset", reinitialize=True, detect="mtime"),
    }
    gate = house.scanner.hold()
    active = await house.begin(Restart, workflow_id)
    for task_id, request in requests.items():
        assert await house.send(workflow_id, request) == (task_id, True)
    gate.set()
    await house.wait(active)
    await house.send(workflow_id, ArchiveWorkflow(workflow_id=workflow_id))
    for task_id, request in requests.items():
        assert await house.send(workflow_id, request) == (task_id, True)
    assert len(await house.rows("SELECT 1 FROM task")) == 3


async def test_a_key_that_another_request_has_used_is_a_conflict(house: House, workflow: int) -> None:
    """SEMANTICS 6.4"""
    task = await house.run(Reinit, workflow, request_key="key")
    other = await house.create(chained("z"))
    for request in (
        Reinit(workflow_id=workflow, request_key="key", force=True),
        Restart(workflow_id=workflow, request_key="key"),
        Prepare(workflow_id=workflow, request_key="key"),
        Reinit(workflow_id=other, request_key="key"),
    ):
        with pytest.raises(Conflict, match=f"'key' belongs to task {task.task_id}.*use a new key") as no:
            await house.send(request.workflow_id, request)
        assert no.value.data == {"task_id": task.task_id, "operation": "reinit", "params": task.params}
    assert len(await house.rows("SELECT 1 FROM task")) == 2


async def test_a_key_that_two_workflows_use_at_once_makes_one_task(house: House, workflow: int) -> None:
    """SEMANTICS 6.4: both have looked for it before either is written"""
    other = await house.create(chained("z"))
    await house.run(Initialize, other)
    house.database.commit_gate = gate = trio.Event()
    messages = []
    for at in (workflow, other):
        house.database.commit_begun = trio.Event()
        messages += house.post(at, Reinit(workflow_id=at, request_key="key"))
        await house.database.commit_begun.wait()
    house.database.commit_gate = None
    gate.set()
    with trio.fail_after(10):
        outcomes = [await outcome_of(message) for message in messages]
    assert sum(isinstance(each, Conflict) for each in outcomes) == 1
    assert await house.rows("SELECT count(*) FROM task WHERE request_key = 'key'") == [(1,)]
    assert (await house.run(Reinit, other)).status == "succeeded", "its actor goes on"


# ---- 6.6 ----


async def test_a_task_that_a_former_daemon_left_behind_has_failed(house: House) -> None:
    """SEMANTICS 6.6"""
    workflow_id = await house.create(chained("a"))
    begin = TaskBegin(operation="reinit", params="{}", requested_by="", request_key=None, at_ms=1)
    task_id = await house.database.commit(lambda db: begin_task(db, workflow_id, begin))
    waiting = house.supervisor.task_end(task_id)
    assert (await house.run(Initialize, workflow_id)).status == "succeeded", "it does not hold the slot"
    task = await house.task(task_id)
    assert (task.status, task.error, task.error_code) == ("failed", ABANDONED, 503)
    assert waiting.is_set(), "whoever waited is told"


# ---- 6.7 ----


async def test_a_task_is_canceled_while_it_prepares(house: House, workflow: int) -> None:
    """SEMANTICS 6.7"""
    house.disk.touch("x")
    task_id, gate = await held(house, workflow)
    ended = house.supervisor.task_end(task_id)
    assert await house.send(workflow, CancelTask(task_id=task_id)) is True
    assert ended.is_set()
    task = await house.task(task_id)
    assert (task.status, task.error) == ("canceled", None)
    gate.set()
    await house.settle(workflow)
    assert await house.rows("SELECT run_id FROM workflow") == [(1,)]
    assert await house.send(workflow, CancelTask(task_id=task_id)) is False, "it has ended"
    assert await house.send(workflow, CancelTask(task_id=77)) is False
    assert (await house.run(Reinit, workflow)).status == "succeeded", "the slot is free"


async def test_a_task_that_is_prepared_while_it_is_being_canceled_is_not_applied(house: House, workflow: int) -> None:
    """SEMANTICS 6.7"""
    task_id, gate = await held(house, workflow)
    house.database.commit_gate = trio.Event()
    (canceled,) = house.post(workflow, CancelTask(task_id=task_id))
    await house.database.commit_begun.wait()
    gate.set()
    with trio.fail_after(DEADLINE_S):
        while house.actor(workflow).mailbox.is_empty:  # what was prepared is queued behind the cancel
            await trio.lowlevel.checkpoint()
    house.database.commit_gate.set()
    house.database.commit_gate = None
    assert await answer_of(canceled) is True
    await house.settle(workflow)
    assert (await house.task(task_id)).status == "canceled"
    assert await house.rows("SELECT run_id FROM workflow") == [(1,)]


async def test_two_cancels_at_once_cancel_once(house: House, workflow: int) -> None:
    """SEMANTICS 6.7"""
    task_id, _ = await held(house, workflow)
    messages = house.post(workflow, CancelTask(task_id=task_id), CancelTask(task_id=task_id))
    assert (await answer_of(messages[0])) is True
    await answer_of(messages[1])
    events = await house.rows("SELECT count(*) FROM event WHERE kind = 'task_ended' AND data LIKE '%canceled%'")
    assert events == [(1,)]


async def test_a_cancel_that_comes_with_the_next_operation_leaves_room_for_it(house: House, workflow: int) -> None:
    """SEMANTICS 6.1, 6.7: both in one group"""
    task_id, gate = await held(house, workflow)
    house.scanner._gate = None
    canceled, begun = house.post(workflow, CancelTask(task_id=task_id), Restart(workflow_id=workflow))
    assert await answer_of(canceled) is True
    next_id, existing = await answer_of(begun)
    assert (next_id, existing) == (task_id + 1, False)
    gate.set()
    assert (await house.wait(next_id)).status == "succeeded"


async def test_a_task_whose_commit_begins_is_not_canceled(house: House, workflow: int) -> None:
    """SEMANTICS 6.7: until the commit begins"""
    task_id, gate = await held(house, workflow)
    ended = house.supervisor.task_end(task_id)
    gate.set()
    await ended.wait()
    assert await house.send(workflow, CancelTask(task_id=task_id)) is False
    assert (await house.task(task_id)).status == "succeeded"


# ---- what else asks for the slot ----


async def test_a_workflow_with_live_jobs_is_not_deleted(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    launches = await hand.claim()
    with pytest.raises(Conflict, match="2 jobs under way"):
        await house.send(workflow, DeleteWorkflow(workflow_id=workflow))
    await hand.report(returned=[ref(launch) for launch in launches.values()])
    await house.send(workflow, DeleteWorkflow(workflow_id=workflow))
    assert await house.rows("SELECT count(*) FROM workflow") == [(0,)]


async def test_a_task_and_a_dry_run_that_live_jobs_refuse_name_them_by_id_and_name(house: House, workflow: int) -> None:
    """SEMANTICS 5.2"""
    hand = await house.hire(workflow)
    launch = (await hand.claim())["a"]
    told = f"{launch.job_id} a (pending)"
    failed = await house.wait(await house.begin(ResetJobs, workflow, jobs=[launch.job_id]))
    assert (failed.status, failed.error_code) == ("failed", 409)
    assert told in (failed.error or "")
    with pytest.raises(Conflict) as no:
        await house.preview(ResetJobs, workflow, jobs=[launch.job_id])
    assert told in str(no.value)


async def test_a_job_writes_user_data_only_during_its_attempt(house: House, workflow: int) -> None:
    """SEMANTICS 5.3, 6.3"""
    hand: Hand = await house.hire(workflow)
    launch = (await hand.claim())["a"]

    def write(data: object, attempt: int) -> UpdateUserData:
        return UpdateUserData(workflow_id=workflow, name="u", data=data, job_id=launch.job_id, attempt_id=attempt)

    await house.send(workflow, write(1, launch.attempt_id))
    with pytest.raises(Conflict, match="not under way any more"):
        await house.send(workflow, write(2, launch.attempt_id + 1))
    await hand.finish(launch)
    with pytest.raises(Conflict):
        await house.send(workflow, write(3, launch.attempt_id))
    assert await house.rows("SELECT data FROM user_data_version WHERE user_data_id = 1") == [("1",)]


async def test_too_large_a_value_is_refused_naming_the_limit(house: House, workflow: int) -> None:
    with pytest.raises(Refused, match="262144 bytes"):
        await house.send(workflow, UpdateUserData(workflow_id=workflow, name="given", data="x" * 300_000))
