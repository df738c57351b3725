"""Jobs that need not run because what runs again upstream leaves behind what it did before: SEMANTICS 4.9."""

from collections.abc import Callable

import pytest
from builders import job, linked
from workbench import Workbench

from torcd.core.planning import needs_preparing
from torcd.core.status import StatusReason
from torcd.protocol.errors import Refused
from torcd.protocol.requests import AcceptJobs, Initialize, Prepare, Reinit, ResetJobs, ResetStatus, Restart, Undo
from torcd.protocol.specification import UserDataSpec
from torcd.storage.load import load_state

Make = Callable[..., Workbench]
Ready = Callable[..., Workbench]


def change(bench: Workbench, *files: str) -> None:
    """Gives files other content, and resets what that affects."""
    bench.disk.write(*files)
    bench.operate(Reinit)


def run(bench: Workbench) -> list[str]:
    """Runs what there is to run, and checks that nothing is stale afterwards."""
    ran = bench.run_all()
    assert bench.preview(Reinit).summary.listed == 0
    return ran


# ---- spared ----


def test_a_chain_behind_a_job_that_leaves_the_same_behind_is_spared(finished: Ready) -> None:
    bench = finished(linked("a", "b", "c", "d"))
    change(bench, "x")
    assert bench.status() == {"a": "ready", "b": "blocked", "c": "blocked", "d": "blocked"}
    assert run(bench) == ["a"]
    assert set(bench.status().values()) == {"completed"}
    assert [bench.reason(name) for name in "abcd"] == [StatusReason.NONE, *[StatusReason.UNCHANGED_INPUTS] * 3]


def test_what_changes_before_a_run_is_seen_by_that_run(finished: Ready) -> None:
    """SEMANTICS 4.9, 5.1: a job whose input or output is not what it was when it was reset is not spared"""
    jobs = [
        job("a", input_files=["x"], output_files=["m"]),
        job("edited", input_files=["m", "z"], output_files=["e"]),
        job("gone", input_files=["m"], output_files=["g"]),
        job("after", input_files=["g"], output_files=["h"]),
        job("same", input_files=["m"], output_files=["s"]),
    ]
    bench = finished(jobs)
    change(bench, "x")
    assert needs_preparing(bench.state)
    bench.operate(Prepare)
    bench.disk.write("z")
    bench.disk.delete("g")
    bench.disk.touch("s")
    bench.operate(Prepare)
    assert sorted(run(bench)) == ["a", "after", "edited", "gone"]
    assert not needs_preparing(bench.state)


def test_a_spared_job_has_no_new_attempt_and_keeps_its_result(finished: Ready) -> None:
    """SEMANTICS 8.5"""
    bench = finished(linked("a", "b"))
    before = bench.rows("SELECT * FROM result WHERE job_id = ?", bench.id("b"))
    change(bench, "x")
    run(bench)
    assert bench.rows("SELECT * FROM result WHERE job_id = ?", bench.id("b")) == before
    assert bench.attempt("b").attempt_id == 1


def test_the_moves_are_in_the_log(finished: Ready) -> None:
    """SEMANTICS 7.1"""
    bench = finished(linked("a", "b", "c"))
    change(bench, "x")
    run(bench)
    changes = [each for _, kind, data in bench.events() if kind == "jobs_changed" for each in data["changes"]]
    assert changes[-1] == {
        "status": "completed",
        "status_reason": "unchanged_inputs",
        "count": 2,
        "jobs": f"{bench.id('b')}-{bench.id('c')}",
    }


def test_a_diamond_is_spared_when_all_its_sides_are_unchanged(finished: Ready) -> None:
    sides = [job(name, input_files=["a.out"], output_files=[f"{name}.out"]) for name in "bc"]
    bench = finished([*linked("a"), *sides, job("d", input_files=["b.out", "c.out"], output_files=["d.out"])])
    change(bench, "x")
    assert run(bench) == ["a"]


