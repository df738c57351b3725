"""Explanations as an actor gives them: beside tasks, from what the disk holds now, with the workers there are."""

from typing import Any

import msgspec
import pytest
import trio
from actor_rig import House
from builders import job
from workbench import as_json

from torcd.actors.messages import Explain
from torcd.protocol.errors import NotFound
from torcd.protocol.model import Explanation
from torcd.protocol.requests import AcceptJobs, Initialize, Reinit, ResetStatus, Undo, UpdateJob
from torcd.protocol.specification import ResourceRequirementsSpec
from torcd.protocol.worker_requests import Capacity, ReportWorker
from torcd.storage import nouns
from torcd.storage.explanations import MOST_DECISIONS, show_explanation


@pytest.fixture
async def workflow(house: House) -> int:
    house.disk.write("x")
    jobs = [
        job("a", input_files=["x"], output_files=["y"]),
        job("b", input_files=["y"], output_files=["z"]),
        job("c", input_files=["z"]),
        job("d"),
    ]
    return await house.create(jobs)


async def explain(house: House, workflow: int, name: str, task_id: int | None = None) -> dict[str, Any]:
    """What `jobs.explain` answers."""
    job_id = (await house.ids(workflow))[name]
    question = Explain(job_id)
    await house.send(workflow, question)
    with trio.fail_after(10):
        answer = await question.reply.wait()

    def show(db: Any) -> Explanation:
        job = nouns.load_one(db, nouns.JOBS, "job", "j.id = ?", (job_id,), job_id)
        return show_explanation(db, job, answer.explained, answer.plan, answer.warnings, task_id)

    told: dict[str, Any] = as_json(msgspec.to_builtins(await house.database.read(show)))
    return told


async def run_all(house: House, workflow: int) -> None:
    await house.run(Initialize, workflow)
    hand = await house.hire(workflow)
    await hand.work()


async def test_why_a_job_would_run_again_is_told_before_any_operation(house: House, workflow: int) -> None:
    await run_all(house, workflow)
    assert (await explain(house, workflow, "c"))["verdict"] == "up_to_date"
    house.disk.write("x", size=99)
    told = await explain(house, workflow, "c")
    assert (told["verdict"], told["path"], told["root"]["name"]) == ("would_rerun", ["a", "b", "c"], "a")
    assert [reason["kind"] for reason in told["reasons"]] == ["upstream_stale"]
    (cause,) = told["root"]["reasons"]
    assert (cause["kind"], cause["file"], cause["observed"]["size"]) == ("input_changed", "x", 99)
    own = await explain(house, workflow, "a")
    assert (own["root"], own["path"], own["reasons"]) == (None, ["a"], [cause])
    assert sorted(house.scanner.scanned[-1]) == ["/submitted/x", "/submitted/y"], "only what is around it"
    before = len(house.scanner.scanned)
    assert (await explain(house, workflow, "d"))["verdict"] == "up_to_date"
    assert len(house.scanner.scanned) == before


async def test_a_job_that_has_to_make_a_missing_file_again_is_told_who_needs_it(house: House) -> None:
    """SEMANTICS 4.4 (`on_missing: ignore`): what a reinit would do hangs on what is downstream, too."""
    house.disk.write("x", "k")
    jobs = [job("p", input_files=["x"], output_files=["m"]), job("c", input_files=["m", "k"])]
    workflow = await house.create(jobs, purgeable=["m"])
    await run_all(house, workflow)
    house.disk.delete("m")
    assert (await explain(house, workflow, "p"))["verdict"] == "up_to_date"
    house.disk.write("k", size=99)
    told = await explain(house, workflow, "p")
    assert (told["verdict"], told["path"]) == ("would_rerun", ["p"])
    assert [(reason["kind"], reason["needed_by"]) for reason in told["reasons"]] == [("output_missing", "c")]
    planned = await house.preview(Reinit, workflow)
    assert planned.summary.count == 2


async def test_what_an_operation_decided_is_told_later_too(house: House, workflow: int) -> None:
    await run_all(house, workflow)
    ids = await house.ids(workflow)
    house.disk.write("x", size=5)
    reset = await house.begin(Reinit, workflow)
    await house.wait(reset)
    idle = await house.begin(Reinit, workflow)
    await house.wait(idle)
    told = await explain(house, workflow, "b")
    by_task = {each["task_id"]: each for each in told["decisions"]}
    assert (by_task[reset]["decision"], by_task[reset]["from"], by_task[reset]["to"]) == (
        "changed", "completed", "blocked"
    )  # fmt: skip
    assert by_task[reset]["reasons"][0]["root_id"] == ids["a"]
    assert (by_task[idle]["decision"], by_task[idle]["why"]) == ("kept", "waits_already")
    spared = (await explain(house, workflow, "d"))["decisions"]
    assert [(each["task_id"], each["why"]) for each in spared[:2]] == [(idle, "up_to_date"), (reset, "up_to_date")]
    (only,) = (await explain(house, workflow, "d", task_id=reset))["decisions"]
    assert only["task_id"] == reset
    with pytest.raises(NotFound):
        await explain(house, workflow, "d", task_id=999)


