"""Contents, acceptances and undos where order matters: what ends, is claimed or asked for while a task prepares."""

from typing import Any

import pytest
import trio
from actor_rig import Hand, House, answer_of, error_of
from builders import DIRECTORY, job, linked

from torcd.actors import tasks
from torcd.protocol.errors import Conflict
from torcd.protocol.requests import (
    AcceptJobs,
    CancelTask,
    CancelWorkflow,
    Initialize,
    Operation,
    Reinit,
    ResetJobs,
    Undo,
)
from torcd.protocol.worker_requests import JobLaunch


async def held(
    house: House, workflow_id: int, kind: type[Operation], *, reading: bool = False, **parameters: Any
) -> tuple[int, trio.Event]:
    """A task that has looked, or read, already, but does not go on before the event is set."""
    gate = house.scanner.hold_reading() if reading else house.scanner.hold()
    task_id = await house.begin(kind, workflow_id, **parameters)
    with trio.fail_after(10):
        await house.scanner.begun.wait()
    return task_id, gate


async def finish(hand: Hand, launch: JobLaunch, content: str) -> None:
    """Has a job write this into its outputs and end."""
    hand.products = {output.path: content for output in launch.outputs}
    await hand.finish(launch)


@pytest.fixture
async def chain(house: House) -> int:
    """a>b>c in content mode, run to their end."""
    house.disk.write("x")
    workflow = await house.create(linked("a", "b", "c"), detect="content")
    await house.run(Initialize, workflow)
    hand = await house.hire(workflow)
    while launches := await hand.claim():
        for launch in launches.values():
            await finish(hand, launch, f"of {launch.name}")
    house.disk.write("/elsewhere")
    await house.run(Reinit, workflow)
    assert set((await house.status(workflow)).values()) == {"completed"}
    return workflow


async def reset(house: House, workflow: int) -> None:
    """Changes x and resets the chain."""
    house.disk.write("x")
    task = await house.run(Reinit, workflow)
    assert task.result is not None
    assert task.result["count"] == 3


async def stale(house: House, workflow: int, **parameters: Any) -> int:
    """How many jobs a reinit would reset."""
    return (await house.preview(Reinit, workflow, **parameters)).summary.count


# ---- what ends while a task prepares ----


@pytest.mark.parametrize(("detect", "reading"), [("mtime", False), ("content", False), ("content", True)])
@pytest.mark.parametrize("content", ["of a", "other"])
async def test_a_job_that_ends_while_a_task_looks_has_the_newer_record(
    house: House, chain: int, content: str, detect: str, reading: bool
) -> None:
    """SEMANTICS 6.5: also when it leaves the same content behind, under the same version."""
    await reset(house, chain)
    hand = await house.hire(chain)
    launches = await hand.claim()
    task_id, gate = await held(house, chain, Reinit, detect=detect, reading=reading)
    await finish(hand, launches["a"], content)
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"
    record = await house.rows(
        "SELECT mtime_ns, size FROM file_record JOIN file f ON f.id = file_id WHERE name = 'a.out'"
    )
    assert record == [house.disk.stat("a.out")]
    await house.check(chain)
    expected = {"a": "completed", "b": "completed", "c": "completed"}
    if content == "other":
        expected |= {"b": "ready", "c": "blocked"}
    assert await house.status(chain) == expected
    assert await stale(house, chain) == 0
    assert await stale(house, chain, detect="mtime") == 0


async def test_a_dry_run_does_not_take_an_old_look_for_a_change(house: House, chain: int) -> None:
    """SEMANTICS 5.4, 6.5"""
    await reset(house, chain)
    hand = await house.hire(chain)
    launches = await hand.claim()
    gate = house.scanner.hold_reading()
    found: list[int] = []

    async def look() -> None:
        found.append(await stale(house, chain))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        with trio.fail_after(10):
            await house.scanner.begun.wait()
        await finish(hand, launches["a"], "of a")
        gate.set()
    assert found == [0]


# ---- whom it concerns ----


async def test_a_worker_that_waits_is_told_that_all_is_complete_when_the_rest_is_spared(
    house: House, chain: int
) -> None:
    """SEMANTICS 4.9, 8.1"""
    await reset(house, chain)
    busy, idle = await house.hire(chain), await house.hire(chain)
    launches = await busy.claim()
    message = await idle.listen()
    await finish(busy, launches["a"], "of a")
    answer = await answer_of(message)
    assert answer.jobs == []
    assert answer.complete
    assert await house.status(chain) == {"a": "completed", "b": "completed", "c": "completed"}