def test_a_ladder_of_many_rungs_is_spared(finished: Ready) -> None:
    """SEMANTICS 2.1: nodes and edges, never paths"""
    jobs = [*linked("a0"), job("b0", input_files=["x"], output_files=["b0.out"])]
    for rung in range(1, 40):
        taken = [f"a{rung - 1}.out", f"b{rung - 1}.out"]
        jobs += [job(f"{side}{rung}", input_files=taken, output_files=[f"{side}{rung}.out"]) for side in "ab"]
    bench = finished(jobs)
    change(bench, "x")
    assert run(bench) == ["a0", "b0"]


def test_one_of_two_upstream_that_changed_is_enough_to_run(finished: Ready) -> None:
    jobs = [
        job("a", input_files=["x"], output_files=["a.out"]),
        job("b", input_files=["x"], output_files=["b.out"]),
        job("c", input_files=["a.out"], output_files=["c.out"]),
        job("d", input_files=["a.out", "b.out"], output_files=["d.out"]),
        job("e", input_files=["d.out"], output_files=["e.out"]),
    ]
    bench = finished(jobs)
    bench.products["b.out"] = "other"
    change(bench, "x")
    assert run(bench) == ["a", "b", "d"]
    assert bench.reason("c") == bench.reason("e") == StatusReason.UNCHANGED_INPUTS


def test_a_change_in_the_middle_of_a_chain_runs_what_follows_until_it_dies_out(finished: Ready) -> None:
    bench = finished(linked("a", "b", "c", "d", "e"))
    bench.products["b.out"] = "other"
    bench.edit("b", command="run b otherwise")
    bench.operate(Reinit)
    assert run(bench) == ["b", "c"]


def test_only_the_output_that_a_job_takes_matters(finished: Ready) -> None:
    jobs = [
        job("a", input_files=["x"], output_files=["one", "two"]),
        job("b", input_files=["one"], output_files=["b.out"]),
        job("c", input_files=["two"], output_files=["c.out"], depends_on=["a"]),
    ]
    bench = finished(jobs)
    bench.products["one"] = "other"
    change(bench, "x")
    assert run(bench) == ["a", "b"]


def test_an_upstream_of_which_a_job_takes_nothing_has_to_leave_everything_unchanged(finished: Ready) -> None:
    jobs = [
        job("a", input_files=["x"], output_files=["one", "two"]),
        job("b", depends_on=["a"], output_files=["b.out"]),
    ]
    bench = finished(jobs)
    change(bench, "x")
    assert run(bench) == ["a"]
    bench.products["two"] = "other"
    change(bench, "x")
    assert run(bench) == ["a", "b"]


def test_an_upstream_without_any_output_spares_nobody(finished: Ready) -> None:
    jobs = [
        job("a", input_files=["x"]),
        job("b", depends_on=["a"], output_files=["b.out"]),
        job("c", input_files=["b.out"]),
    ]
    bench = finished(jobs)
    change(bench, "x")
    assert run(bench) == ["a", "b"]
    assert bench.reason("c") == StatusReason.UNCHANGED_INPUTS


def test_an_upstream_without_any_output_that_itself_was_spared_spares_nobody_directly_behind_it(
    finished: Ready,
) -> None:
    """What it would have left behind cannot be told when it is reset."""
    jobs = [*linked("a"), job("b", input_files=["a.out"]), job("c", depends_on=["b"], output_files=["c.out"])]
    bench = finished(jobs)
    change(bench, "x")
    assert run(bench) == ["a", "c"]
    assert bench.reason("b") == StatusReason.UNCHANGED_INPUTS


