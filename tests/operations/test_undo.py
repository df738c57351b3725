"""Taking the last operation back: SEMANTICS 5.6."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from builders import chained, job, linked
from workbench import Workbench

from torcd.core.status import StatusReason
from torcd.operations.disable import disable_jobs, enable_jobs
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.requests import (
    AcceptJobs,
    Initialize,
    Prepare,
    Reinit,
    ResetJobs,
    ResetStatus,
    Restart,
    Undo,
)
from torcd.storage.load import load_state

Make = Callable[..., Workbench]


@pytest.fixture(params=["mtime", "content"])
def bench(make_bench: Make, request: pytest.FixtureRequest) -> Workbench:
    """a>b>c in a chain and `other`, which takes x as a does; completed but for `bad`, which failed."""
    made = make_bench([*linked("a", "b", "c"), job("other", input_files=["x"]), job("bad")], detect=request.param)
    made.disk.write("x")
    made.operate(Initialize)
    made.run_all(failing=["bad"])
    made.operate(Reinit)
    return made


KEPT = {
    "workflow": "is_canceled, is_archived",
    "job_state": "*",
    "file_record": "*",
    "file_history": "*",
    "user_data_version": "*",
    "result": "*",
    "job_definition": "*",
}


def contents(bench: Workbench) -> dict[str, list[tuple[Any, ...]]]:
    """All that an undo has to put back, and what no operation touches."""
    return {table: sorted(bench.rows(f"SELECT {columns} FROM {table}")) for table, columns in KEPT.items()}


def plan_of(bench: Workbench, **parameters: Any) -> dict[str, list[dict[str, Any]]]:
    """What a reinit would do."""
    return bench.reasons(bench.preview(Reinit, **parameters))


def touch(bench: Workbench) -> None:
    """Changes x for every way of telling."""
    bench.disk.write("x", size=11)


OPERATIONS: dict[str, Callable[[Workbench], object]] = {
    "reinit": lambda bench: (touch(bench), bench.operate(Reinit)),
    "reinit that finds nothing": lambda bench: bench.operate(Reinit),
    "reinit of an edit": lambda bench: (bench.edit("b", command="other"), bench.operate(Reinit)),
    "reinit, output gone": lambda bench: (bench.disk.delete("b.out"), bench.operate(Reinit)),
    "restart": lambda bench: (touch(bench), bench.operate(Restart)),
    "reset": lambda bench: bench.operate(ResetStatus),
    "reset of failures": lambda bench: bench.operate(ResetStatus, failed_only=True),
    "reset and reinit": lambda bench: bench.operate(ResetStatus, reinitialize=True),
    "reset of jobs": lambda bench: bench.operate(ResetJobs, jobs=[bench.id("b")]),
    "accept": lambda bench: (
        touch(bench), bench.disk.write("a.out"), bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    ),
    "accept a failure": lambda bench: bench.operate(AcceptJobs, jobs=[bench.id("bad")], reason="r"),
}  # fmt: skip


@pytest.mark.parametrize("operate", list(OPERATIONS.values()), ids=list(OPERATIONS))
def test_everything_is_as_it_was_but_the_runs_number(bench: Workbench, operate: Callable[[Workbench], object]) -> None:
    before, run_id = contents(bench), bench.state.run_id
    definitions = bench.rows("SELECT * FROM job_definition")
    operate(bench)
    after = bench.state.run_id
    bench.operate(Undo)
    now = contents(bench)
    if bench.rows("SELECT * FROM job_definition") != definitions:
        del before["job_definition"], now["job_definition"]  # edits are no operations
    assert now == before
    assert bench.state.run_id == after >= run_id


def test_a_plan_after_an_undo_is_the_plan_before(bench: Workbench) -> None:
    touch(bench)
    before = plan_of(bench)
    bench.operate(Reinit)
    bench.operate(Undo)
    assert plan_of(bench) == before
    bench.operate(Reinit)
    bench.operate(Undo)
    assert plan_of(bench) == before


def test_the_plan_lists_what_it_puts_back(bench: Workbench) -> None:
    touch(bench)
    bench.operate(Reinit)
    ((task_id,),) = bench.rows("SELECT max(id) FROM task")
    planned = bench.operate(Undo)
    assert [(each.name, each.from_, each.to, each.reasons) for each in bench.show(planned)] == [
        ("a", "ready", "completed", [{"kind": "undone", "task_id": task_id}]),
        ("other", "ready", "completed", [{"kind": "undone", "task_id": task_id}]),
        ("b", "blocked", "completed", [{"kind": "undone", "task_id": task_id}]),
        ("c", "blocked", "completed", [{"kind": "undone", "task_id": task_id}]),
    ]
    assert planned.summary.count == 4
    assert planned.summary.cause == f"by taking back task {task_id} (reinit)"


def test_statuses_come_back_with_their_reasons(bench: Workbench) -> None:
    """SEMANTICS 2.4"""
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.operate(Prepare)
    bench.cancel()
    bench.operate(Restart)
    assert bench.status()["c"] == "ready"
    assert not bench.state.is_canceled
    bench.operate(Undo)
    assert (bench.status()["c"], bench.reason("c")) == ("canceled", StatusReason.BY_USER)
    assert bench.state.is_canceled
    bench.check()


def test_a_record_that_there_never_was_is_not_there_again(make_bench: Make) -> None:
    bench = make_bench(linked("a", "b"))
    before = contents(bench)
    bench.disk.write("x", "a.out")
    bench.operate(Reinit)
    assert contents(bench) != before
    bench.operate(Undo)
    assert contents(bench) == before
    assert bench.run_all() == []


def test_counters_of_jobs_that_never_started_come_back(make_bench: Make) -> None:
    bench = make_bench(linked("a"))
    bench.disk.write("x", "a.out")
    before = contents(bench)
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    assert bench.state.jobs.counter.tolist() != [-1]
    bench.operate(Undo)
    assert contents(bench) == before
    assert bench.state.jobs.counter.tolist() == [-1]


def test_a_restarted_daemon_can_still_take_it_back(bench: Workbench) -> None:
    before = contents(bench)
    touch(bench)
    bench.operate(Reinit)
    bench.state = load_state(bench.db, bench.workflow_id)
    bench.operate(Undo)
    assert contents(bench) == before


def test_what_an_older_daemon_has_noted_can_still_be_taken_back(bench: Workbench) -> None:
    before = contents(bench)
    bench.operate(AcceptJobs, jobs=[bench.id("bad")], reason="r")
    ((packed,),) = bench.rows("SELECT before FROM task_undo")
    noted = msgspec.msgpack.decode(packed)
    older = {name: value for name, value in noted.items() if not name.startswith("below")}
    bench.db.execute("UPDATE task_undo SET before = ?", (msgspec.msgpack.encode(older),))
    bench.operate(Undo)
    assert contents(bench) == before


# ---- only the last one ----


def test_there_is_nothing_to_take_back_at_first(make_bench: Make) -> None:
    bench = make_bench(chained("a"))
    with pytest.raises(Refused, match="no operation that could be taken back") as no:
        bench.preview(Undo)
    assert no.value.code == 422


def test_only_the_last_operation_is_taken_back(bench: Workbench) -> None:
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.operate(Undo)
    assert bench.status()["b"] == "completed"
    assert bench.status()["c"] == "uninitialized"
    with pytest.raises(Refused, match="no operation"):
        bench.operate(Undo)


@pytest.mark.parametrize("force", [False, True])
def test_an_initialize_cannot_be_taken_back_nor_what_was_before_it(bench: Workbench, force: bool) -> None:
    bench.operate(ResetStatus)
    bench.operate(Initialize, force=force)
    with pytest.raises(Refused, match="no operation"):
        bench.operate(Undo, force=True)


def test_a_refused_operation_leaves_the_one_before_it_to_be_taken_back(bench: Workbench) -> None:
    before = contents(bench)
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.disk.delete("x")
    with pytest.raises(Refused):
        bench.operate(Reinit)
    bench.operate(Undo)
    assert contents(bench) == before


def test_of_each_workflow_only_its_last_operation_is_kept(bench: Workbench) -> None:
    for _ in range(3):
        bench.operate(ResetJobs, jobs=[bench.id("c")])
        bench.operate(Reinit)
    assert bench.rows("SELECT count(*) FROM task_undo") == [(1,)]
    bench.operate(Undo)
    assert bench.rows("SELECT count(*) FROM task_undo") == [(0,)]


# ---- prepare ----


def test_preparing_a_run_is_taken_back_together_with_the_reset_before_it(bench: Workbench) -> None:
    before = contents(bench)
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    touch(bench)
    bench.operate(Prepare)
    assert bench.status()["b"] == "ready"
    planned = bench.operate(Undo)
    assert contents(bench) == before
    assert "jobs reset-status" in planned.summary.cause


def test_preparing_several_times_is_taken_back_as_a_whole(bench: Workbench) -> None:
    before = contents(bench)
    bench.operate(ResetJobs, jobs=[bench.id("other")])
    touch(bench)
    bench.operate(Prepare)
    touch(bench)
    bench.operate(Prepare)
    bench.operate(Undo)
    assert contents(bench) == before


def test_preparing_alone_is_nothing_to_take_back(make_bench: Make) -> None:
    bench = make_bench(chained("a"))
    bench.operate(Initialize)
    bench.operate(Prepare)
    with pytest.raises(Refused, match="no operation"):
        bench.operate(Undo)


# ---- refused ----


def claimed(bench: Workbench) -> None:
    bench.claim(jobs=1)


def started(bench: Workbench) -> None:
    (launch,) = bench.claim(jobs=1)
    bench.report(started=[bench.attempt(launch.name)])


def ended(bench: Workbench) -> None:
    (launch,) = bench.claim(jobs=1)
    bench.finish(launch.name)


def handed_back(bench: Workbench) -> None:
    (launch,) = bench.claim(jobs=1)
    bench.report(returned=[bench.attempt(launch.name)])


def lost(bench: Workbench) -> None:
    started(bench)
    bench.lose()


@pytest.mark.parametrize("happen", [claimed, started, ended, handed_back, lost])
def test_what_has_been_claimed_since_keeps_it_from_being_taken_back(
    bench: Workbench, happen: Callable[[Workbench], None]
) -> None:
    """SEMANTICS 5.6, 5.3: also a claim that was handed back. Its number must not be given out again."""
    touch(bench)
    bench.operate(Reinit)
    happen(bench)
    before = bench.dump()
    with pytest.raises(Refused, match=r"cannot be taken back: since then 1 job \(.*\) went to a worker") as no:
        bench.operate(Undo)
    assert no.value.data["count"] == 1
    assert bench.dump() == before
    with pytest.raises(Refused):
        bench.operate(Undo, force=True, stop_live=True)


def test_what_a_prepare_made_ready_and_was_claimed_keeps_both_from_being_taken_back(bench: Workbench) -> None:
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.operate(Prepare)
    bench.claim()
    with pytest.raises(Refused, match="went to a worker"):
        bench.operate(Undo)


@pytest.mark.parametrize("is_started", [False, True])
def test_an_operation_that_stopped_live_jobs_cannot_be_taken_back(bench: Workbench, is_started: bool) -> None:
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.operate(Prepare)
    bench.claim()
    if is_started:
        bench.report(started=[bench.attempt("c")])
    bench.operate(ResetJobs, jobs=[bench.id("b")], stop_live=True)
    with pytest.raises(Refused, match="it stopped 1 job"):
        bench.operate(Undo)


def test_a_workflow_that_was_canceled_since_is_left_as_it_is(bench: Workbench) -> None:
    touch(bench)
    bench.operate(Reinit)
    bench.cancel()
    with pytest.raises(Refused, match="changed otherwise"):
        bench.operate(Undo)


def test_a_cancel_of_jobs_that_were_canceled_before_is_not_taken_back(make_bench: Make) -> None:
    """Their status is the same as before, its reason is not."""
    bench = make_bench(chained("a>b"))
    bench.operate(Initialize)
    bench.run_all(failing=["a"])
    assert bench.status() == {"a": "failed", "b": "canceled"}
    bench.edit("b", cancel_on_blocking_job_failure=False)
    bench.operate(Restart)
    assert bench.status() == {"a": "failed", "b": "ready"}
    bench.cancel()
    with pytest.raises(Refused, match="changed otherwise"):
        bench.operate(Undo)


def test_an_undo_never_ends_a_cancel(bench: Workbench) -> None:
    """The operation changed nothing, so nothing keeps it from being taken back."""
    bench.operate(Reinit)
    bench.cancel()
    bench.operate(Undo)
    assert bench.state.is_canceled
    bench.check()


def test_an_archived_workflow_refuses(bench: Workbench) -> None:
    """SEMANTICS 5.5"""
    bench.operate(ResetStatus)
    bench.db.execute("UPDATE workflow SET is_archived = 1")
    bench.state = load_state(bench.db, bench.workflow_id)
    with pytest.raises(Refused, match="archived"):
        bench.plan(Undo(workflow_id=1))


# ---- what was made runnable on the way ----


@pytest.fixture
def accepted(make_bench: Make) -> Workbench:
    """`d` waits for `x`, which runs, and for `b`, which was accepted; `e` waits for `d`."""
    bench = make_bench([*chained("b>d", "x>d"), job("e", depends_on=["d"], cancel_on_blocking_job_failure=False)])
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("x")])
    bench.finish("b", code=1)
    bench.operate(AcceptJobs, jobs=[bench.id("b")], reason="r")
    assert bench.status() == {"b": "completed", "x": "running", "d": "blocked", "e": "blocked"}
    return bench


@pytest.mark.parametrize("loads_anew", [False, True])
def test_a_job_that_waited_for_something_else_as_well_and_has_started_since_keeps_it_from_being_taken_back(
    accepted: Workbench, loads_anew: bool
) -> None:
    """SEMANTICS 5.6: the acceptance did not change its status, but without that it would not run."""
    accepted.finish("x")
    (launch,) = accepted.claim()
    assert launch.name == "d"
    accepted.report(started=[accepted.attempt("d")])
    if loads_anew:
        accepted.state = load_state(accepted.db, accepted.workflow_id)
    with pytest.raises(Refused, match=r"since then 1 job .* went to a worker") as no:
        accepted.operate(Undo)
    assert no.value.data["jobs"] == [accepted.id("d")]


def test_a_job_far_downstream_that_has_started_since_keeps_it_from_being_taken_back(accepted: Workbench) -> None:
    """SEMANTICS 5.6"""
    accepted.finish("x", code=1)
    (launch,) = accepted.claim()
    assert (launch.name, accepted.status()["d"]) == ("e", "canceled")
    with pytest.raises(Refused, match=r"since then 1 job .* went to a worker") as no:
        accepted.operate(Undo)
    assert no.value.data["jobs"] == [accepted.id("e")]


def test_a_job_that_it_made_ready_on_the_way_waits_again(accepted: Workbench) -> None:
    accepted.finish("x")
    assert accepted.status()["d"] == "ready"
    accepted.operate(Undo)
    assert accepted.status() == {"b": "failed", "x": "completed", "d": "canceled", "e": "ready"}
    accepted.check()


def test_a_job_that_was_canceled_on_the_way_waits_again(make_bench: Make) -> None:
    """SEMANTICS 2: it is canceled only when all that it depends on has settled."""
    bench = make_bench(chained("u>d>e", "x>d"))
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("x")], returned=[bench.attempt("u")])
    bench.operate(AcceptJobs, jobs=[bench.id("u")], reason="r")
    bench.finish("x", code=1)
    assert bench.status() == {"u": "completed", "x": "failed", "d": "canceled", "e": "canceled"}
    bench.operate(Undo)
    assert bench.status() == {"u": "ready", "x": "failed", "d": "blocked", "e": "blocked"}
    bench.check()


def test_a_job_that_early_cutoff_spared_on_the_way_keeps_it_from_being_taken_back(make_bench: Make) -> None:
    """SEMANTICS 4.9: it returned because nothing was left that it waited for."""
    jobs = [*linked("a"), *linked("b"), job("d", input_files=["a.out", "b.out"])]
    bench = make_bench(jobs, detect="content")
    bench.products = {"a.out": "same", "b.out": "same"}
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x")
    bench.operate(Reinit)
    bench.claim()
    bench.report(started=[bench.attempt("a")], returned=[bench.attempt("b")])
    bench.operate(AcceptJobs, jobs=[bench.id("b")], reason="r")
    assert bench.status()["d"] == "blocked"
    bench.finish("a")
    assert bench.reason("d") == StatusReason.UNCHANGED_INPUTS
    with pytest.raises(Refused, match="changed otherwise"):
        bench.operate(Undo)


# ---- what went on beside it ----


@pytest.fixture
def beside(make_bench: Make) -> Workbench:
    """`live` runs, `after` and `also` wait for it; `a` and `b` are completed."""
    bench = make_bench(
        [
            *linked("a", "b"),
            job("live", input_files=["z"], output_files=["live.out"]),
            job("after", input_files=["live.out"]),
            job("also", input_files=["live.out", "b.out"]),
        ],
        detect="content",
    )
    bench.disk.write("x", "z")
    bench.operate(Initialize)
    assert {launch.name for launch in bench.claim()} == {"a", "live"}
    bench.finish("a")
    bench.report(started=[bench.attempt("live")])
    bench.claim()
    bench.finish("b")
    assert bench.status() == {
        "a": "completed",
        "b": "completed",
        "live": "running",
        "after": "blocked",
        "also": "blocked",
    }
    return bench


def test_a_live_job_that_was_not_affected_keeps_the_records_that_its_end_made(beside: Workbench) -> None:
    beside.disk.write("x", "live.out")
    beside.operate(Reinit)
    beside.finish("live")
    record = beside.rows("SELECT * FROM file_record WHERE file_id = ?", beside.id("live.out", "file"))
    beside.operate(Undo)
    assert beside.rows("SELECT * FROM file_record WHERE file_id = ?", beside.id("live.out", "file")) == record
    assert beside.status() == {
        "a": "completed", "b": "completed", "live": "completed", "after": "ready", "also": "ready",
    }  # fmt: skip
    beside.check()


def test_a_job_that_left_behind_what_an_operation_had_recorded_keeps_its_record(make_bench: Make) -> None:
    """It was ready before the operation; the version is the same, its time is not."""
    bench = make_bench([job("a", input_files=["x"]), job("b", output_files=["b.out"])], detect="content")
    bench.products = {"b.out": "same"}
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.operate(ResetJobs, jobs=[bench.id("b")], reinitialize=True)
    bench.disk.write("b.out", content="same")
    bench.operate(Reinit)
    bench.run_all()
    record = bench.rows("SELECT * FROM file_record WHERE file_id = ?", bench.id("b.out", "file"))
    bench.operate(Undo)
    assert bench.rows("SELECT * FROM file_record WHERE file_id = ?", bench.id("b.out", "file")) == record


def test_the_record_of_a_file_that_a_job_has_used_since_is_not_put_back(make_bench: Make) -> None:
    """SEMANTICS 4.7: that job was ready before the operation, which is none of the undo's business."""
    bench = make_bench([job("a", input_files=["x"]), job("b", input_files=["x"])], detect="content")
    bench.disk.write("x", content="one")
    bench.operate(Initialize)
    bench.run_all()
    bench.operate(ResetJobs, jobs=[bench.id("b")], reinitialize=True)
    bench.disk.write("x", content="two")
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    assert bench.run_all() == ["b"]
    bench.operate(Undo)
    assert list(plan_of(bench)) == ["a"]
    bench.disk.write("x", content="one")
    assert list(plan_of(bench)) == ["b"]