async def test_a_worker_that_waits_gets_what_an_acceptance_makes_ready(house: House, chain: int) -> None:
    """SEMANTICS 8.1: no polling"""
    await reset(house, chain)
    busy, idle = await house.hire(chain), await house.hire(chain)
    await busy.claim()
    message = await idle.listen()
    await busy.report(returned=[])
    house.disk.write("b.out", content="by hand")
    ids = await house.ids(chain)
    task = await house.run(AcceptJobs, chain, jobs=[ids["b"]], reason="by hand")
    assert task.status == "succeeded"
    answer = await answer_of(message)
    assert [launch.name for launch in answer.jobs] == ["c"]
    await house.check(chain)


async def test_workers_are_told_where_contents_are_to_be_read(house: House, chain: int) -> None:
    """SEMANTICS 8.3"""
    await reset(house, chain)
    launches = await (await house.hire(chain)).claim()
    assert launches["a"].reads_content


# ---- undo ----


async def test_a_claim_while_an_undo_prepares_has_it_refused(house: House, chain: int) -> None:
    """SEMANTICS 5.6, 6.5: it is planned on the state as it is then."""
    await reset(house, chain)
    hand = await house.hire(chain)
    undo, claim = house.post(chain, Undo(workflow_id=chain), hand.request(jobs=10))
    task_id, existing = await answer_of(undo)
    assert not existing
    assert len((await answer_of(claim)).jobs) == 1
    task = await house.wait(task_id)
    assert (task.status, task.error_code) == ("failed", 422)
    assert task.error is not None
    assert "went to a worker" in task.error
    await house.check(chain)


async def test_a_worker_that_waits_gets_nothing_of_what_was_taken_back(house: House, chain: int) -> None:
    """SEMANTICS 5.6"""
    await reset(house, chain)
    assert (await house.run(Undo, chain)).status == "succeeded"
    answer = await (await house.hire(chain)).report(jobs=10)
    assert answer.jobs == []
    assert answer.complete
    await house.check(chain)


async def test_an_undo_is_a_task_with_its_plan(house: House, chain: int) -> None:
    """SEMANTICS 5.6, 6.1"""
    await reset(house, chain)
    preview = await house.preview(Undo, chain)
    task = await house.run(Undo, chain, expect=preview.summary.plan_digest)
    assert task.result is not None
    assert (task.operation, task.result["count"], task.result["plan_digest"]) == (
        "undo",
        3,
        preview.summary.plan_digest,
    )
    again = await house.run(Undo, chain)
    assert (again.status, again.error_code) == ("failed", 422)


async def test_an_undo_while_a_task_is_active_is_a_conflict(house: House, chain: int) -> None:
    """SEMANTICS 6.3"""
    task_id, gate = await held(house, chain, Reinit)
    with pytest.raises(Conflict) as no:
        await house.begin(Undo, chain)
    assert no.value.data["task_id"] == task_id
    gate.set()
    await house.wait(task_id)


async def test_a_crash_of_the_commit_leaves_the_operation_to_be_taken_back_again(house: House, chain: int) -> None:
    """SEMANTICS §5: one transaction"""
    await reset(house, chain)
    before = await house.status(chain)
    gate = house.scanner.hold()
    task_id = await house.begin(Undo, chain)
    house.database.failing_commits = 1
    gate.set()
    assert (await house.wait(task_id)).status == "failed"
    assert await house.status(chain) == before
    await house.check(chain)
    assert (await house.run(Undo, chain)).status == "succeeded"
    assert set((await house.status(chain)).values()) == {"completed"}


async def test_a_cancel_while_a_restart_prepares_outlives_its_undo(house: House, chain: int) -> None:
    """SEMANTICS 5.6"""
    await reset(house, chain)
    task_id, gate = await held(house, chain, Reinit)
    (cancel,) = house.post(chain, CancelWorkflow(workflow_id=chain))
    await answer_of(cancel)
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"
    await house.run(Undo, chain)
    assert await house.rows("SELECT is_canceled FROM workflow") == [(1,)]
    await house.check(chain)


# ---- accept ----