def test_a_job_is_spared_as_soon_as_the_last_of_its_upstream_has_ended(finished: Ready) -> None:
    jobs = [
        job("a", input_files=["x"], output_files=["a.out"]),
        job("b", input_files=["x"], output_files=["b.out"]),
        job("c", input_files=["a.out", "b.out"]),
    ]
    bench = finished(jobs)
    change(bench, "x")
    bench.claim()
    bench.finish("a")
    assert bench.status()["c"] == "blocked"
    bench.finish("b")
    assert bench.status()["c"] == "completed"
    bench.check()


def test_two_upstream_that_end_in_one_report_spare_once(finished: Ready) -> None:
    jobs = [
        job("a", input_files=["x"], output_files=["a.out"]),
        job("b", input_files=["x"], output_files=["b.out"]),
        job("c", input_files=["a.out", "b.out"], output_files=["c.out"]),
        job("d", input_files=["c.out", "b.out"]),
    ]
    bench = finished(jobs)
    change(bench, "x")
    bench.claim()
    bench.report(started=[bench.attempt("a"), bench.attempt("b")])
    bench.write_outputs("a")
    bench.write_outputs("b")
    assert bench.report(ended=[bench.end("a"), bench.end("b")]) == []
    assert bench.status() == dict.fromkeys("abcd", "completed")
    bench.check()


# ---- user data ----

TALK = [
    job("a", input_files=["x"], output_user_data=["said"]),
    job("b", input_user_data=["said"], output_files=["b.out"]),
    job("c", depends_on=["a"], output_files=["c.out"]),
]


def test_a_value_that_is_written_again_as_it_was_spares_its_readers(finished: Ready) -> None:
    """SEMANTICS 4.3"""
    bench = finished(TALK, (), [UserDataSpec(name="said")], answers={"said": {"k": 1, "l": 2}})
    bench.answers["said"] = {"l": 2.0, "k": 1}
    change(bench, "x")
    assert run(bench) == ["a"]


def test_another_value_spares_nobody(finished: Ready) -> None:
    """SEMANTICS 4.3"""
    bench = finished(TALK, (), [UserDataSpec(name="said")], answers={"said": 1})
    bench.answers["said"] = 2
    change(bench, "x")
    assert run(bench) == ["a", "b", "c"]


def test_a_value_that_went_away_and_came_back_is_the_same(finished: Ready) -> None:
    """SEMANTICS 4.3"""
    bench = finished(TALK, (), [UserDataSpec(name="said")], answers={"said": 1})
    change(bench, "x")
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    ref = bench.attempt("a")
    for value in (2, 1):
        bench.set_value("said", value, job_id=ref.job_id, attempt_id=ref.attempt_id)
    bench.report(ended=[bench.end("a")])
    assert bench.run_all() == []


# ---- not eligible ----


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bench: bench.edit("b", command="run b otherwise"),
        lambda bench: bench.disk.write("y"),
        lambda bench: bench.set_value("given", 2),
    ],
    ids=["definition", "another input", "user data"],
)
def test_a_job_with_a_reason_of_its_own_runs(finished: Ready, spoil: Callable[[Workbench], None]) -> None:
    jobs = [
        *linked("a"),
        job("b", input_files=["a.out", "y"], input_user_data=["given"], output_files=["b.out"]),
        job("c", input_files=["b.out"]),
    ]
    bench = finished(jobs, (), [UserDataSpec(name="given", data=1)])
    spoil(bench)
    change(bench, "x")
    assert run(bench) == ["a", "b"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bench: bench.edit("b", command="run b otherwise"),
        lambda bench: (bench.disk.write("y"), bench.operate(Reinit)),
        lambda bench: (bench.disk.write("y"), bench.operate(Restart)),
        lambda bench: (bench.disk.touch("y"), bench.operate(Reinit, detect="mtime")),
        lambda bench: bench.set_value("given", 2),
        lambda bench: (bench.operate(ResetJobs, jobs=[bench.id("b")]), bench.operate(Prepare)),
    ],
    ids=["definition", "input, reinit", "input, restart", "touched by time", "user data", "on request"],
)
def test_a_job_whose_reason_comes_up_while_it_waits_runs(finished: Ready, spoil: Callable[[Workbench], None]) -> None:
    jobs = [
        *linked("a"),
        job("b", input_files=["a.out", "y"], input_user_data=["given"], output_files=["b.out"]),
        job("c", input_files=["b.out"]),
    ]
    bench = finished(jobs, (), [UserDataSpec(name="given", data=1)])
    change(bench, "x")
    spoil(bench)
    assert run(bench) == ["a", "b"]