def test_jobs_that_wait_are_evaluated_anew(beside: Workbench) -> None:
    beside.operate(ResetJobs, jobs=[beside.id("a")])
    beside.finish("live")
    assert beside.status()["also"] == "uninitialized"
    beside.operate(Undo)
    assert beside.status() == {
        "a": "completed", "b": "completed", "live": "completed", "after": "ready", "also": "ready",
    }  # fmt: skip
    assert set(beside.run_all()) == {"after", "also"}


def test_jobs_whose_upstream_failed_meanwhile_are_canceled_by_it(beside: Workbench) -> None:
    """SEMANTICS §2"""
    beside.operate(ResetJobs, jobs=[beside.id("b")])
    beside.finish("live", code=1)
    assert beside.status() == {
        "a": "completed", "b": "uninitialized", "live": "failed", "after": "canceled", "also": "uninitialized",
    }  # fmt: skip
    beside.operate(Undo)
    assert beside.status()["also"] == "canceled"
    assert beside.reason("also") == StatusReason.UPSTREAM_FAILED
    beside.check()


def test_a_definition_that_was_edited_since_stays_edited(bench: Workbench) -> None:
    touch(bench)
    bench.operate(Reinit)
    bench.edit("other", command="new")
    bench.operate(Undo)
    kinds = [reason["kind"] for reason in plan_of(bench)["other"]]
    assert kinds == ["input_changed", "definition_changed"]