async def test_the_same_acceptance_twice_is_one_task_and_another_reason_is_another(house: House, chain: int) -> None:
    """SEMANTICS 6.2"""
    ids = await house.ids(chain)
    task_id, gate = await held(house, chain, AcceptJobs, jobs=[ids["a"]], reason="r")
    same = AcceptJobs(workflow_id=chain, jobs=[ids["a"]], reason="r", requested_by="bob")
    assert await house.send(chain, same) == (task_id, True)
    for other in ({"reason": "other"}, {"jobs": [ids["b"]]}, {"force": True}):
        request = AcceptJobs(**{"workflow_id": chain, "jobs": [ids["a"]], "reason": "r"} | other)
        (message,) = house.post(chain, request)
        error = await error_of(message)
        assert isinstance(error, Conflict)
        assert set(error.data["differing"]) == set(other)
    gate.set()
    assert (await house.wait(task_id)).status == "succeeded"


async def test_a_job_that_is_claimed_while_an_acceptance_looks_is_not_accepted(house: House, chain: int) -> None:
    """SEMANTICS 5.2, 6.5"""
    await reset(house, chain)
    ids = await house.ids(chain)
    hand = await house.hire(chain)
    task_id, gate = await held(house, chain, AcceptJobs, jobs=[ids["a"]], reason="r")
    assert set(await hand.claim()) == {"a"}
    gate.set()
    task = await house.wait(task_id)
    assert (task.status, task.error_code) == ("failed", 409)
    await house.check(chain)


async def test_only_what_the_accepted_jobs_take_and_make_is_looked_at(house: House, chain: int) -> None:
    ids = await house.ids(chain)
    house.scanner.scanned.clear()
    house.scanner.read_paths.clear()
    await house.run(AcceptJobs, chain, jobs=[ids["b"]], reason="r")
    assert [sorted(paths) for paths in house.scanner.scanned] == [[f"{DIRECTORY}/a.out", f"{DIRECTORY}/b.out"]]


# ---- cancellation ----


async def test_a_task_that_is_canceled_while_it_reads_changes_nothing_and_frees_the_slot(
    house: House, chain: int
) -> None:
    """SEMANTICS 6.7"""
    house.disk.write("x")
    before = await house.rows("SELECT * FROM file_record ORDER BY file_id")
    task_id, _ = await held(house, chain, Reinit, reading=True)
    assert await house.send(chain, CancelTask(task_id=task_id))
    assert (await house.wait(task_id)).status == "canceled"
    assert await house.rows("SELECT * FROM file_record ORDER BY file_id") == before
    house.scanner.hold_reading().set()
    task = await house.run(Reinit, chain)
    assert task.result is not None
    assert task.result["count"] == 3


@pytest.mark.parametrize("threads", [False, True])
async def test_a_large_workflow_is_planned_in_threads_with_the_same_result(
    house: House, chain: int, threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if threads:
        monkeypatch.setattr(tasks, "INLINE_JOBS", 0)
    ids = await house.ids(chain)
    await reset(house, chain)
    await house.run(Undo, chain)
    await reset(house, chain)
    await house.run(AcceptJobs, chain, jobs=[ids["a"]], reason="r")
    assert await house.status(chain) == {"a": "completed", "b": "completed", "c": "completed"}
    assert await stale(house, chain) == 0
    await house.check(chain)


# ---- progress ----


async def test_looking_and_reading_tell_their_progress_apart(house: House) -> None:
    """SEMANTICS 7.1"""
    house.disk.write("x")
    workflow = await house.create([job("a", input_files=["x"])], detect="content")
    told: list[tuple[str, int, int]] = []
    original = house.bus.progress

    def note(workflow_id: int, news: dict[str, Any]) -> None:
        told.append((news["phase"], news["done"], news["total"]))
        original(workflow_id, news)

    house.bus.progress = note  # type: ignore[method-assign]  # the rig's own
    await house.run(Initialize, workflow)
    assert told == [("scan", 0, 1), ("scan", 1, 1), ("read", 1, 1)]


async def test_a_dry_run_tells_no_progress_and_reads_contents(house: House, chain: int) -> None:
    """SEMANTICS 5.4"""
    house.scanner.read_paths.clear()
    house.disk.touch("x")
    assert await stale(house, chain) == 0
    assert house.scanner.read_paths == [[f"{DIRECTORY}/x"]]


async def test_a_reset_takes_no_look_at_all(house: House, chain: int) -> None:
    ids = await house.ids(chain)
    house.scanner.scanned.clear()
    await house.run(ResetJobs, chain, jobs=[ids["b"]])
    await house.run(Undo, chain)
    assert house.scanner.scanned == []