@pytest.mark.parametrize("deletes_first", [True, False])
def test_a_job_whose_output_is_gone_runs_and_so_do_its_consumers_who_miss_an_input(
    finished: Ready, deletes_first: bool
) -> None:
    """SEMANTICS 4.4"""
    bench = finished(linked("a", "b", "c", "d"))
    if deletes_first:
        bench.disk.delete("b.out")
        change(bench, "x")
    else:
        change(bench, "x")
        bench.disk.delete("b.out")
        bench.operate(Reinit)
    assert run(bench) == ["a", "b", "c"]
    assert bench.reason("d") == StatusReason.UNCHANGED_INPUTS


@pytest.mark.parametrize(
    "harmless",
    [
        lambda bench: (bench.edit("b", command="other"), bench.edit("b", command="run b")),
        lambda bench: (bench.set_value("given", 2), bench.set_value("given", 1)),
        lambda bench: (bench.disk.touch("y"), bench.operate(Reinit)),
        lambda bench: bench.operate(Reinit),
        lambda bench: bench.operate(Restart),
        lambda bench: bench.operate(Restart, only_uninitialized=True),
        lambda bench: bench.edit("b", priority=3, cancel_on_blocking_job_failure=False),
        lambda bench: change(bench, "x"),
        lambda bench: setattr(bench, "state", load_state(bench.db, bench.workflow_id)),
        lambda bench: (bench.claim(), bench.report(returned=[bench.attempt("a")])),
        lambda bench: (bench.operate(ResetJobs, jobs=[bench.id("a")]), bench.operate(Prepare)),
    ],
    ids=[
        "edited and back", "value and back", "touched", "reinit", "restart", "only uninitialized", "attributes",
        "reset twice", "daemon restarted", "handed back", "upstream reset on request",
    ],
)  # fmt: skip
def test_what_happens_while_a_job_waits_and_makes_no_difference_leaves_it_spared(
    finished: Ready, harmless: Callable[[Workbench], None]
) -> None:
    jobs = [
        *linked("a"),
        job("b", input_files=["a.out", "y"], input_user_data=["given"], output_files=["b.out"]),
        job("c", input_files=["b.out"]),
    ]
    bench = finished(jobs, (), [UserDataSpec(name="given", data=1)])
    change(bench, "x")
    harmless(bench)
    assert run(bench) == ["a"]


def test_a_job_that_was_not_completed_before_runs(finished: Ready) -> None:
    bench = finished(linked("a", "b", "c"))
    change(bench, "x")
    bench.products["a.out"] = "other"
    assert bench.run_all(failing=["b"]) == ["a", "b"]
    bench.products["a.out"] = "yet another"
    change(bench, "x")
    bench.products["a.out"] = "other"
    assert bench.run_all() == ["a", "b", "c"]


def test_a_job_that_never_ran_runs(make_bench: Make) -> None:
    bench = make_bench(linked("a", "b"), detect="content")
    bench.disk.write("x")
    bench.products = {"a.out": "same", "b.out": "same"}
    bench.operate(Initialize)
    bench.disk.write("x")
    bench.operate(Reinit)
    assert run(bench) == ["a", "b"]


def test_an_initialize_runs_everything(finished: Ready) -> None:
    """SEMANTICS §5"""
    bench = finished(linked("a", "b"))
    bench.operate(Initialize, force=True)
    assert run(bench) == ["a", "b"]


