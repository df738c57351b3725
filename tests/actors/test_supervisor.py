"""Supervision: actors that crash, workflows that are faulted, and the others that go on."""

from typing import Any

import pytest
import trio
from actor_rig import DEADLINE_S, House, answer_of, error_of, ref
from builders import chained

from torcd.actors import mailbox as mailbox_module
from torcd.actors import supervisor as supervisor_module
from torcd.actors import workflow as workflow_module
from torcd.actors.messages import CommitEdit, Nudge, Preview
from torcd.actors.supervisor import Supervisor
from torcd.bus import Subscription
from torcd.protocol.errors import Busy, NotFound, Unavailable
from torcd.protocol.requests import CancelWorkflow, DeleteWorkflow, Initialize, Reinit
from torcd.storage.nouns import load_events


class Bug(Exception):
    """What the tests have actors crash with."""


def crash(turn: Any) -> Any:
    raise Bug("on purpose")


BOMB = CommitEdit(crash)


@pytest.fixture
async def workflow(house: House) -> int:
    workflow_id = await house.create(chained("a", "b", "c"), ["f"])
    await house.run(Initialize, workflow_id)
    return workflow_id


async def blow_up(house: House, workflow: int) -> None:
    (message,) = house.post(workflow, BOMB)
    assert isinstance(await error_of(message), Unavailable)
    if workflow in house.supervisor._actors:  # it was started anew
        await house.settle(workflow)


# ---- crashes ----


async def test_a_crash_answers_what_was_under_way_and_what_is_queued_is_served_by_the_next_actor(
    house: House, workflow: int
) -> None:
    hand = await house.hire(workflow)
    first = house.actor(workflow)
    (bomb,) = house.post(workflow, BOMB)
    await trio.lowlevel.checkpoint()
    error = await error_of(bomb)
    assert isinstance(error, Unavailable)
    assert "crashed" in error.message
    await hand.register(hand.worker_id)
    assert list(await hand.claim()) == ["a", "b", "c"]
    assert house.actor(workflow) is not first
    await house.check(workflow)


async def test_messages_of_the_same_group_as_a_crash_are_all_answered(house: House, workflow: int) -> None:
    cancel = CancelWorkflow(workflow_id=workflow)
    before, bomb, after = house.post(workflow, cancel, BOMB, cancel)
    assert (await answer_of(before))["canceled"] == 3, "its commit came before the crash"
    assert isinstance(await error_of(bomb), Unavailable)
    assert isinstance(await error_of(after), Unavailable)