def test_what_returned_to_completed_meanwhile_is_put_back_too(make_bench: Make) -> None:
    """SEMANTICS 4.9: an acceptance upstream had it return."""
    bench = make_bench(linked("a", "b", "c"), detect="content")
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x")
    bench.operate(Reinit)
    before = contents(bench)
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    assert bench.status() == dict.fromkeys("abc", "completed")
    bench.operate(Undo)
    assert contents(bench) == before
    assert bench.status() == {"a": "ready", "b": "blocked", "c": "blocked"}
    bench.products = {"a.out": "other"}
    assert bench.run_all() == ["a", "b", "c"]


def test_the_marks_for_early_cutoff_come_back(make_bench: Make) -> None:
    """SEMANTICS 4.9"""
    bench = make_bench(linked("a", "b"), detect="content")
    bench.disk.write("x")
    bench.products = {"a.out": "same", "b.out": "same"}
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x")
    bench.operate(Reinit)
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.operate(Undo)
    assert bench.run_all() == ["a"], "b is spared again"


def test_what_an_operation_itself_left_canceled_is_put_back(make_bench: Make) -> None:
    """SEMANTICS 5.6: `b` was ready, and canceled by the reinit that evaluated `u` below a failure."""
    bench = make_bench(chained("f>u>b"))
    bench.operate(Initialize)
    bench.change(lambda draft: disable_jobs(draft, [bench.id("u")]))
    bench.claim()
    bench.finish("f", code=1)
    bench.report(returned=[bench.attempt("b")])
    bench.change(lambda draft: enable_jobs(draft, [bench.id("u")]))
    before = contents(bench)
    bench.operate(Reinit)
    assert bench.status() == {"f": "failed", "u": "canceled", "b": "canceled"}
    bench.operate(Undo)
    assert contents(bench) == before


