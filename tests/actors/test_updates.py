"""Updates of a workflow whose actor has workers, tasks, dry runs and other things to do (SEMANTICS 5.7)."""

import json
from typing import Any

import pytest
from actor_rig import House, answer_of, error_of, ref
from builders import job, new_specification

from torcd.actors import workflow as workflow_module
from torcd.actors.messages import MakeUpdate, Preview
from torcd.protocol.errors import Conflict, Unavailable
from torcd.protocol.requests import CancelTask, CancelWorkflow, Initialize, Prepare, Reinit, ResetJobs

A, B, C = job("a", output_files=["y"]), job("b", input_files=["y"]), job("c")


def change(*jobs: Any, expect: str | None = None, **options: Any) -> MakeUpdate:
    """The message of an update to these jobs."""
    return MakeUpdate(new_specification(jobs, **options), expect)


@pytest.fixture
async def workflow(house: House) -> int:
    """a > b and c, initialized."""
    workflow_id = await house.create([A, B, C])
    assert (await house.run(Initialize, workflow_id)).status == "succeeded"
    return workflow_id


async def dump(house: House) -> list[str]:
    return await house.database.read(lambda db: list(db.iterdump()))


async def test_the_state_is_what_the_update_made_of_it(house: House, workflow: int) -> None:
    update, numbering = await house.send(workflow, change(A, B, job("d", depends_on=["b"])))
    await house.check(workflow)
    assert update.differences.count == 2
    assert (await house.ids(workflow))["d"] == numbering.jobs[2]
    assert await house.status(workflow) == {"a": "ready", "b": "blocked", "d": "uninitialized"}
    published = house.supervisor.published(workflow)
    assert published is not None
    assert (published.total, published.counts) == (3, {"ready": 1, "blocked": 1, "uninitialized": 1})


async def test_live_jobs_run_on_and_their_reports_count(house: House, workflow: int) -> None:
    """SEMANTICS 5.2, 5.3"""
    hand = await house.hire(workflow)
    launches = await hand.claim()
    await hand.report(started=[ref(launches["a"])])
    await house.send(workflow, change(A, C, job("d", input_files=["y"])))
    await hand.finish(launches["a"])
    assert await house.status(workflow) == {"a": "completed", "c": "pending", "d": "uninitialized"}
    await hand.report(returned=[ref(launches["c"])])
    await house.run(Prepare, workflow)
    assert sorted(await hand.work()) == ["c", "d"]
    await house.check(workflow)


async def test_a_worker_that_waits_is_handed_what_the_update_made_ready(house: House, workflow: int) -> None:
    """SEMANTICS 8.1"""
    busy, idle = await house.hire(workflow), await house.hire(workflow)
    await busy.claim()
    waiting = await idle.listen()
    await house.send(workflow, change(A, job("b"), C))
    assert [launch.name for launch in (await answer_of(waiting)).jobs] == ["b"]
    await house.check(workflow)


async def test_a_worker_that_waits_is_told_when_the_update_leaves_nothing_to_do(house: House, workflow: int) -> None:
    hand, idle = await house.hire(workflow), await house.hire(workflow)
    launches = await hand.claim(1)
    await hand.claim(1)
    waiting = await idle.listen()
    await house.send(workflow, CancelWorkflow(workflow_id=workflow))
    await answer_of(waiting)
    await hand.report(ended=[hand.end(launches["a"], stopped="by_user")])
    waiting = await idle.listen(jobs=None)
    await house.send(workflow, change())
    assert (await answer_of(waiting)).complete


async def test_a_claim_that_comes_first_refuses_the_update(house: House, workflow: int) -> None:
    """SEMANTICS 5.2: the comparison is made in the turn that commits"""
    hand = await house.hire(workflow)
    other = job("a", "other", output_files=["y"])
    claim, update, late = house.post(workflow, hand.request(jobs=1), change(other, B, C), hand.request(jobs=1))
    assert [launch.name for launch in (await answer_of(claim)).jobs] == ["a"]
    refusal = await error_of(update)
    assert isinstance(refusal, Conflict)
    assert refusal.data["names"] == ["a"]
    assert [launch.name for launch in (await answer_of(late)).jobs] == ["c"]
    await house.check(workflow)