async def test_what_was_queued_behind_a_crash_is_not_lost(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mailbox is the supervisor's."""
    monkeypatch.setattr(mailbox_module, "GROUP_SIZE", 1)
    bomb, cancel = house.post(workflow, BOMB, CancelWorkflow(workflow_id=workflow))
    assert isinstance(await error_of(bomb), Unavailable)
    assert (await answer_of(cancel))["canceled"] == 3


async def test_a_crash_in_a_preparation_fails_the_task_and_wakes_who_waits(house: House, workflow: int) -> None:
    """SEMANTICS 6.6: nobody has to ask for anything else"""
    house.scanner.error = Bug("in the scan")
    task_id = await house.begin(Reinit, workflow)
    task = await house.wait(task_id)
    assert (task.status, task.error_code) == ("failed", 503)
    house.scanner.error = None
    assert (await house.run(Reinit, workflow)).status == "succeeded"


@pytest.mark.parametrize("crashes_before", [0, 3])
async def test_a_crash_after_the_commit_of_a_task_wakes_who_waits_for_it(
    house: House, workflow: int, crashes_before: int
) -> None:
    """SEMANTICS §5, 6.6: the row says succeeded exactly when the effects are there; also when it is the last crash"""
    for _ in range(crashes_before):
        await blow_up(house, workflow)
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    house.database.fatal_commit = trio.Event()
    gate.set()
    task = await house.wait(task_id)
    assert task.status == "succeeded"
    assert await house.rows("SELECT run_id FROM workflow") == [(2,)]


async def test_a_dry_run_that_crashes_its_actor_is_answered(house: House, workflow: int) -> None:
    house.scanner.error = Bug("in the scan")
    with pytest.raises(Unavailable):
        await house.preview(Reinit, workflow)


async def test_a_dry_run_under_way_at_a_crash_is_answered(house: House, workflow: int) -> None:
    house.scanner.hold()
    preview = Preview(Reinit(workflow_id=workflow))
    await house.send(workflow, preview)
    await house.scanner.begun.wait()
    await blow_up(house, workflow)
    with pytest.raises(Unavailable), trio.fail_after(30):
        await preview.reply.wait()


async def test_a_waiting_report_at_a_crash_is_answered(house: House, workflow: int) -> None:
    hand, other = await house.hire(workflow), await house.hire(workflow)
    await other.claim()
    waiting = await hand.listen()
    await blow_up(house, workflow)
    assert isinstance(await error_of(waiting), Unavailable)


async def test_after_a_crash_a_worker_has_to_register_again_and_keeps_its_jobs(house: House, workflow: int) -> None:
    """SEMANTICS 8.4: an actor that does not know the connection would let its lease end"""
    hand = await house.hire(workflow)
    launches = await hand.claim()
    await hand.report(started=[ref(launches["a"])])
    await blow_up(house, workflow)
    with pytest.raises(NotFound, match="register again"):
        await hand.report(jobs=1)
    await hand.register(hand.worker_id, [ref(launch) for launch in launches.values()])
    assert hand.registration["lost"] == []
    assert house.actor(workflow).roster._entries[hand.worker_id].lease is None
    await hand.finish(*launches.values())
    assert set((await house.status(workflow)).values()) == {"completed"}


async def test_leases_begin_after_a_crash_though_nobody_asks_for_anything(house: House, workflow: int) -> None:
    """SEMANTICS 8.4"""
    hand = await house.hire(workflow)
    await hand.claim()
    await blow_up(house, workflow)
    assert house.actor(workflow).roster._entries[hand.worker_id].lease is not None


@pytest.mark.parametrize("crashes_before", [0, 3])
async def test_followers_read_in_the_log_what_was_committed_and_never_published(
    house: House, workflow: int, crashes_before: int
) -> None:
    """SEMANTICS 7.1; also who asked only for what comes from now on, and also when it is the last crash"""
    for _ in range(crashes_before):
        await blow_up(house, workflow)
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    follower = house.bus.subscribe(workflow, None)
    house.database.fatal_commit = trio.Event()
    gate.set()
    await house.wait(task_id)
    assert await follow(house, follower) == ["operation", "task_ended"]
    follower.close()


async def test_followers_are_told_of_a_task_that_a_crash_ends(house: House, workflow: int) -> None:
    """SEMANTICS 6.6"""
    follower = house.bus.subscribe(workflow, None)
    house.scanner.error = Bug("in the scan")
    task_id = await house.begin(Reinit, workflow)
    assert (await house.wait(task_id)).status == "failed"
    assert await follow(house, follower) == ["task_ended"]
    follower.close()


async def follow(house: House, follower: Subscription) -> list[str]:
    """The kinds of what a follower is sent to the log for, which may be after whoever waited for a task was told."""
    with trio.fail_after(DEADLINE_S):
        while (after := follower.log_after()) is None:
            await follower.changed.wait()
    return [
        event.kind for event in await house.database.read(lambda db: load_events(db, follower.workflow_id, after, 100))
    ]


# ---- faulted ----


async def test_a_workflow_whose_actor_crashes_again_and_again_is_faulted_and_others_go_on(
    house: House, workflow: int
) -> None:
    other = await house.create(chained("z"))
    await house.run(Initialize, other)
    for _ in range(3):
        await blow_up(house, workflow)
    hand = await house.hire(workflow)
    assert len(await hand.claim()) == 3, "three crashes are forgiven"
    await blow_up(house, workflow)
    with pytest.raises(Unavailable, match=r"is faulted: its actor crashed 4 times.*Bug: on purpose"):
        await house.send(workflow, CancelWorkflow(workflow_id=workflow))
    assert workflow not in house.supervisor._actors
    elsewhere = await house.hire(other)
    assert await elsewhere.work() == ["z"]


async def test_crashes_far_apart_are_forgiven(house: House, workflow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "CRASH_WINDOW_S", 0.0)
    for _ in range(6):
        await blow_up(house, workflow)
    assert (await house.send(workflow, CancelWorkflow(workflow_id=workflow)))["canceled"] == 3


async def test_the_task_of_a_workflow_that_is_faulted_has_failed(house: House, workflow: int) -> None:
    """SEMANTICS 6.6"""
    for _ in range(3):
        await blow_up(house, workflow)
    house.scanner.error = Bug("in the scan")
    task_id = await house.begin(Reinit, workflow)
    assert (await house.wait(task_id)).status == "failed"
    with pytest.raises(Unavailable, match="faulted"):
        house.post(workflow, Nudge())


async def test_what_is_queued_when_a_workflow_is_faulted_is_answered(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await blow_up(house, workflow)
    monkeypatch.setattr(mailbox_module, "GROUP_SIZE", 1)
    for message in house.post(workflow, BOMB, CancelWorkflow(workflow_id=workflow), Nudge()):
        assert isinstance(await error_of(message), Unavailable)


# ---- finding actors ----


async def test_there_is_no_actor_for_a_workflow_that_does_not_exist(house: House) -> None:
    with pytest.raises(NotFound, match="no workflow 77"):
        await house.send(77, Nudge())
    with pytest.raises(NotFound):
        await house.send(77, Reinit(workflow_id=77))
    assert house.supervisor._actors == {}
    assert house.supervisor._mailboxes == {}


async def test_a_deleted_workflow_is_gone_for_those_that_come_later(house: House, workflow: int) -> None:
    follower = house.bus.subscribe(workflow, None)
    deleted, late = house.post(workflow, DeleteWorkflow(workflow_id=workflow), CancelWorkflow(workflow_id=workflow))
    await answer_of(deleted)
    assert isinstance(await error_of(late), NotFound)
    with pytest.raises(NotFound):
        await house.send(workflow, Nudge())
    assert follower.is_closed


async def test_a_waiting_report_of_a_deleted_workflow_is_answered(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    waiting = await hand.listen(jobs=0)
    await house.send(workflow, DeleteWorkflow(workflow_id=workflow))
    assert isinstance(await error_of(waiting), NotFound)


async def test_an_idle_actor_is_put_away_and_comes_back(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow_module, "IDLE_S", 0.01)
    gone = trio.Event()
    real = Supervisor._run_actor

    async def watched(self: Supervisor, actor: Any) -> None:
        await real(self, actor)
        gone.set()

    monkeypatch.setattr(Supervisor, "_run_actor", watched)
    other = await house.create(chained("z"))
    await house.run(Initialize, other)
    with trio.fail_after(30):
        await gone.wait()
    assert other not in house.supervisor._actors
    assert house.supervisor.published(other) is None
    hand = await house.hire(other)
    assert await hand.work() == ["z"]


async def test_an_actor_with_a_worker_is_not_put_away(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await house.create(chained("z"))
    await house.hire(other)
    actor = house.actor(other)
    assert not actor.roster.is_empty
    monkeypatch.setattr(workflow_module, "IDLE_S", 0.0)
    with trio.move_on_after(0.05):
        await actor._serve()
        pytest.fail("it ended")


async def test_too_many_requests_are_told_to_try_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "MAILBOX_SIZE", 3)
    workflow_id = await house.create(chained("a"))
    messages = house.post(workflow_id, Nudge(), Nudge(), Nudge())
    with pytest.raises(Busy, match="3 requests waiting"):
        house.post(workflow_id, Nudge())
    for message in messages:
        await answer_of(message)
    await house.send(workflow_id, Nudge())


async def test_everybody_may_read_what_an_actor_last_published(house: House, workflow: int) -> None:
    """SEMANTICS 6.5: queries do not wait behind anything"""
    published = house.supervisor.published(workflow)
    assert published is not None
    assert (published.run_id, published.total, published.counts, published.complete) == (1, 3, {"ready": 3}, False)
    await house.send(workflow, CancelWorkflow(workflow_id=workflow))
    published = house.supervisor.published(workflow)
    assert published is not None
    assert (published.counts, published.complete, published.is_canceled) == ({"canceled": 3}, True, True)


async def test_a_database_that_comes_back_revives_the_actor_that_has_a_task_to_end(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEMANTICS 6.6"""
    monkeypatch.setattr(supervisor_module, "REVIVE_S", 0.01)
    house.disk.write("f")
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    house.database.failing_commits = house.database.failing_loads = 1
    gate.set()
    task = await house.wait(task_id)
    assert task.status == "failed"


async def test_whoever_finds_a_task_ended_wakes_those_who_wait_for_it(house: House, workflow: int) -> None:
    """A commit can be read a moment before its actor tells of it."""
    waited_for = house.supervisor.task_end(7)
    house.supervisor.note_task_end(7)
    assert waited_for.is_set()
    assert house.supervisor.task_end(7) is not waited_for