def test_a_job_that_was_canceled_for_another_reason_gets_that_one_back(make_bench: Make) -> None:
    """SEMANTICS 2.4: the restart found that a failure upstream keeps it from running."""
    bench = make_bench(chained("f>c", "r>c"))
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("f"), bench.attempt("r")])
    bench.finish("f", code=1)
    bench.cancel()
    bench.operate(AcceptJobs, jobs=[bench.id("r")], reason="r")
    before = contents(bench)
    bench.operate(Restart)
    assert bench.reason("c") == StatusReason.UPSTREAM_FAILED
    bench.operate(Undo)
    assert bench.reason("c") == StatusReason.BY_USER
    assert contents(bench) == before


def test_what_a_failure_beside_it_has_canceled_since_is_put_back(beside: Workbench) -> None:
    """SEMANTICS §2"""
    beside.operate(AcceptJobs, jobs=[beside.id("b")], reason="r")
    beside.operate(ResetJobs, jobs=[beside.id("also")])
    beside.operate(Prepare)
    beside.finish("live", code=1)
    assert beside.status()["also"] == "canceled"
    beside.operate(Undo)
    assert (beside.status()["also"], beside.reason("also")) == ("canceled", StatusReason.UPSTREAM_FAILED)
    beside.check()


@pytest.mark.parametrize("settles", ["canceled", "accepted"])
def test_what_would_wait_again_in_a_workflow_that_was_canceled_since_is_not_put_back(
    make_bench: Make, settles: str
) -> None:
    """A cancel by the user stands: it would have canceled these jobs, too."""
    bench = make_bench(chained("f>u"))
    bench.operate(Initialize)
    if settles == "canceled":
        bench.run_all(failing=["f"])
        bench.operate(ResetJobs, jobs=[bench.id("u")])
        bench.operate(Reinit)
    else:
        bench.operate(AcceptJobs, jobs=[bench.id("f"), bench.id("u")], reason="r")
    assert bench.status()["u"] == {"canceled": "canceled", "accepted": "completed"}[settles]
    bench.cancel()
    with pytest.raises(Refused, match="changed otherwise"):
        bench.operate(Undo)