def test_a_reset_of_all_jobs_runs_everything(finished: Ready) -> None:
    bench = finished(linked("a", "b"))
    bench.operate(ResetStatus, reinitialize=True)
    assert run(bench) == ["a", "b"]


def test_a_reset_of_one_job_spares_what_is_downstream(finished: Ready) -> None:
    bench = finished(linked("a", "b", "c"))
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    assert bench.status() == {"a": "completed", "b": "uninitialized", "c": "uninitialized"}
    bench.operate(Prepare)
    assert run(bench) == ["b"]


def test_by_time_nobody_is_spared(finished: Ready) -> None:
    bench = finished(linked("a", "b"))
    bench.disk.touch("x")
    bench.operate(Reinit, detect="mtime")
    assert run(bench) == ["a", "b"]


def test_a_workflow_told_by_time_spares_after_a_reinit_by_content(make_bench: Make) -> None:
    bench = make_bench(linked("a", "b", "c"))
    bench.disk.write("x")
    bench.products = {f"{name}.out": "same" for name in "abc"}
    bench.operate(Initialize)
    bench.run_all()
    assert bench.operate(Reinit, detect="content").summary.listed == 0
    bench.disk.write("x")
    bench.operate(Reinit, detect="content")
    assert bench.run_all() == ["a"]
    assert bench.status() == dict.fromkeys("abc", "completed")
    assert bench.operate(Reinit, detect="content").summary.listed == 0
    assert bench.operate(Reinit).summary.listed == 0


def test_an_operation_by_time_after_one_by_content_that_resets_the_job_anew_has_it_run(finished: Ready) -> None:
    bench = finished(linked("a", "b"))
    change(bench, "x")
    bench.edit("a", command="run a otherwise")
    bench.operate(ResetJobs, jobs=[bench.id("a")], detect="mtime")
    bench.operate(Prepare)
    assert run(bench) == ["a", "b"]


def test_a_job_that_is_ready_already_runs(finished: Ready) -> None:
    """Once a change has reached it, later unchanged runs upstream do not take that back."""
    bench = finished(linked("a", "b"))
    bench.products["a.out"] = "other"
    change(bench, "x")
    bench.claim(jobs=1)
    bench.finish("a")
    assert bench.status()["b"] == "ready"
    change(bench, "x")
    assert bench.status()["b"] == "blocked"
    assert run(bench) == ["a", "b"]


# ---- failures, cancels, losses ----


def test_a_failed_upstream_cancels_and_the_next_round_decides_anew(finished: Ready) -> None:
    """SEMANTICS §2"""
    bench = finished(linked("a", "b", "c"))
    change(bench, "x")
    assert bench.run_all(failing=["a"]) == ["a"]
    assert bench.status() == {"a": "failed", "b": "canceled", "c": "canceled"}
    bench.operate(ResetStatus, failed_only=True, reinitialize=True)
    bench.run_all()
    assert set(bench.status().values()) == {"completed"}
    assert bench.preview(Reinit).summary.listed == 0


def test_a_job_that_goes_on_after_a_failure_runs_and_is_not_spared(finished: Ready) -> None:
    """SEMANTICS §2: the cancel flag is false"""
    jobs = [*linked("a"), job("b", input_files=["a.out"], output_files=["b.out"], cancel_on_blocking_job_failure=False)]
    bench = finished(jobs)
    change(bench, "x")
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    assert bench.report(ended=[bench.end("a", 1)]) == []
    assert bench.status() == {"a": "failed", "b": "ready"}


def test_an_upstream_that_fails_because_an_output_is_missing_spares_nobody(finished: Ready) -> None:
    """SEMANTICS §2"""
    bench = finished(linked("a", "b"))
    change(bench, "x")
    bench.claim()
    bench.disk.delete("a.out")
    bench.finish("a", writes=False)
    assert bench.status() == {"a": "failed", "b": "canceled"}