async def test_a_claim_that_comes_later_gets_the_new_job(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    update, claim = house.post(workflow, change(job("a", "other", output_files=["y"]), B), hand.request(jobs=9))
    await answer_of(update)
    (launch,) = (await answer_of(claim)).jobs
    assert (launch.name, launch.command) == ("a", "other")
    await hand.finish(launch)
    assert await hand.work() == ["b"]


async def test_nobody_is_handed_a_job_in_the_turn_that_removes_it(house: House, workflow: int) -> None:
    """A waiting worker could be served just then: what kept the job from it has ended."""
    hand, idle = await house.hire(workflow), await house.hire(workflow)
    launches = await hand.claim()
    await hand.report(started=[ref(launches["a"])])
    stopped = [launches["a"].job_id]
    assert (await house.run(ResetJobs, workflow, jobs=stopped, stop_live=True)).status == "succeeded"
    assert (await house.run(Prepare, workflow)).status == "succeeded"
    waiting = await idle.listen(jobs=1)
    end = hand.end(launches["a"], stopped="superseded")
    messages = house.post(workflow, hand.request(ended=[end]), change(job("n", depends_on=["c"]), C))
    for message in messages:
        await answer_of(message)
    await house.settle(workflow)
    assert not waiting.reply.is_given
    await house.check(workflow)
    await hand.finish(launches["c"])
    assert (await answer_of(waiting)).stranded == 1, "nobody has evaluated the new job"


async def test_of_two_equal_updates_the_second_finds_nothing(house: House, workflow: int) -> None:
    """SEMANTICS 5.7"""
    first, second = house.post(workflow, change(A, B), change(A, B))
    assert (await answer_of(first))[0].differences.count == 1
    update, numbering = await answer_of(second)
    assert (update.differences.count, numbering) == (0, None)
    assert len(await house.rows("SELECT 1 FROM event WHERE kind = 'workflow_updated'")) == 1


async def test_an_update_is_refused_while_a_task_is_active(house: House, workflow: int) -> None:
    """SEMANTICS 6.3"""
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    with pytest.raises(Conflict, match=r"workflows update is refused: task \d+ \(reinit") as no:
        await house.send(workflow, change(A))
    assert (no.value.data["task_id"], no.value.data["operation"]) == (task_id, "reinit")
    assert no.value.data["params"]["force"] is False
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"
    await house.send(workflow, change(A))


async def test_after_a_canceled_task_whose_scan_still_runs_an_update_goes_through(house: House, workflow: int) -> None:
    """SEMANTICS 6.7"""
    gate = house.scanner.hold()
    task_id = await house.begin(Reinit, workflow)
    await house.scanner.begun.wait()
    assert await house.send(workflow, CancelTask(task_id=task_id))
    await house.send(workflow, change(A, files=["more"]))
    gate.set()
    assert (await house.run(Reinit, workflow)).status == "succeeded"
    await house.check(workflow)


async def test_a_dry_run_that_the_update_overtakes_looks_again(house: House, workflow: int) -> None:
    """SEMANTICS 5.4: as many files as before, and others"""
    hand = await house.hire(workflow)
    await hand.work()
    gate = house.scanner.hold()
    preview = Preview(Reinit(workflow_id=workflow, dry_run=True))
    await house.send(workflow, preview)
    await house.scanner.begun.wait()
    house.disk.write("t")
    await house.send(workflow, change(job("a", output_files=["t"]), job("b", input_files=["t"]), C))
    gate.set()
    planned = await preview.reply.wait()
    assert [planned.plan.jobs.tolist(), planned.summary.count] == [[0, 2], 2]
    assert len(house.scanner.scanned) == 3


async def test_an_update_that_cannot_be_committed_changes_nothing(house: House, workflow: int) -> None:
    hand = await house.hire(workflow)
    follower = house.bus.subscribe(workflow, None)
    before = await dump(house)
    house.database.failing_commits = 1
    with pytest.raises(Unavailable):
        await house.send(workflow, change(A))
    assert await dump(house) == before
    assert follower.take() == []
    await house.check(workflow)
    assert list(await hand.claim(1)) == ["a"]
    await house.send(workflow, change(A))
    follower.close()


async def test_an_update_that_crashes_half_written_changes_nothing(
    house: House, workflow: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One transaction."""
    hand = await house.hire(workflow)
    launches = await hand.claim(1)
    before = await dump(house)
    apply_update = workflow_module.apply_update

    def crash(*arguments: Any) -> None:
        apply_update(*arguments)
        raise RuntimeError("a bug after everything was written")

    with monkeypatch.context() as patch:
        patch.setattr(workflow_module, "apply_update", crash)
        with pytest.raises(Unavailable, match="crashed and starts anew"):
            await house.send(workflow, change(A))
    assert "a bug after everything was written" in caplog.text
    assert await dump(house) == before
    await house.send(workflow, change(A, job("d")))
    await house.check(workflow)
    await hand.register(hand.worker_id, [ref(launches["a"])])
    await hand.finish(launches["a"])
    assert await house.status(workflow) == {"a": "completed", "d": "uninitialized"}


async def test_followers_are_told_of_moves_and_then_of_the_update(house: House, workflow: int) -> None:
    """SEMANTICS 7.1"""
    follower = house.bus.subscribe(workflow, None)
    (before,) = (await house.rows("SELECT event_seq FROM workflow"))[0]
    await house.send(workflow, change(A, job("b"), job("d"), files=["y"], description="new"))
    moved, updated = (json.loads(event) for event in follower.take())
    assert [moved["seq"], updated["seq"]] == [before + 1, before + 2]
    assert (moved["kind"], moved["data"]["changes"][0]["status"]) == ("jobs_changed", "ready")
    assert (updated["kind"], updated["data"]["header"]) == ("workflow_updated", ["description"])
    assert updated["data"]["jobs"] == {"added": 1, "changed": 1, "removed": 1}
    follower.close()


async def test_what_was_canceled_and_is_still_to_be_stopped_may_be_removed(house: House, workflow: int) -> None:
    """SEMANTICS 5.2: whoever waits for its end is not led to another job"""
    hand = await house.hire(workflow)
    launches = await hand.claim()
    await hand.report(started=[ref(launch) for launch in launches.values()])
    await house.send(workflow, CancelWorkflow(workflow_id=workflow))
    await house.send(workflow, change(job("n1"), job("n2")))
    assert (await house.run(Prepare, workflow)).status == "succeeded"
    answer = await hand.report(ended=[hand.end(launch, stopped="by_user") for launch in launches.values()])
    assert {each.why for each in answer.refused} == {"superseded"}
    await house.settle(workflow)
    assert sorted(await hand.work()) == ["n1", "n2"]
    await house.check(workflow)
