"""Actions as actors carry them out: queued, running, ended, and what crashes leave of that (SEMANTICS 2.7)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from actor_rig import DEADLINE_S, Hand, House, open_house
from builders import chained, job

from torcd.actors import firings as module
from torcd.actors.means import Means
from torcd.actors.messages import FiringBegins, Nudge
from torcd.protocol.actions import Firing
from torcd.protocol.edits import ArchiveWorkflow
from torcd.protocol.errors import Conflict, Refused, TorcError, Unavailable
from torcd.protocol.requests import CancelWorkflow, DeleteWorkflow, Initialize, ResetStatus
from torcd.protocol.specification import ActionSpec, SlurmSchedulerSpec
from torcd.shell import Order

SCHEDULER = SlurmSchedulerSpec(name="s")


def run_commands(trigger: Any, **more: Any) -> ActionSpec:
    return ActionSpec(trigger_type=trigger, action_type="run_commands", commands=["true"], **more)


def nodes(trigger: Any = "on_jobs_ready", **more: Any) -> ActionSpec:
    about = {"jobs": ["b"]} if trigger == "on_jobs_ready" else {}
    return ActionSpec(trigger_type=trigger, action_type="schedule_nodes", **about, **more)


class Shell:
    """Stands for `torcd.shell.run_commands`: notes what it was asked, and ends when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.orders: list[Order] = []
        self.begun = trio.Event()
        self.gate = trio.Event()
        self.gate.set()
        self.code = 0
        self.error: OSError | None = None
        monkeypatch.setattr(module, "run_commands", self)

    async def __call__(self, order: Order, on_start: Callable[[int], object]) -> int:
        self.orders.append(order)
        on_start(4711)
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(monkeypatch)


