"""The operations on a database: what they write, what they refuse, dry runs and their digests."""

from collections.abc import Callable
from typing import Any

import pytest
from builders import chained, insert, job, new_workflow
from workbench import Workbench

from torcd.core.state import NEVER
from torcd.core.status import StatusReason
from torcd.operations.operate import find_replaced, load_history
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import AcceptJobs, Initialize, Operation, Prepare, Reinit, ResetJobs, ResetStatus, Restart

Make = Callable[..., Workbench]

DIAMOND = [
    job("a", input_files=["x"], output_files=["y"]),
    job("b", input_files=["y"]),
    job("c", input_files=["y"]),
    job("d", depends_on=["b", "c"]),
]


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """A diamond that was initialized."""
    made = make_bench(DIAMOND)
    made.disk.write("x")
    made.operate(Initialize)
    return made


def failed(bench: Workbench, name: str) -> None:
    """Runs everything; one job fails."""
    bench.run_all(failing=[name])


# ---- initialize ----


def test_initialize_records_files_and_counts_the_run(make_bench: Make) -> None:
    """SEMANTICS §5: a workflow is created with run_id 0"""
    bench = make_bench(DIAMOND)
    bench.disk.write("x", size=3)
    assert bench.state.run_id == 0
    assert set(bench.state.files.size.tolist()) == {NEVER}
    bench.operate(Initialize)
    assert bench.state.run_id == 1
    assert bench.status() == {"a": "ready", "b": "blocked", "c": "blocked", "d": "blocked"}
    recorded = dict(bench.rows("SELECT f.name, r.size FROM file_record r JOIN file f ON f.id = r.file_id"))
    assert recorded == {"x": 3, "y": -1}


def test_initialize_of_a_workflow_that_ran_is_refused_unless_forced(bench: Workbench) -> None:
    """SEMANTICS §5"""
    bench.run_all()
    before = bench.dump()
    with pytest.raises(Refused, match="reinit"):
        bench.plan(Initialize(workflow_id=1))
    assert bench.dump() == before
    bench.operate(Initialize, force=True)
    assert bench.state.run_id == 2
    assert bench.run_all() == ["a", "b", "c", "d"]


def test_initialize_with_a_failed_job_needs_no_force(bench: Workbench) -> None:
    """SEMANTICS §5: refused with any completed job"""
    failed(bench, "a")
    assert bench.operate(Initialize).summary.warnings == []
    assert bench.status() == {"a": "ready", "b": "blocked", "c": "blocked", "d": "blocked"}


def test_missing_inputs_refuse_initialize_and_nothing_is_written(make_bench: Make) -> None:
    """SEMANTICS §5"""
    bench = make_bench(DIAMOND)
    with pytest.raises(Refused, match="/submitted/x"):
        bench.preview(Initialize)
    bench.operate(Initialize, force=True)
    assert bench.status()["a"] == "ready"


# ---- prepare ----


def test_a_reset_followed_by_a_run_just_works(bench: Workbench) -> None:
    """SEMANTICS 5.1"""
    failed(bench, "b")
    assert bench.status() == {"a": "completed", "b": "failed", "c": "completed", "d": "canceled"}
    bench.operate(ResetStatus, failed_only=True)
    assert bench.status() == {"a": "completed", "b": "uninitialized", "c": "completed", "d": "uninitialized"}
    planned = bench.operate(Prepare)
    assert planned.summary.run_id == 1
    assert bench.run_all() == ["b", "d"]
    assert bench.operate(Reinit).summary.listed == 0, "they are up to date afterwards"


def test_prepare_of_a_new_workflow_initializes_it(make_bench: Make) -> None:
    """SEMANTICS 5.1"""
    bench = make_bench(DIAMOND)
    bench.disk.write("x")
    bench.operate(Prepare)
    assert bench.state.run_id == 1
    assert bench.operate(Prepare).summary.listed == 0
    assert bench.run_all() == ["a", "b", "c", "d"]