@pytest.mark.parametrize("is_only_one", [False, True])
def test_files_that_an_update_has_removed_since_stay_removed(make_bench: Make, is_only_one: bool) -> None:
    """SEMANTICS 5.7: also when there is no file left at all."""
    bench = make_bench([job("a", input_files=["x"]), *([] if is_only_one else [job("b", input_files=["z"])])])
    bench.disk.write("x", "z")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x")
    bench.operate(Reinit)
    bench.update([job("a"), *([] if is_only_one else [job("b", input_files=["z"])])])
    bench.operate(Undo)
    assert bench.status()["a"] == "completed"
    assert bench.run_all() == []


# ---- the history of files ----


def test_what_was_recorded_and_taken_back_is_nobodys_history(make_bench: Make) -> None:
    """SEMANTICS 4.7: content that no attempt has used makes nothing up to date."""
    bench = make_bench([job("a", input_files=["x"]), job("b", input_files=["x"])], detect="content")
    bench.disk.write("x", content="one")
    bench.operate(Initialize)
    bench.run_all()
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.disk.write("x", content="two")
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    bench.disk.write("x", content="three")
    bench.operate(Prepare)
    bench.operate(Undo)
    history = bench.rows("SELECT version FROM file_history WHERE file_id = ?", bench.id("x", "file"))
    assert history == []


