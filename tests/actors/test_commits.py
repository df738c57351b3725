"""Commits that fail: the state is loaded anew, and the messages of the group are tried one by one."""

import pytest
import trio
import trio.testing
from actor_rig import House, answer_of, error_of, ref
from builders import chained

from torcd.actors import supervisor as supervisor_module
from torcd.actors import workflow as workflow_module
from torcd.actors.messages import LeaseEnded
from torcd.protocol.errors import NotFound, Unavailable
from torcd.protocol.requests import CancelTask, CancelWorkflow, Initialize, Reinit, UpdateUserData
from torcd.protocol.specification import UserDataSpec
from torcd.protocol.worker_requests import ReportWorker
from torcd.storage.faults import Damaged


@pytest.fixture
async def workflow(house: House) -> int:
    """Three jobs, ready, and a value."""
    workflow_id = await house.create(chained("a", "b", "c"), ["f"], [UserDataSpec(name="u", data=0)])
    assert (await house.run(Initialize, workflow_id)).status == "succeeded"
    return workflow_id


async def test_messages_that_arrive_together_are_one_transaction(house: House, workflow: int) -> None:
    """Group commit."""
    hands = [await house.hire(workflow) for _ in range(3)]
    before = house.database.commits
    messages = house.post(workflow, *(hand.request(jobs=1) for hand in hands))
    names = [launch.name for message in messages for launch in (await answer_of(message)).jobs]
    assert names == ["a", "b", "c"]
    assert house.database.commits == before + 1


async def test_a_failed_group_is_tried_one_by_one(house: House, workflow: int) -> None:
    hands = [await house.hire(workflow) for _ in range(3)]
    house.database.failing_commits = 1
    messages = house.post(workflow, *(hand.request(jobs=1) for hand in hands))
    names = [launch.name for message in messages for launch in (await answer_of(message)).jobs]
    assert names == ["a", "b", "c"], "nothing that was decided in the failed group is left"
    await house.check(workflow)


async def test_one_message_that_cannot_be_committed_fails_alone(house: House, workflow: int) -> None:
    hands = [await house.hire(workflow) for _ in range(3)]
    house.database.failing_commits = 2  # the group, then its first message
    messages = house.post(workflow, *(hand.request(jobs=1) for hand in hands))
    assert isinstance(await error_of(messages[0]), Unavailable)
    names = [launch.name for message in messages[1:] for launch in (await answer_of(message)).jobs]
    assert names == ["a", "b"]
    await house.check(workflow)