def test_an_upstream_that_was_lost_and_came_back_still_spares(finished: Ready) -> None:
    """SEMANTICS 8.4"""
    bench = finished(linked("a", "b"))
    change(bench, "x")
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.lose()
    assert bench.status() == {"a": "terminated", "b": "canceled"}
    bench.write_outputs("a")
    bench.report(ended=[bench.end("a")])
    assert bench.status() == {"a": "completed", "b": "completed"}
    bench.check()


def test_a_canceled_workflow_that_is_restarted_runs_what_was_canceled(finished: Ready) -> None:
    bench = finished(linked("a", "b"))
    change(bench, "x")
    bench.cancel()
    bench.operate(Restart)
    assert run(bench) == ["a", "b"]


def test_an_unaffected_failure_beside_it_cancels_as_ever(finished: Ready) -> None:
    jobs = [
        *linked("a"),
        job("other", input_files=["x"], output_files=["other.out"]),
        job("b", input_files=["a.out", "other.out"], output_files=["b.out"]),
    ]
    bench = finished(jobs)
    change(bench, "x")
    bench.run_all(failing=["other"])
    assert bench.status() == {"a": "completed", "other": "failed", "b": "canceled"}


# ---- accepted and disabled upstream ----


def test_an_upstream_that_is_accepted_with_its_outputs_as_they_were_spares_at_once(finished: Ready) -> None:
    bench = finished(linked("a", "b", "c"))
    change(bench, "x")
    planned = bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="no difference")
    assert bench.status() == dict.fromkeys("abc", "completed")
    assert bench.reason("c") == StatusReason.UNCHANGED_INPUTS
    assert list(bench.reasons(planned)) == ["a", "b", "c"]
    assert bench.preview(Reinit).summary.listed == 0


def test_an_upstream_that_is_accepted_with_other_outputs_has_its_consumers_run(finished: Ready) -> None:
    bench = finished(linked("a", "b", "c"))
    change(bench, "x")
    bench.disk.write("a.out", content="by hand")
    bench.operate(AcceptJobs, jobs=[bench.id("a")], reason="by hand")
    assert bench.status() == {"a": "completed", "b": "ready", "c": "blocked"}
    assert run(bench) == ["b"]


# ---- marks ----


def test_the_mark_is_kept_by_a_restarted_daemon_and_goes_when_the_job_starts(finished: Ready) -> None:
    bench = finished(linked("a", "b"))
    change(bench, "x")
    marks = "SELECT job_id FROM job_state WHERE may_return = 1"
    assert bench.rows(marks) == [(bench.id("b"),)]
    bench.products["a.out"] = "other"
    run(bench)
    assert bench.rows(marks) == []


def test_the_plan_of_an_operation_that_only_marks_differs_from_one_that_does_not(finished: Ready) -> None:
    """SEMANTICS 5.4"""
    bench = finished(linked("a", "b"))
    bench.operate(ResetJobs, jobs=[bench.id("a")], detect="mtime")
    by_time = bench.preview(ResetJobs, jobs=[bench.id("a")], detect="mtime").summary.plan_digest
    bench.operate(Undo)
    assert bench.preview(ResetJobs, jobs=[bench.id("a")], detect="mtime").summary.plan_digest != by_time
    assert (
        bench.preview(ResetJobs, jobs=[bench.id("a")], detect="content").summary.plan_digest
        != bench.preview(ResetJobs, jobs=[bench.id("a")], detect="mtime").summary.plan_digest
    )


def test_a_refused_reinit_leaves_the_marks(finished: Ready) -> None:
    """SEMANTICS 4.8"""
    bench = finished(linked("a", "b"))
    change(bench, "x")
    bench.disk.delete("x")
    before = bench.dump()
    with pytest.raises(Refused):
        bench.preview(Reinit)
    assert bench.dump() == before
    assert bench.run_all() == ["a"]