class Slurm:
    """Stands for the allocator."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.error: TorcError | None = None
        self.silences = 0
        """How many of the next questions it does not answer."""

    async def __call__(self, workflow_id: int, **what: Any) -> tuple[list[int], list[str]]:
        await trio.lowlevel.checkpoint()
        self.asked.append(what)
        if self.silences:
            self.silences -= 1
            raise Unavailable("Slurm has not answered")
        if self.error is not None:
            raise self.error
        return [31, 32], ["the queue is long"]


async def firing_rows(house: House) -> list[tuple[Any, ...]]:
    return await house.rows("SELECT action_id, number, status FROM firing ORDER BY id")


async def until(house: House, *expected: tuple[int, int, str]) -> None:
    """Waits for a state of the firings of the only workflow."""
    with trio.fail_after(DEADLINE_S):
        while await firing_rows(house) != list(expected):
            await house.settle(1)


async def test_a_firing_is_noted_with_its_change_before_anything_is_done(house: House, shell: Shell) -> None:
    workflow_id = await house.create(chained("a>b"), actions=[run_commands("on_workflow_start")])
    shell.gate = trio.Event()
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "running"))
    shell.gate.set()
    await until(house, (1, 1, "succeeded"))
    (order,) = shell.orders
    assert (order.commands, order.directory) == (["true"], "/submitted")
    assert order.stdout_path == f"/submitted/.torc/{workflow_id}/action_1_1.o"
    assert order.environment["TORC_WORKFLOW_ID"] == str(workflow_id)
    await house.check(workflow_id)
    kinds = [row[0] for row in await house.rows("SELECT kind FROM event ORDER BY seq")]
    assert kinds[-2:] == ["action_fired", "action_ended"]


async def test_jobs_wait_for_the_commands_at_the_start(house: House, shell: Shell) -> None:
    workflow_id = await house.create([job("a")], actions=[run_commands("on_workflow_start")])
    shell.gate = trio.Event()
    hand = await house.hire(workflow_id)
    waiting = await hand.listen()
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "running"))
    await shell.begun.wait()
    assert await hand.claim() == {}
    waiting = await hand.listen()
    assert not waiting.reply.is_given
    actor = house.actor(workflow_id)
    (wait,) = actor.roster.find_hindrances(0)
    assert wait.kind == "action"
    assert wait.why == "for the end of the commands of on_workflow_start (`kill -- -4711` on the daemon's host)"
    shell.gate.set()
    with trio.fail_after(DEADLINE_S):
        answer = await waiting.reply.wait()
    assert [launch.name for launch in answer.jobs] == ["a"]


async def test_commands_that_fail_or_cannot_be_run_hold_nothing_up(house: House, shell: Shell) -> None:
    actions = [run_commands("on_workflow_start"), run_commands("on_workflow_complete")]
    workflow_id = await house.create([job("a")], actions=actions)
    shell.code = 3
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "failed"))
    shell.error = OSError("no such disk")
    hand = await house.hire(workflow_id)
    assert await hand.work() == ["a"]
    await until(house, (1, 1, "failed"), (2, 1, "failed"))
    rows = await house.rows("SELECT return_code, error FROM firing ORDER BY id")
    assert rows[0][0] == 3
    assert rows[1] == (None, "the commands could not be run: no such disk")


async def test_nodes_are_asked_for_under_a_key_of_the_firing(house: House) -> None:
    slurm = Slurm()
    house.supervisor.means = Means(schedule=slurm)
    action = nodes(num_allocations=2, max_parallel_jobs=4)
    workflow_id = await house.create(chained("a>b"), actions=[action], slurm_schedulers=[SCHEDULER])
    await house.run(Initialize, workflow_id)
    hand = await house.hire(workflow_id)
    (launch,) = (await hand.claim()).values()
    assert slurm.asked == []
    await hand.finish(launch)
    await until(house, (1, 1, "succeeded"))
    assert slurm.asked == [
        {
            "count": 2,
            "scheduler": None,
            "max_parallel_jobs": 4,
            "requested_by": "action 1 (on_jobs_ready)",
            "request_key": "action-1-1",
        }
    ]
    assert await house.rows("SELECT allocations FROM firing") == [("[31,32]",)]


async def test_nodes_are_asked_for_again_under_the_same_key_after_a_crash(tmp_path: Path) -> None:
    """Whoever schedules knows what was asked under a key: nothing is submitted twice, and nothing forgotten."""
    slurm = Slurm()
    async with open_house(tmp_path / "torc.db") as house:
        workflow_id = await house.create([job("a")], actions=[nodes("on_workflow_start")], slurm_schedulers=[SCHEDULER])
        house.supervisor.means = Means(schedule=slurm)
        await house.run(Initialize, workflow_id)
        await until(house, (1, 1, "succeeded"))
    async with open_house(tmp_path / "torc.db") as house:
        await house.database.commit(lambda db: db.execute("UPDATE firing SET status = 'running'").rowcount)
        house.supervisor.means = Means(schedule=slurm)
        await house.send(workflow_id, Nudge())
        await until(house, (1, 1, "succeeded"))
    first, second = slurm.asked
    assert first == second


async def test_what_the_scheduler_says_is_kept(house: House) -> None:
    slurm = Slurm()
    slurm.error = Refused("sbatch: error: invalid account")
    house.supervisor.means = Means(schedule=slurm)
    workflow_id = await house.create([job("a")], actions=[nodes("on_workflow_start")], slurm_schedulers=[SCHEDULER])
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "failed"))
    assert await house.rows("SELECT error FROM firing") == [("sbatch: error: invalid account",)]
    assert len(slurm.asked) == 1


async def test_nodes_are_asked_for_under_the_same_key_until_slurm_answers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is there at night to ask again after a minute without a controller."""
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    slurm = Slurm()
    slurm.silences = 3
    house.supervisor.means = Means(schedule=slurm)
    workflow_id = await house.create([job("a")], actions=[nodes("on_workflow_start")], slurm_schedulers=[SCHEDULER])
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "succeeded"))
    assert slurm.asked == [slurm.asked[0]] * 4


async def test_a_canceled_workflow_waits_for_no_nodes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    slurm = Slurm()
    slurm.silences = 10**6
    house.supervisor.means = Means(schedule=slurm)
    workflow_id = await house.create([job("a")], actions=[nodes("on_workflow_start")], slurm_schedulers=[SCHEDULER])
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "running"))
    await house.send(workflow_id, CancelWorkflow(workflow_id=workflow_id))
    await until(house, (1, 1, "failed"))
    assert await house.rows("SELECT error FROM firing") == [("Slurm has not answered",)]


async def test_a_daemon_without_slurm_says_so(house: House) -> None:
    workflow_id = await house.create([job("a")], actions=[nodes("on_workflow_start")], slurm_schedulers=[SCHEDULER])
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "failed"))
    ((error,),) = await house.rows("SELECT error FROM firing")
    assert "submits nothing to Slurm" in error


async def test_two_firings_of_an_action_never_run_together(house: House, shell: Shell) -> None:
    workflow_id = await house.create([job("a")], actions=[run_commands("on_jobs_ready", jobs=["a"])])
    shell.gate = trio.Event()
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "running"))
    hand = await house.hire(workflow_id)
    assert await hand.work() == ["a"]
    await house.run(ResetStatus, workflow_id, reinitialize=True)
    await until(house, (1, 1, "running"), (1, 2, "queued"))
    shell.gate.set()
    await until(house, (1, 1, "succeeded"), (1, 2, "succeeded"))
    assert [order.stdout_path[-6:] for order in shell.orders] == ["_1_1.o", "_1_2.o"]