def test_a_job_whose_missing_input_was_reset_away_refuses_prepare(bench: Workbench) -> None:
    """SEMANTICS 5.1"""
    bench.run_all()
    bench.disk.delete("x")
    bench.operate(ResetJobs, jobs=[bench.id("a")])
    with pytest.raises(Refused, match="/submitted/x"):
        bench.preview(Prepare)


# ---- restart ----


def test_restart_takes_up_what_was_lost_and_leaves_what_failed(bench: Workbench) -> None:
    """SEMANTICS §5"""
    bench.run_all(failing=["b"])
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.operate(Prepare)
    bench.claim()
    bench.report(started=[bench.attempt("c")])
    bench.lose()
    assert bench.status() == {"a": "completed", "b": "failed", "c": "terminated", "d": "canceled"}
    planned = bench.operate(Restart)
    assert bench.reasons(planned) == {
        "c": [{"kind": "not_completed", "status": "terminated", "status_reason": "worker_lost"}]
    } | {name: reasons for name, reasons in bench.reasons(planned).items() if name == "d"}
    assert bench.status() == {"a": "completed", "b": "failed", "c": "ready", "d": "blocked"}
    assert bench.state.run_id == 2


def test_restart_after_a_cancel_runs_what_was_left_and_clears_the_flag(bench: Workbench) -> None:
    """SEMANTICS §5"""
    bench.claim()
    bench.finish("a")
    assert bench.cancel() == 3
    assert bench.state.is_canceled
    bench.operate(Restart)
    assert not bench.state.is_canceled
    assert bench.rows("SELECT is_canceled FROM workflow") == [(0,)]
    assert bench.run_all() == ["b", "c", "d"]


def test_restart_only_uninitialized_lets_live_jobs_run_on(bench: Workbench) -> None:
    """SEMANTICS §5, 5.3"""
    bench.run_all()
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.operate(Prepare)
    bench.claim()
    bench.report(started=[bench.attempt("b")])
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    assert bench.status() == {"a": "completed", "b": "running", "c": "uninitialized", "d": "uninitialized"}
    bench.operate(Restart, only_uninitialized=True)
    assert bench.status() == {"a": "completed", "b": "running", "c": "ready", "d": "blocked"}
    assert bench.state.run_id == 1
    assert bench.report(ended=[bench.end("b")]) == []
    assert bench.run_all() == ["c", "d"]


# ---- resets ----


def test_reset_status_keeps_the_results(bench: Workbench) -> None:
    """SEMANTICS §5: results stay in history"""
    bench.run_all()
    bench.operate(ResetStatus)
    assert set(bench.status().values()) == {"uninitialized"}
    assert bench.rows("SELECT count(*) FROM result") == [(4,)]


def test_reset_status_reinitialize_is_one_transaction(bench: Workbench) -> None:
    """SEMANTICS §5"""
    failed(bench, "c")
    bench.operate(ResetStatus, failed_only=True, reinitialize=True)
    assert bench.status() == {"a": "completed", "b": "completed", "c": "ready", "d": "blocked"}
    assert bench.state.run_id == 2
    assert [kind for _, kind, _ in bench.events()].count("operation") == 2, "initialize and this one"


def test_jobs_are_selected_by_id_status_and_return_code(bench: Workbench) -> None:
    """SEMANTICS §5: selectors"""
    failed(bench, "b")

    def chosen(**selectors: Any) -> list[str]:
        return [each.name for each in bench.show(bench.preview(ResetJobs, **selectors))]

    assert chosen(jobs=[bench.id("c")]) == ["c", "d"]
    assert chosen(return_code=1) == ["b", "d"]
    assert chosen(status="failed") == ["b", "d"]
    assert chosen(status="done") == ["a", "b", "c", "d"]
    assert chosen(jobs=[bench.id("c")], status="failed") == ["b", "c", "d"]
    assert chosen(return_code=77) == chosen() == chosen(status="running") == []
    assert chosen(jobs=[bench.id("c")] * 3) == ["c", "d"]