async def test_a_job_below_a_failure_that_stands_is_not_told_that_nothing_had_changed(house: House) -> None:
    """SEMANTICS 4.6, 5.8: its own input had changed, but it could not run."""
    house.disk.write("x", "y")
    jobs = [job("f", input_files=["x"]), job("c", depends_on=["f"], input_files=["y"])]
    workflow = await house.create(jobs)
    await run_all(house, workflow)
    house.disk.write("x", size=5)
    await house.run(Reinit, workflow)
    hand = await house.hire(workflow)
    await hand.finish((await hand.claim(1))["f"], code=1)
    house.disk.write("y", size=5)
    assert (await house.run(Reinit, workflow)).status == "succeeded"
    decision = (await explain(house, workflow, "c"))["decisions"][0]
    assert (decision["decision"], decision["from"], decision["why"]) == ("kept", "canceled", "upstream_failed")
    assert decision["from_reason"] == decision["to_reason"] == "upstream_failed"


async def test_the_last_change_is_told_however_long_ago_it_was(house: House, workflow: int) -> None:
    await run_all(house, workflow)
    for _ in range(MOST_DECISIONS + 2):
        await house.run(Reinit, workflow)
    decisions = (await explain(house, workflow, "a"))["decisions"]
    assert len(decisions) == MOST_DECISIONS + 1
    assert [each["decision"] for each in decisions] == ["kept"] * MOST_DECISIONS + ["changed"]
    assert decisions[-1]["operation"] == "initialize"


async def test_a_job_that_no_worker_has_time_for_is_told_so(house: House) -> None:
    """SEMANTICS 8.1"""
    needs = [ResourceRequirementsSpec(name="hour", runtime="PT1H")]
    workflow_id = await house.create([job("a", resource_requirements="hour")], resource_requirements=needs)
    await house.run(Initialize, workflow_id)
    hand = await house.hire(workflow_id)
    await house.send(workflow_id, ReportWorker(worker_id=hand.worker_id, capacity=Capacity(jobs=1, time_left_s=3590.0)))
    (wait,) = (await explain(house, workflow_id, "a"))["waits"]
    assert wait["why"].startswith("short of time: the job takes 1:00:00, 0:59:")


async def test_what_a_ready_job_waits_for_is_told_worker_by_worker(house: House, workflow: int) -> None:
    await house.run(Initialize, workflow)
    assert (await explain(house, workflow, "a"))["waits"] == [{"kind": "no_worker", "why": "no worker is connected"}]
    hand = await house.hire(workflow, num_cpus=1)
    small = await house.hire(workflow, num_cpus=0)
    waits = (await explain(house, workflow, "a"))["waits"]
    assert [(wait["worker_id"], wait["hostname"]) for wait in waits] == [
        (hand.worker_id, "host"), (small.worker_id, "host")
    ]  # fmt: skip
    assert waits[0]["why"] == "busy with other jobs"
    assert waits[1]["why"].startswith("too small: the job needs 1 CPU")
    small.hang_up()
    await house.settle(workflow)
    assert (await explain(house, workflow, "a"))["waits"][1]["why"].startswith("away")
    launch = (await hand.claim(1))["a"]
    assert (await explain(house, workflow, "a"))["verdict"] == "runs"
    waits = (await explain(house, workflow, "c"))["waits"]
    assert [(wait["kind"], wait["name"], wait["status"]) for wait in waits] == [
        ("dependency", "b", "blocked"), ("behind", "a", "pending")
    ]  # fmt: skip
    await hand.finish(launch, code=1)
    told = await explain(house, workflow, "c")
    assert (told["verdict"], [wait["name"] for wait in told["waits"]]) == ("upstream_failed", ["a"])


async def test_a_question_is_answered_while_a_task_scans(house: House, workflow: int) -> None:
    """SEMANTICS 6.5"""
    await run_all(house, workflow)
    gate = house.scanner.hold()
    task = await house.begin(ResetStatus, workflow, reinitialize=True)
    await house.scanner.begun.wait()
    gate.set()
    assert (await explain(house, workflow, "a"))["name"] == "a"
    await house.wait(task)


async def test_a_question_after_an_edit_sees_the_edit(house: House, workflow: int) -> None:
    from torcd.actors.messages import CommitEdit
    from torcd.operations.edit import prepare_edit
    from torcd.operations.update import update_job

    await run_all(house, workflow)
    request = UpdateJob(job_id=(await house.ids(workflow))["b"], command="new")
    edit = await prepare_edit(house.database, workflow, request)  # type: ignore[arg-type]  # a fake

    def decide(turn: Any) -> Any:
        update_job(turn.draft, request, edit.definition, None)
        return lambda: None

    await house.send(workflow, CommitEdit(decide))
    told = await explain(house, workflow, "c")
    assert told["root"]["reasons"] == [
        {"kind": "definition_changed", "field": "command", "old": "run b", "new": "new"}
    ]  # fmt: skip


async def test_a_job_that_is_not_there_is_not_found(house: House, workflow: int) -> None:
    with pytest.raises(NotFound):
        await house.send(workflow, Explain(999))


async def test_an_undo_brings_back_a_definition_that_was_of_no_use_and_so_not_in_memory(
    house: House, workflow: int
) -> None:
    """SEMANTICS 5.6, 4.2"""
    await run_all(house, workflow)
    job_id = (await house.ids(workflow))["d"]
    await house.edit(workflow, job_id, command="new")
    assert (await house.run(AcceptJobs, workflow, jobs=[job_id], reason="the same")).status == "succeeded"
    assert (await explain(house, workflow, "d"))["verdict"] == "up_to_date"
    await house.actor(workflow).load()
    assert (await house.run(Undo, workflow)).status == "succeeded"
    told = await explain(house, workflow, "d")
    assert [reason["kind"] for reason in told["reasons"]] == ["definition_changed"]
    await house.check(workflow)