# ---- failures ----


async def test_a_commit_that_fails_fires_once_when_it_succeeds(house: House, shell: Shell) -> None:
    workflow_id = await house.create(chained("a>b"), actions=[run_commands("on_jobs_complete", jobs=["a"])])
    await house.run(Initialize, workflow_id)
    hand: Hand = await house.hire(workflow_id)
    (launch,) = (await hand.claim()).values()
    end = hand.end(launch)
    house.database.failing_commits = 1
    with pytest.raises(Exception, match="the disk is full"):
        await hand.report(ended=[end])
    assert await firing_rows(house) == []
    await hand.report(ended=[end])
    await until(house, (1, 1, "succeeded"))
    assert len(shell.orders) == 1
    await house.check(workflow_id)


async def test_a_begin_that_cannot_be_noted_is_tried_again(
    house: House, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torcd.actors.workflow.REPEAT_S", 0.01)
    workflow_id = await house.create([job("a")], actions=[run_commands("on_jobs_ready", jobs=["a"])])
    actor_began = house.supervisor.post(workflow_id, Nudge())
    await actor_began.reply.wait()
    posted = house.actor(workflow_id).mailbox.post

    async def fail_then_post(body: object) -> None:
        if isinstance(body, FiringBegins) and not shell.orders and not failed:
            failed.append(True)
            house.database.failing_commits = 1
        await posted(body)

    failed: list[bool] = []
    monkeypatch.setattr(house.actor(workflow_id).mailbox, "post", fail_then_post)
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "succeeded"))
    assert failed
    assert len(shell.orders) == 1


async def test_a_message_of_another_life_begins_nothing(house: House, shell: Shell) -> None:
    workflow_id = await house.create([job("a")], actions=[run_commands("on_jobs_ready", jobs=["a"])])
    shell.gate = trio.Event()
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "running"))
    again = FiringBegins(Firing(action_id=1, number=1, run_id=1))
    house.post(workflow_id, again, again, FiringBegins(Firing(action_id=9, number=1, run_id=1)))
    await house.settle(workflow_id)
    shell.gate.set()
    await until(house, (1, 1, "succeeded"))
    assert len(shell.orders) == 1


async def test_a_workflow_is_kept_while_its_actions_are_under_way(house: House, shell: Shell) -> None:
    workflow_id = await house.create([job("a")], actions=[run_commands("on_jobs_ready", jobs=["a"])])
    shell.gate = trio.Event()
    await house.run(Initialize, workflow_id)
    await until(house, (1, 1, "running"))
    await shell.begun.wait()
    for request in (DeleteWorkflow(workflow_id=workflow_id), ArchiveWorkflow(workflow_id=workflow_id)):
        with pytest.raises(Conflict, match=r"1 action has not ended.*`kill -- -4711`"):
            await house.send(workflow_id, request)
    shell.gate.set()
    await until(house, (1, 1, "succeeded"))
    await house.send(workflow_id, DeleteWorkflow(workflow_id=workflow_id))
    assert await house.rows("SELECT (SELECT count(*) FROM action), (SELECT count(*) FROM firing)") == [(0, 0)]


@pytest.mark.parametrize(("status", "then", "begun"), [("queued", "succeeded", 1), ("running", "interrupted", 0)])
async def test_the_next_daemon_begins_what_was_queued_and_gives_up_what_ran(
    tmp_path: Path, shell: Shell, status: str, then: str, begun: int
) -> None:
    """At most once: what had begun may have been done."""
    path = tmp_path / "torc.db"
    async with open_house(path) as house:
        workflow_id = await house.create([job("a")], actions=[run_commands("on_jobs_ready", jobs=["a"])])
        shell.gate = trio.Event()
        await house.run(Initialize, workflow_id)
        await until(house, (1, 1, "running"))
    shell.orders.clear()
    shell.gate.set()
    async with open_house(path) as house:
        await house.database.commit(lambda db: db.execute("UPDATE firing SET status = ?", (status,)).rowcount)
        await house.send(workflow_id, Nudge())
        await until(house, (1, 1, then))
        assert len(shell.orders) == begun
        await house.check(workflow_id)
        events = await house.rows("SELECT data ->> 'status' FROM event WHERE kind = 'action_ended'")
        assert events == [(then,)]