def test_a_job_that_ran_after_an_undo_is_compared_with_what_was_in_force_then(make_bench: Make) -> None:
    """SEMANTICS 4.7"""
    jobs = [job("a", input_files=["x"]), job("b", input_files=["x"]), job("c", input_files=["x"])]
    bench = make_bench(jobs, detect="content")
    bench.disk.write("x", content="one")
    bench.operate(Initialize)
    assert set(bench.run_all()) == {"a", "b", "c"}
    bench.operate(ResetJobs, jobs=[bench.id("c")], reinitialize=True)  # c is ready
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.disk.write("x", content="two")
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    bench.disk.write("x", content="three")
    bench.operate(Prepare)
    bench.disk.write("x", content="one")
    bench.operate(Undo)
    assert bench.status()["c"] == "ready"
    assert bench.run_all() == ["c"]  # it used the first content
    bench.disk.write("x", content="four")
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    bench.disk.write("x", content="two")
    assert "c" in plan_of(bench)
    bench.disk.write("x", content="one")
    assert "c" not in plan_of(bench)


# ---- dry run ----


def test_a_dry_run_writes_nothing_and_is_the_real_plan(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    touch(bench)
    bench.operate(Reinit)
    preview = bench.preview(Undo)
    real = bench.operate(Undo, expect=preview.summary.plan_digest)
    assert real.packed == preview.packed


def test_records_that_would_be_put_back_are_part_of_the_digest(make_bench: Make) -> None:
    """SEMANTICS 5.4: the plan lists the same jobs, but the record of a file would not be the same afterwards."""
    bench = make_bench([job("a", input_files=["x"]), job("b", input_files=["x"])])
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.operate(ResetJobs, jobs=[bench.id("b")], reinitialize=True)
    bench.disk.write("x")
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="r")
    digest = bench.preview(Undo).summary.plan_digest
    assert bench.run_all() == ["b"]
    with pytest.raises(Conflict):
        bench.preview(Undo, expect=digest)