def test_a_return_code_is_that_of_the_latest_attempt(bench: Workbench) -> None:
    """SEMANTICS 8.5"""
    failed(bench, "b")
    bench.operate(ResetJobs, return_code=1)
    bench.operate(Prepare)
    bench.run_all()
    assert bench.preview(ResetJobs, return_code=1).summary.listed == 0


def test_an_unknown_id_changes_nothing_and_is_named(bench: Workbench) -> None:
    """SEMANTICS §5: all or nothing"""
    with pytest.raises(NotFound, match="no job 999; nothing was changed") as no:
        bench.preview(ResetJobs, jobs=[bench.id("a"), 999])
    assert no.value.data["ids"] == [999]
    with pytest.raises(Refused, match="no status 'finished'"):
        bench.preview(ResetJobs, status="finished")


def test_a_job_of_another_workflow_is_unknown(make_bench: Make) -> None:
    """SEMANTICS §5: ids of two workflows"""
    bench = make_bench(DIAMOND)
    insert(bench.db, new_workflow([job("other")]))
    (other,) = bench.rows("SELECT id FROM job WHERE name = 'other'")[0]
    with pytest.raises(NotFound):
        bench.preview(ResetJobs, jobs=[other])


# ---- 5.2 and 5.3 ----


def test_stopped_attempts_are_fenced_and_leave_a_result_of_their_own(bench: Workbench) -> None:
    """SEMANTICS 5.2"""
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    stale = bench.end("a")
    with pytest.raises(Conflict, match="--stop-live"):
        bench.preview(ResetStatus)
    bench.operate(ResetStatus, stop_live=True)
    assert bench.status()["a"] == "uninitialized"
    stored = bench.rows("SELECT status, reason, return_code FROM result")
    assert stored == [(8, StatusReason.SUPERSEDED, None)]
    before = bench.dump()
    assert [each.why for each in bench.report(ended=[stale])] == ["superseded"]
    assert bench.dump() == before


def test_a_stopped_claim_is_fenced_too(bench: Workbench) -> None:
    """SEMANTICS 5.2"""
    bench.claim()
    stale = bench.end("a")
    bench.operate(ResetStatus, stop_live=True, reinitialize=True)
    assert bench.status()["a"] == "ready"
    assert [each.why for each in bench.report(started=[bench.attempt("a")])] == ["superseded"]
    before = bench.dump()
    assert [each.why for each in bench.report(ended=[stale])] == ["superseded"]
    assert bench.dump() == before
    (launch,) = bench.claim(worker=2)
    assert launch.attempt_id == 2


def test_the_run_id_is_no_fence(bench: Workbench) -> None:
    """SEMANTICS 5.3: jobs started before an unrelated restart complete normally"""
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.operate(Restart)
    assert bench.state.run_id == 2
    bench.write_outputs("a")
    assert bench.report(ended=[bench.end("a")]) == []
    assert bench.status()["a"] == "completed"
    assert bench.rows("SELECT run_id FROM result") == [(1,)]


# ---- 5.4 ----

VARIANTS: list[tuple[type[Operation], dict[str, Any]]] = [
    (Initialize, {"force": True}),
    (Prepare, {}),
    (Reinit, {}),
    (Restart, {}),
    (Restart, {"only_uninitialized": True}),
    (ResetStatus, {}),
    (ResetStatus, {"failed_only": True}),
    (ResetStatus, {"failed_only": True, "reinitialize": True}),
    (ResetJobs, {"jobs": [1]}),
]


@pytest.mark.parametrize(("kind", "parameters"), VARIANTS)
def test_a_dry_run_writes_nothing_and_is_what_the_real_call_does(
    bench: Workbench, kind: type[Operation], parameters: dict[str, Any]
) -> None:
    """SEMANTICS 5.4"""
    failed(bench, "c")
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.disk.touch("x")
    planned = bench.preview(kind, **parameters)
    before = bench.status()
    shown = bench.show(planned)
    assert [each.name for each in shown] == sorted({each.name for each in shown}), "topological order, each once"
    assert all(each.from_ == before[each.name] for each in shown)
    done = bench.operate(kind, **parameters, expect=planned.summary.plan_digest)
    assert done.summary.plan_digest == planned.summary.plan_digest
    assert (done.summary, done.packed) == (planned.summary, planned.packed)
    after = bench.status()
    assert {each.name: each.to for each in shown} == {
        name: status for name, status in after.items() if status != before[name]
    }
    stored = bench.rows("SELECT jobs FROM task_plan ORDER BY task_id DESC LIMIT 1")
    assert stored == [(planned.packed,)], "the task keeps the same plan"


