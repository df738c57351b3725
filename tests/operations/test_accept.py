"""Jobs that a user takes for completed as they are: SEMANTICS §2, 4.7, 5.4."""

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from builders import DIRECTORY, chained, job, linked
from workbench import Workbench

from torcd.core.status import Status, StatusReason
from torcd.operations.operate import Planned
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import AcceptJobs, Initialize, Prepare, Reinit, ResetJobs, ResetStatus, Restart
from torcd.protocol.specification import UserDataSpec
from torcd.storage.lists import load_page
from torcd.storage.nouns import ALL_RESULTS, CURRENT_RESULTS

Make = Callable[..., Workbench]


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """a>b>c in a chain and `other`, which takes x as a does; all completed."""
    made = make_bench([*linked("a", "b", "c"), job("other", input_files=["x"])])
    made.disk.write("x")
    made.operate(Initialize)
    made.run_all()
    return made


def accept(bench: Workbench, *names: str, **parameters: Any) -> Planned:
    """Accepts jobs by name."""
    given = {"reason": "it does not matter", "requested_by": "ann"} | parameters
    return bench.operate(AcceptJobs, jobs=[bench.id(name) for name in names], **given)


def stale(bench: Workbench, **parameters: Any) -> list[str]:
    """What a reinit would reset."""
    return list(bench.reasons(bench.preview(Reinit, **parameters)))


# ---- the baseline ----


def test_an_accepted_job_is_up_to_date_with_the_files_as_they_are(bench: Workbench) -> None:
    """SEMANTICS 4.7"""
    bench.disk.write("x", size=5)
    planned = accept(bench, "a")
    assert (planned.summary.count, planned.summary.cause) == (1, "as it is")
    assert bench.reasons(planned) == {"a": [{"kind": "accepted", "reason": "it does not matter", "by": "ann"}]}
    assert bench.status()["a"] == "completed"
    assert bench.reason("a") == StatusReason.ACCEPTED
    assert "a" not in stale(bench)


def test_other_consumers_of_the_same_file_are_still_stale(bench: Workbench) -> None:
    """SEMANTICS 4.7"""
    before = bench.disk.stat("x")
    bench.disk.write("x", size=5)
    accept(bench, "a")
    (reason,) = bench.reasons(bench.preview(Reinit))["other"]
    assert before is not None
    assert (reason["kind"], reason["stored"]["mtime_ns"]) == ("input_changed", before[0])
    assert stale(bench) == ["other"]


def test_a_changed_output_of_an_accepted_job_makes_its_consumers_stale(bench: Workbench) -> None:
    """SEMANTICS 4.1: on the next reinit"""
    bench.disk.write("b.out", size=5)
    accept(bench, "b")
    assert bench.status() == dict.fromkeys(["a", "b", "c", "other"], "completed")
    assert stale(bench) == ["c"]
    bench.operate(Reinit)
    assert bench.run_all() == ["c"]
    assert stale(bench) == []