async def test_a_refusal_in_a_failed_group_is_given_once(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    house.database.failing_commits = 1
    unknown, quiet, claim = house.post(workflow, ReportWorker(worker_id=9), hand.request(), hand.request(jobs=3))
    assert isinstance(await error_of(unknown), NotFound)
    assert (await answer_of(quiet)).jobs == []
    assert len((await answer_of(claim)).jobs) == 3


async def test_when_nothing_can_be_written_everybody_is_told_and_nothing_is_changed(
    house: House, workflow: int
) -> None:
    hand = await house.hire(workflow)
    before = await house.database.read(lambda db: list(db.iterdump()))
    house.database.failing_commits = 4
    write = UpdateUserData(workflow_id=workflow, name="u", data=1)
    messages = house.post(workflow, hand.request(jobs=3), write, CancelWorkflow(workflow_id=workflow))
    for message in messages:
        assert isinstance(await error_of(message), Unavailable)
    assert await house.database.read(lambda db: list(db.iterdump())) == before
    await house.check(workflow)
    assert list(await hand.claim()) == ["a", "b", "c"]


async def test_a_disk_that_fails_is_not_tried_with_every_report(house: House, workflow: int) -> None:
    """Each try would load the state anew: a thousand workers repeat their reports every second."""
    hands = [await house.hire(workflow) for _ in range(20)]
    house.database.attempts, house.database.failing_commits = 0, 1000
    for message in house.post(workflow, *(hand.request(jobs=1) for hand in hands)):
        assert isinstance(await error_of(message), Unavailable)
    assert house.database.attempts == 1 + workflow_module.MOST_FAILURES
    house.database.failing_commits = 0
    assert list(await hands[-1].claim()) == ["a", "b", "c"]
    await house.check(workflow)


async def test_what_timers_and_sessions_tell_is_not_lost_to_a_full_disk(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEMANTICS 8.4: a lease that ends meanwhile has ended"""
    monkeypatch.setattr(workflow_module, "REPEAT_S", 0.01)
    hand = await house.hire(workflow)
    await hand.report(started=[ref(launch) for launch in (await hand.claim()).values()])
    await answer_of(hand.hang_up())
    entry = house.actor(workflow).roster._entries[hand.worker_id]
    house.database.failing_commits = 3
    assert entry.lease is not None
    (message,) = house.post(workflow, LeaseEnded(hand.worker_id, entry.lease))
    await error_of(message)
    with trio.fail_after(30):
        while not house.actor(workflow).roster.is_empty:  # noqa: ASYNC110  # nothing tells of it
            await trio.sleep(0.01)
    assert set((await house.status(workflow)).values()) == {"terminated"}
    await house.check(workflow)


# ---- commits of which it is not known whether they were made ----


@pytest.fixture
def reviving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "REVIVE_S", 0.01)


@pytest.mark.usefixtures("reviving")
@pytest.mark.parametrize("made", [True, False])
async def test_a_claim_in_doubt_is_settled_when_its_worker_registers_again(
    house: House, workflow: int, made: bool
) -> None:
    """SEMANTICS 8.4: what a worker does not know of it cannot run, so that comes back"""
    hand = await house.hire(workflow)
    house.database.doubtful_commit = made
    with pytest.raises(Unavailable, match="in the middle of a commit"):
        await hand.claim()
    with pytest.raises(NotFound, match="register again"):
        await hand.report(jobs=3)
    await hand.register(hand.worker_id)
    launches = await hand.claim()
    assert [launch.attempt_id for launch in launches.values()] == [2 if made else 1] * 3
    await house.check(workflow)


@pytest.mark.usefixtures("reviving")
@pytest.mark.parametrize("made", [True, False])
async def test_an_end_in_doubt_leaves_one_result(house: House, workflow: int, made: bool) -> None:
    """SEMANTICS 5.3"""
    hand = await house.hire(workflow)
    launches = await hand.claim()
    end = hand.end(launches["a"])
    house.database.doubtful_commit = made
    with pytest.raises(Unavailable):
        await hand.report(ended=[end])
    await hand.register(hand.worker_id, [ref(launch) for launch in launches.values()])
    assert hand.registration["lost"] == []
    assert (await hand.report(ended=[end])).refused == []
    assert await house.rows("SELECT count(*) FROM result") == [(1,)]
    assert (await house.status(workflow))["a"] == "completed"


@pytest.mark.usefixtures("reviving")
@pytest.mark.parametrize("made", [True, False])
async def test_a_task_in_doubt_says_succeeded_exactly_when_its_effects_are_there(
    house: House, workflow: int, made: bool
) -> None:
    """SEMANTICS §5; whoever waits is told in either case"""
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    house.database.doubtful_commit = made
    gate.set()
    task = await house.wait(task_id)
    assert task.status == ("succeeded" if made else "failed")
    assert await house.rows("SELECT run_id FROM workflow") == [(2 if made else 1,)]


async def test_an_actor_is_revived_when_its_database_is_not_damaged_any_more(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: each try would fail, and fill the daemon's log."""
    monkeypatch.setattr(supervisor_module, "REVIVE_S", 0.01)
    health = house.database.health
    health.meet(Damaged("the database is damaged", sqlite="SQLITE_CORRUPT"))
    house.database.failing_loads = 1
    (message,) = house.post(workflow, CancelWorkflow(workflow_id=workflow))
    assert isinstance(await error_of(message), Unavailable)
    with trio.move_on_after(0.1):
        await trio.sleep_forever()
    assert workflow not in house.supervisor._actors

    async def find(thorough: bool) -> None:
        await trio.lowlevel.checkpoint()

    await health.check(find, thorough=True)
    with trio.fail_after(30):
        while workflow not in house.supervisor._actors:  # noqa: ASYNC110  # nothing tells of it
            await trio.sleep(0.01)


async def test_nothing_is_published_of_a_failed_commit(house: House, workflow: int) -> None:
    """SEMANTICS 7.1"""
    follower = house.bus.subscribe(workflow, None)
    hand = await house.hire(workflow)
    house.database.failing_commits = 1
    (message,) = house.post(workflow, hand.request(jobs=1))
    await error_of(message)
    assert follower.take() == []
    published = house.supervisor.published(workflow)
    assert published is not None
    assert published.counts == {"ready": 3}
    await hand.claim(1)
    assert len(follower.take()) == 1
    follower.close()


async def test_a_task_that_cannot_be_committed_has_failed_and_nothing_is_changed(house: House, workflow: int) -> None:
    """SEMANTICS §5: the task's row says succeeded exactly when its effects are there"""
    house.disk.write("f")
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    house.database.failing_commits = 1
    gate.set()
    task = await house.wait(task_id)
    assert (task.status, task.error_code) == ("failed", 503)
    assert await house.rows("SELECT run_id FROM workflow") == [(1,)]
    await house.check(workflow)
    assert (await house.run(Reinit, workflow)).status == "succeeded"


async def test_a_task_that_cannot_be_begun_holds_no_slot(house: House, workflow: int) -> None:
    """SEMANTICS 6.1"""
    house.database.failing_commits = 1
    with pytest.raises(Unavailable):
        await house.begin(Reinit, workflow)
    assert (await house.run(Reinit, workflow)).status == "succeeded"


async def test_a_cancel_of_a_task_that_cannot_be_committed_leaves_the_task_as_it_was(
    house: House, workflow: int
) -> None:
    """SEMANTICS 6.1, 6.7"""
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    house.database.failing_commits = 1
    with pytest.raises(Unavailable):
        await house.send(workflow, CancelTask(task_id=task_id))
    assert (await house.task(task_id)).status == "running"
    assert await house.send(workflow, Reinit(workflow_id=workflow)) == (task_id, True)
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"


async def test_a_registration_that_fails_is_none(house: House, workflow: int) -> None:
    house.database.failing_commits = 1
    with pytest.raises(Unavailable):
        await house.hire(workflow)
    assert house.actor(workflow).roster.is_empty
    assert await house.rows("SELECT count(*) FROM worker") == [(0,)]


async def test_a_lost_connection_is_noticed_though_a_commit_beside_it_fails(house: House, workflow: int) -> None:
    """SEMANTICS 8.4"""
    gone, other = await house.hire(workflow), await house.hire(workflow)
    waiting = await gone.listen(jobs=None)
    house.database.failing_commits = 1
    claim = other.request(jobs=1)
    messages = house.post(workflow, claim)
    hang_up = gone.hang_up()
    assert len((await answer_of(messages[0])).jobs) == 1
    await answer_of(hang_up)
    assert (await answer_of(waiting)).jobs == []
    assert house.actor(workflow).roster._entries[gone.worker_id].session is None


async def test_a_waiting_report_survives_a_failed_commit(house: House, workflow: int) -> None:
    hand, other = await house.hire(workflow), await house.hire(workflow)
    launches = await other.claim()
    waiting = await hand.listen(jobs=1)
    house.database.failing_commits = 1
    (failed,) = house.post(workflow, other.request(returned=[ref(launches["b"])]))
    await error_of(failed)
    assert not waiting.reply.is_given
    await other.report(returned=[ref(launches["b"])])
    assert [launch.name for launch in (await answer_of(waiting)).jobs] == ["b"]
    await house.check(workflow)


async def test_a_report_that_would_wait_is_tried_again_with_its_group(house: House, workflow: int) -> None:
    """It waits once, and is answered once."""
    hand, other = await house.hire(workflow), await house.hire(workflow)
    launches = await other.claim()
    house.database.failing_commits = 1
    waiting, ended = house.post(workflow, hand.request(jobs=1, wait_s=60), other.request(returned=[ref(launches["c"])]))
    await answer_of(ended)
    assert [launch.name for launch in (await answer_of(waiting)).jobs] == ["c"]
    await house.check(workflow)


async def test_a_database_that_cannot_be_loaded_ends_the_actor_and_not_the_workflow(
    house: House, workflow: int
) -> None:
    """No crash: after any number of them the workflow is not faulted."""
    for _ in range(6):
        hand = await house.hire(workflow)
        house.database.failing_commits = house.database.failing_loads = 1
        first, second = house.post(workflow, hand.request(jobs=1), hand.request(jobs=1))
        for message in (first, second):
            assert isinstance(await error_of(message), Unavailable)
        await house.settle(workflow)
    assert await house.status(workflow) == dict.fromkeys("abc", "ready")
    hand = await house.hire(workflow)
    assert list(await hand.claim()) == ["a", "b", "c"]


async def test_a_caller_that_goes_away_cancels_nothing(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    with trio.CancelScope() as scope:
        scope.cancel()
        await house.supervisor.send(workflow, hand.request(jobs=3))
    await house.settle(workflow)
    assert await house.status(workflow) == dict.fromkeys("abc", "pending")