def test_what_the_real_call_refuses_the_dry_run_refuses(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    bench.run_all()
    bench.disk.delete("x")
    messages = set()
    for _ in range(2):
        with pytest.raises(Refused) as no:
            bench.preview(Reinit)
        messages.add(no.value.message)
    assert len(messages) == 1
    planned = bench.preview(Reinit, force=True)
    assert planned.summary.warnings


def test_a_plan_that_is_not_the_expected_one_is_a_conflict_that_says_what_drifted(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    bench.run_all()
    bench.disk.touch("x")
    digest = bench.preview(Reinit).summary.plan_digest
    bench.edit("c", command="new")
    before = bench.dump()
    with pytest.raises(Conflict, match="not the expected one") as no:
        bench.plan(Reinit(workflow_id=1, expect=digest))
    assert bench.dump() == before
    assert no.value.data["expected"] == digest
    assert no.value.data["plan_digest"] == bench.preview(Reinit).summary.plan_digest
    assert no.value.data["jobs"] == [bench.id(name) for name in "abcd"]


def test_the_digest_changes_with_everything_that_would_happen(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    bench.run_all()
    digests = [bench.preview(Reinit).summary.plan_digest]
    digests.append(bench.preview(Restart).summary.plan_digest)
    assert bench.preview(Reinit, force=True).summary.plan_digest == digests[0], "an option without effect"
    bench.disk.touch("x")
    digests.append(bench.preview(Reinit).summary.plan_digest)
    bench.disk.touch("x")
    digests.append(bench.preview(Reinit).summary.plan_digest)
    assert len(set(digests)) == len(digests)
    assert bench.preview(Reinit).summary.plan_digest == digests[-1]


def test_the_digest_tells_jobs_apart_whose_places_are_the_same() -> None:
    """SEMANTICS 5.4: an update has put another job where the one of the dry run was"""
    bench = Workbench(new_workflow([job("a")]))
    digest = bench.preview(Initialize).summary.plan_digest
    bench.update([job("b")])
    assert bench.preview(Initialize).summary.plan_digest != digest
    bench.close()


def test_the_digest_of_an_acceptance_is_the_same_for_whoever_asks(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    bench.run_all()

    def digest(**changes: str) -> str:
        given = {"reason": "checked", "requested_by": "ann", **changes}
        return bench.preview(AcceptJobs, jobs=[bench.id("a")], **given).summary.plan_digest

    assert digest(requested_by="bob") == digest()
    assert digest(reason="another") != digest()


def test_a_reset_that_goes_on_as_reinit_counts_only_what_is_stale() -> None:
    """SEMANTICS §5, reinit: uninitialized jobs are evaluated, not counted"""
    bench = Workbench(new_workflow(chained("a", "b>c")))
    bench.operate(Initialize)
    bench.claim(jobs=1)
    bench.finish("a", code=1)
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    summary = bench.preview(ResetStatus, failed_only=True, reinitialize=True).summary
    assert (summary.count, summary.listed) == (1, 3)
    named = bench.preview(ResetJobs, jobs=[bench.id("b")], reinitialize=True).summary
    assert (named.count, named.listed) == (1, 2), "what was asked for counts"
    bench.close()


# ---- what is written ----


def test_all_effects_of_an_operation_are_in_one_delta(bench: Workbench) -> None:
    """SEMANTICS §5, 7.1: the task's row and the events come with them"""
    bench.run_all()
    bench.disk.touch("x")
    planned = bench.operate(Reinit)
    assert bench.rows("SELECT status, finished_at_ms FROM task ORDER BY id DESC LIMIT 1") == [
        ("succeeded", bench.now_ms)
    ]
    events = bench.events()
    assert [seq for seq, _, _ in events] == list(range(1, len(events) + 1)), "numbered without gaps"
    told = {kind: data for _, kind, data in events[-3:]}
    assert told["operation"] == {
        "operation": "reinit",
        "task_id": 2,
        "run_id": 2,
        "count": 4,
        "plan_digest": planned.summary.plan_digest,
    }
    assert told["task_ended"] == {"task_id": 2, "status": "succeeded"}
    assert {each["status"]: each["jobs"] for each in told["jobs_changed"]["changes"]} == {
        "ready": "1",
        "blocked": "2-4",
    }


def test_a_large_reset_is_written_as_ranges_and_a_scattered_one_as_a_list(make_bench: Make) -> None:
    names = [f"j{number:02d}" for number in range(60)]
    bench = make_bench(chained(*names))
    bench.operate(Initialize)
    bench.run_all(failing=names[::2])
    bench.operate(ResetStatus, failed_only=True)
    assert {name for name, status in bench.status().items() if status == "uninitialized"} == set(names[::2])
    bench.operate(ResetStatus)
    assert set(bench.status().values()) == {"uninitialized"}


def test_a_ladder_goes_through_every_operation(make_bench: Make) -> None:
    """SEMANTICS 2.1, 4.6, §5: 128 jobs, and 2^63 paths"""
    rungs = [(f"l{rung}", f"r{rung}") for rung in range(64)]
    specs = [
        job(name, depends_on=list(rungs[rung - 1]) if rung else []) for rung, pair in enumerate(rungs) for name in pair
    ]
    bench = make_bench(specs)
    below = [name for pair in rungs[1:] for name in pair]
    bench.operate(Initialize)
    assert bench.run_all(failing=["l0"]) == ["l0", "r0"]
    assert {name for name, status in bench.status().items() if status == "canceled"} == set(below)
    for kind in (Reinit, Restart):
        assert bench.operate(kind).summary.listed == 0, "the failure stands"
    again = bench.operate(ResetStatus, failed_only=True, reinitialize=True)
    assert list(bench.reasons(again)) == ["l0", *below]
    assert bench.run_all() == ["l0", *below]
    bench.edit("r0", command="other")
    reasons = bench.reasons(bench.operate(Reinit))
    assert list(reasons) == ["r0", *below]
    assert {(each["root"], len(listed)) for listed in list(reasons.values())[1:] for each in listed} == {("r0", 1)}
    assert bench.run_all() == ["r0", *below]
    assert bench.operate(ResetJobs, jobs=[bench.id("l1")]).summary.listed == 125
    bench.operate(Restart)
    bench.run_all()
    assert bench.state.is_complete


def test_records_that_were_replaced_are_looked_up_once_however_many_jobs_take_the_file(
    make_bench: Make,
) -> None:
    """SEMANTICS 4.7: by file and version counter, with one query for all."""
    jobs = [job(f"j{number}", input_files=["x", "y"]) for number in range(20)]
    bench = make_bench([*jobs, job("k", input_files=["x", "y"])])
    bench.disk.write("x", "y")
    bench.operate(Initialize)
    bench.run_all()
    then = dict(bench.rows("SELECT file_id, mtime_ns FROM file_record"))
    counter = bench.state.version_counter
    bench.disk.write("x", "y")
    bench.operate(ResetJobs, jobs=[bench.id("k")], reinitialize=False)
    bench.operate(Prepare)
    replaced = find_replaced(bench.state)
    assert sorted(file_id for _, file_id, _ in replaced) == sorted(then)
    assert {at for _, _, at in replaced} == {counter}
    statements: list[str] = []
    bench.db.set_trace_callback(statements.append)
    history = load_history(bench.db, bench.workflow_id, replaced)
    bench.db.set_trace_callback(None)
    assert len(statements) == 1
    assert {(index, at): record.mtime_ns for (index, at), record in history.items()} == {
        (index, at): then[file_id] for index, file_id, at in replaced
    }
    assert load_history(bench.db, bench.workflow_id, []) == {}