def test_an_edited_definition_is_part_of_the_baseline(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    bench.edit("b", command="other")
    assert stale(bench) == ["b", "c"]
    accept(bench, "b")
    assert stale(bench) == []
    bench.edit("b", command="run b")
    assert stale(bench) == ["b", "c"], "not any more what it last counts as run with"


def test_user_data_are_part_of_the_baseline(make_bench: Make) -> None:
    """SEMANTICS 4.3"""
    bench = make_bench([job("a", input_user_data=["given"])], (), [UserDataSpec(name="given", data=1)])
    bench.operate(Initialize)
    bench.run_all()
    bench.set_value("given", 2)
    accept(bench, "a")
    assert stale(bench) == []
    bench.set_value("given", 1)
    assert stale(bench) == ["a"]


def test_a_missing_input_is_part_of_the_baseline(bench: Workbench) -> None:
    """SEMANTICS 4.1"""
    bench.disk.delete("x")
    accept(bench, "a")
    assert stale(bench, force=True) == ["other"]


def test_with_contents_the_baseline_has_their_digests(make_bench: Make) -> None:
    """SEMANTICS 4.9"""
    bench = make_bench(linked("a", "b"), detect="content")
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x", "a.out", content="by hand")
    accept(bench, "a")
    bench.disk.touch("x", "a.out")
    assert stale(bench) == ["b"]
    accept(bench, "b")
    assert stale(bench) == []


def test_files_that_the_jobs_neither_take_nor_make_are_not_looked_at(bench: Workbench) -> None:
    bench.disk.fail("c.out", errno.EACCES)
    bench.disk.write("b.out", size=5)
    before = bench.rows("SELECT * FROM file_record WHERE file_id = ?", bench.id("b.out", "file"))
    accept(bench, "a")
    assert bench.rows("SELECT * FROM file_record WHERE file_id = ?", bench.id("b.out", "file")) == before


# ---- which statuses ----


def test_a_failed_job_is_accepted_once_its_outputs_are_made_by_hand(make_bench: Make) -> None:
    bench = make_bench(linked("a", "b"))
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all(failing=["a"])
    assert bench.status() == {"a": "failed", "b": "canceled"}
    bench.disk.write("a.out")
    accept(bench, "a")
    assert bench.status() == {"a": "completed", "b": "ready"}, "the failure does not stand any more"
    assert bench.run_all() == ["b"]
    assert stale(bench) == []


@pytest.mark.parametrize("status", ["uninitialized", "blocked", "ready", "canceled", "terminated", "failed"])
def test_every_status_but_live_and_disabled_can_be_accepted(make_bench: Make, status: str) -> None:
    """SEMANTICS §2: any but live"""
    bench = make_bench(linked("a", "b"))
    bench.disk.write("x", "b.out")
    if status != "uninitialized":
        bench.operate(Initialize)
    if status == "ready":
        bench.run_all(failing=["b"])
        bench.operate(ResetStatus, failed_only=True, reinitialize=True)
    elif status == "canceled":
        bench.cancel()
    elif status in ("terminated", "failed"):
        bench.claim()
        bench.finish("a")
        bench.claim()
        bench.report(started=[bench.attempt("b")])
        if status == "terminated":
            bench.lose()
        else:
            bench.report(ended=[bench.end("b", 3)])
    assert bench.status()["b"] == status
    accept(bench, "b")
    assert bench.status()["b"] == "completed"
    assert bench.reason("b") == StatusReason.ACCEPTED


def test_a_job_that_never_started_can_be_accepted_and_then_has_a_baseline(make_bench: Make) -> None:
    bench = make_bench(linked("a", "b"))
    bench.disk.write("x", "a.out")
    bench.operate(Initialize)
    accept(bench, "a")
    assert bench.status() == {"a": "completed", "b": "ready"}
    assert bench.run_all() == ["b"]
    assert stale(bench) == []
    bench.disk.touch("x")
    assert stale(bench) == ["a", "b"]


def test_a_fresh_workflow_can_be_accepted_as_a_whole(make_bench: Make) -> None:
    """Its results were made elsewhere."""
    bench = make_bench(linked("a", "b"))
    bench.disk.write("x", "a.out", "b.out")
    planned = accept(bench, "a", "b")
    assert planned.summary.cause == "as they are"
    assert bench.status() == {"a": "completed", "b": "completed"}
    assert bench.state.run_id == 0
    assert stale(bench) == []


def test_accepting_twice_is_accepting_once(bench: Workbench) -> None:
    accept(bench, "a")
    counter = bench.state.version_counter
    accept(bench, "a")
    assert bench.state.version_counter == counter
    assert stale(bench) == []


def test_an_operation_resets_accepted_jobs_as_it_does_others(bench: Workbench) -> None:
    accept(bench, "a")
    bench.operate(ResetStatus, reinitialize=True)
    assert set(bench.run_all()) == {"a", "b", "c", "other"}
    assert bench.reason("a") == StatusReason.NONE


# ---- downstream ----


def test_blocked_jobs_that_wait_for_nothing_any_more_become_ready_at_once(make_bench: Make) -> None:
    """SEMANTICS §2"""
    bench = make_bench(chained("a>c", "b>c", "c>d"))
    bench.operate(Initialize)
    planned = accept(bench, "a")
    assert bench.status() == {"a": "completed", "b": "ready", "c": "blocked", "d": "blocked"}
    assert list(bench.reasons(planned)) == ["a"]
    planned = accept(bench, "b")
    assert bench.status() == {"a": "completed", "b": "completed", "c": "ready", "d": "blocked"}
    reasons = bench.reasons(planned)
    assert reasons["c"] == [{"kind": "upstream_settled", "upstream": "b", "upstream_id": bench.id("b")}]
    assert planned.summary.count == 1
    assert [launch.name for launch in bench.claim()] == ["c"]


def test_a_worker_may_claim_what_an_acceptance_made_ready(make_bench: Make) -> None:
    bench = make_bench(chained("a>b"))
    bench.operate(Initialize)
    accept(bench, "a")
    assert bench.run_all() == ["b"]


def test_a_whole_chain_is_accepted_with_what_follows_it(make_bench: Make) -> None:
    bench = make_bench(chained("a>b>c"))
    bench.operate(Initialize)
    planned = accept(bench, "b", "a")
    assert list(bench.reasons(planned)) == ["a", "b", "c"]
    assert bench.status() == {"a": "completed", "b": "completed", "c": "ready"}


def test_a_job_that_waits_for_a_failed_one_besides_is_canceled(make_bench: Make) -> None:
    """SEMANTICS §2"""
    bench = make_bench(chained("a>c", "b>c"))
    bench.operate(Initialize)
    bench.claim()
    bench.finish("b", code=1)
    bench.report(returned=[bench.attempt("a")])
    planned = accept(bench, "a")
    assert bench.status() == {"a": "completed", "b": "failed", "c": "canceled"}
    assert list(bench.reasons(planned)) == ["a", "c"]


def test_downstream_jobs_that_wait_uninitialized_stay_so(make_bench: Make) -> None:
    bench = make_bench(chained("a>b"))
    accept(bench, "a")
    assert bench.status() == {"a": "completed", "b": "uninitialized"}
    bench.operate(Restart, only_uninitialized=True)
    assert bench.run_all() == ["b"]


# ---- refusals ----


def test_an_absent_output_refuses_and_nothing_is_changed(bench: Workbench) -> None:
    bench.disk.delete("b.out")
    before = bench.dump()
    with pytest.raises(Refused, match=rf"1 output.*{DIRECTORY}/b\.out\..*nothing was changed") as no:
        bench.plan(AcceptJobs(workflow_id=1, jobs=[bench.id("a"), bench.id("b")], reason="because"))
    assert (no.value.code, no.value.data["paths"]) == (422, [f"{DIRECTORY}/b.out"])
    assert bench.dump() == before
    with pytest.raises(Refused):
        bench.plan(AcceptJobs(workflow_id=1, jobs=[bench.id("b")], reason="because", force=True))


def test_an_unknown_output_refuses_and_with_force_counts_as_recorded(bench: Workbench) -> None:
    """SEMANTICS 4.8"""
    bench.disk.fail("b.out", errno.EACCES)
    with pytest.raises(Refused, match="EACCES"):
        accept(bench, "b")
    planned = accept(bench, "b", force=True)
    assert "counted as unchanged" in planned.summary.warnings[0]


def test_with_force_an_unknown_output_that_was_never_seen_is_still_absent(make_bench: Make) -> None:
    """SEMANTICS 4.8: unchanged is what it was: not there"""
    bench = make_bench(linked("a"))
    bench.disk.write("x")
    bench.disk.fail("a.out", errno.EACCES)
    with pytest.raises(Refused, match=r"a\.out"):
        accept(bench, "a", force=True)
    bench.disk.mend("a.out")
    bench.operate(Initialize)
    bench.disk.fail("a.out", errno.EACCES)
    with pytest.raises(Refused, match=r"a\.out"):
        accept(bench, "a", force=True)


def test_user_data_that_was_never_written_refuses(make_bench: Make) -> None:
    bench = make_bench([job("a", output_user_data=["said"])], (), [UserDataSpec(name="said")])
    with pytest.raises(Refused, match="user-data update") as no:
        accept(bench, "a")
    assert no.value.data["user_data"] == ["said"]
    bench.set_value("said", None)
    accept(bench, "a")
    assert stale(bench) == []


@pytest.mark.parametrize("started", [False, True])
def test_a_live_job_is_a_conflict(bench: Workbench, started: bool) -> None:
    """SEMANTICS 5.2: force and stop_live make no difference"""
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.operate(Prepare)
    bench.claim()
    if started:
        bench.report(started=[bench.attempt("c")])
    before = bench.dump()
    for parameters in ({}, {"force": True}, {"stop_live": True}):
        request = AcceptJobs(workflow_id=1, jobs=[bench.id("a"), bench.id("c")], reason="because", **parameters)
        with pytest.raises(Conflict, match="accepting would change 1 job under way") as no:
            bench.plan(request)
        assert (no.value.code, no.value.data["jobs"]) == (409, [bench.id("c")])
    assert bench.dump() == before


def test_live_jobs_beside_and_behind_the_accepted_ones_do_not_stand_in_the_way(bench: Workbench) -> None:
    """SEMANTICS 5.2"""
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.operate(Prepare)
    bench.claim()
    accept(bench, "b", "other")
    assert bench.status()["c"] == "pending"
    bench.finish("c")
    assert stale(bench) == []


@pytest.mark.parametrize("reason", ["", "  ", "\n\t"])
def test_a_blank_reason_is_refused(bench: Workbench, reason: str) -> None:
    with pytest.raises(Refused, match="--reason") as no:
        accept(bench, "a", reason=reason)
    assert (no.value.code, no.value.data["field"]) == (422, "reason")


def test_an_unknown_job_is_not_found_and_none_is_accepted(bench: Workbench) -> None:
    request = AcceptJobs(workflow_id=1, jobs=[bench.id("a"), 999], reason="because")
    with pytest.raises(NotFound):
        bench.plan(request)


def test_a_disabled_job_is_refused(bench: Workbench) -> None:
    """SEMANTICS 2.5"""
    bench.change(lambda draft: draft.move(np.array([bench.index("b")]), Status.DISABLED))
    with pytest.raises(Refused, match="disabled") as no:
        accept(bench, "a", "b")
    assert (no.value.code, no.value.data["jobs"]) == (422, [bench.id("b")])


def test_no_job_at_all_accepts_nothing(bench: Workbench) -> None:
    planned = accept(bench)
    assert (planned.summary.count, planned.summary.listed) == (0, 0)


# ---- selection, results, events, dry run ----


@pytest.fixture
def failed(make_bench: Make) -> Workbench:
    """a failed with 1, b completed."""
    bench = make_bench([job("a", output_files=["y"]), job("b")])
    bench.operate(Initialize)
    bench.run_all(failing=["a"])
    bench.disk.write("y")
    return bench


def test_jobs_are_selected_by_status_or_return_code(failed: Workbench) -> None:
    for selector in ({"status": "failed"}, {"return_code": 1}):
        request = AcceptJobs(workflow_id=1, reason="by hand", **selector)
        assert list(failed.reasons(failed.plan(request))) == ["a"]


def test_the_failure_of_an_accepted_job_is_history(failed: Workbench) -> None:
    """SEMANTICS 8.5"""
    accept(failed, "a")

    def listed(listing: Any) -> list[tuple[str, int | None]]:
        rows, _ = load_page(failed.db, listing, (failed.workflow_id,), (), 0, 100)
        return [(row.job_name, row.return_code) for row in rows]

    assert listed(CURRENT_RESULTS) == [("b", 0)]
    assert sorted(listed(ALL_RESULTS)) == [("a", 1), ("b", 0)]
    assert failed.preview(ResetJobs, return_code=1).summary.listed == 0
    assert failed.preview(AcceptJobs, return_code=1, reason="again").summary.listed == 0
    assert list(failed.reasons(failed.preview(ResetJobs, return_code=0))) == ["b"]


def test_the_result_of_an_accepted_job_that_had_completed_stays_current(bench: Workbench) -> None:
    """SEMANTICS 8.5"""
    accept(bench, "a")
    rows, _ = load_page(bench.db, CURRENT_RESULTS, (bench.workflow_id,), (), 0, 100)
    assert {row.job_name for row in rows} == {"a", "b", "c", "other"}
    assert "a" in bench.reasons(bench.preview(ResetJobs, return_code=0))


def test_the_log_tells_of_it(bench: Workbench) -> None:
    """SEMANTICS 7.1"""
    seq = bench.state.event_seq
    accept(bench, "a")
    told = [(kind, data) for number, kind, data in bench.events() if number > seq]
    assert [kind for kind, _ in told] == ["jobs_changed", "operation", "task_ended"]
    (moved,) = told[0][1]["changes"]
    assert (moved["status"], moved["status_reason"], moved["count"]) == ("completed", "accepted", 1)
    assert (told[1][1]["operation"], told[1][1]["count"]) == ("jobs accept", 1)


def test_the_run_goes_on_under_its_number_and_a_canceled_workflow_stays_canceled(bench: Workbench) -> None:
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    bench.cancel()
    run_id = bench.state.run_id
    accept(bench, "c")
    assert (bench.state.run_id, bench.state.is_canceled) == (run_id, True)


def test_a_dry_run_writes_nothing_and_is_the_real_plan(make_bench: Make) -> None:
    """SEMANTICS 5.4"""
    bench = make_bench(linked("a", "b"))
    bench.disk.write("x", "a.out")
    bench.operate(Initialize)
    parameters = {"jobs": [bench.id("a")], "reason": "by hand"}
    preview = bench.preview(AcceptJobs, **parameters)
    assert [(each.name, each.from_, each.to) for each in bench.show(preview)] == [
        ("a", "ready", "completed"),
        ("b", "blocked", "ready"),
    ]
    real = bench.operate(AcceptJobs, expect=preview.summary.plan_digest, **parameters)
    assert real.packed == preview.packed
    assert bench.status() == {"a": "completed", "b": "ready"}


def test_a_plan_is_not_the_expected_one_when_an_output_has_changed_since(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    digest = bench.preview(AcceptJobs, jobs=[bench.id("a")], reason="because").summary.plan_digest
    bench.disk.touch("a.out")
    with pytest.raises(Conflict):
        bench.preview(AcceptJobs, jobs=[bench.id("a")], reason="because", expect=digest)
