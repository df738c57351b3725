"""Intermediates that something else may remove (`on_missing: ignore`): who makes them again, and when."""

from collections.abc import Callable

import pytest
from builders import DIRECTORY, job, linked
from workbench import Workbench

from torcd.core.status import StatusReason
from torcd.protocol.errors import Conflict, Refused
from torcd.protocol.requests import Initialize, Prepare, Reinit, ResetJobs, ResetStatus, Restart, Undo
from torcd.protocol.specification import JobSpec

Make = Callable[..., Workbench]
RERUNS = [Reinit, Restart]


@pytest.fixture
def purgeable(make_bench: Make) -> Make:
    """Makes workflows that have run to their end; all that their jobs make may be missing, unless told."""

    def make(jobs: list[JobSpec], **options: object) -> Workbench:
        made = [file for spec in jobs for file in spec.output_files]
        bench = make_bench(jobs, **{"purgeable": made} | options)
        bench.disk.write(*sorted({file for spec in jobs for file in spec.input_files} - set(made)))
        bench.operate(Initialize)
        bench.run_all()
        assert set(bench.status().values()) == {"completed"}
        return bench

    return make


def needed(file: str, by: str) -> dict[str, object]:
    """The reason of a job that has to make a file again."""
    return {"kind": "output_missing", "file": file, "path": f"{DIRECTORY}/{file}", "needed_by": by}


@pytest.mark.parametrize("kind", RERUNS)
def test_a_purge_alone_makes_nothing_stale(purgeable: Make, kind: type[Reinit]) -> None:
    bench = purgeable(linked("a", "b", "c"))
    bench.disk.delete("a.out", "b.out", "c.out")
    for _ in range(2):
        assert bench.operate(kind).summary.listed == 0
    assert bench.operate(kind, detect="content").summary.listed == 0


def test_a_purged_file_keeps_its_record(purgeable: Make) -> None:
    bench = purgeable(linked("a", "b"))
    records = "SELECT * FROM file_record ORDER BY file_id"
    before = bench.rows(records)
    bench.disk.delete("a.out", "b.out")
    bench.operate(Reinit)
    assert bench.rows(records) == before


def test_a_file_without_the_policy_that_is_gone_makes_its_producer_stale(purgeable: Make) -> None:
    """SEMANTICS 4.4"""
    bench = purgeable(linked("a", "b"), purgeable=["b.out"])
    bench.disk.delete("a.out", "b.out")
    assert list(bench.reasons(bench.preview(Reinit))) == ["a", "b"]


@pytest.mark.parametrize("kind", RERUNS)
def test_a_stale_consumer_has_what_it_takes_made_again(purgeable: Make, kind: type[Reinit]) -> None:
    bench = purgeable(linked("a", "b", "c"))
    bench.disk.delete("b.out")
    bench.edit("c", command="other")
    reasons = bench.reasons(bench.operate(kind))
    assert list(reasons) == ["b", "c"]
    assert reasons["b"] == [needed("b.out", "c")]
    assert [each["kind"] for each in reasons["c"]] == ["definition_changed", "upstream_stale"]
    assert bench.run_all() == ["b", "c"]
    assert bench.operate(Reinit).summary.listed == 0


def test_need_goes_up_as_far_as_files_are_gone(purgeable: Make) -> None:
    bench = purgeable(linked("a", "b", "c", "d", "e"))
    bench.disk.delete("b.out", "c.out", "d.out")
    bench.edit("e", command="other")
    reasons = bench.reasons(bench.operate(Reinit))
    assert list(reasons) == ["b", "c", "d", "e"]
    assert [reasons[name][0] for name in "bcd"] == [needed("b.out", "c"), needed("c.out", "d"), needed("d.out", "e")]
    assert bench.run_all() == ["b", "c", "d", "e"]


def test_a_present_file_ends_the_need(purgeable: Make) -> None:
    bench = purgeable(linked("a", "b", "c", "d"))
    bench.disk.delete("a.out", "c.out")
    bench.edit("d", command="other")
    assert list(bench.reasons(bench.operate(Reinit))) == ["c", "d"]


def test_everything_downstream_of_what_is_made_again_is_stale_and_may_need_more(purgeable: Make) -> None:
    """SEMANTICS 4.6"""
    jobs = [
        *linked("a"),
        job("left", input_files=["a.out"], output_files=["left.out"]),
        job("right", input_files=["a.out", "other.out"], output_files=["right.out"]),
        job("other", input_files=["x"], output_files=["other.out"]),
        job("bystander", input_files=["other.out"]),
    ]
    bench = purgeable(jobs)
    bench.disk.delete("a.out", "other.out")
    bench.edit("left", command="other")
    reasons = bench.reasons(bench.operate(Reinit))
    assert reasons["a"] == [needed("a.out", "left")]
    assert reasons["other"] == [needed("other.out", "right")]
    assert set(reasons) == {"a", "left", "right", "other", "bystander"}
    assert set(bench.run_all()) == set(reasons)


def test_a_waiting_consumer_needs_its_inputs_as_a_stale_one_does(purgeable: Make) -> None:
    bench = purgeable([*linked("a", "b"), job("other", input_files=["b.out", "z"])])
    bench.disk.write("z")
    bench.operate(Reinit)
    assert bench.status() == {"a": "completed", "b": "completed", "other": "ready"}
    bench.disk.delete("a.out", "b.out")
    reasons = bench.reasons(bench.operate(Reinit))
    assert reasons["b"][0] == needed("b.out", "other")
    assert reasons["a"] == [needed("a.out", "b")]
    assert bench.status() == {"a": "ready", "b": "blocked", "other": "blocked"}
    assert bench.run_all() == ["a", "b", "other"]


def test_a_producer_that_failed_or_waits_needs_no_reason(purgeable: Make) -> None:
    bench = purgeable(linked("a", "b"))
    bench.edit("a", command="other")
    bench.operate(Reinit)
    bench.disk.delete("a.out")
    assert bench.operate(Reinit).summary.listed == 0
    assert bench.run_all(failing=["a"]) == ["a"]
    assert bench.operate(Reinit).summary.listed == 0
    assert bench.status() == {"a": "failed", "b": "canceled"}


def test_a_purged_file_that_comes_back_with_another_time_has_changed(purgeable: Make) -> None:
    """SEMANTICS 4.1"""
    bench = purgeable(linked("a", "b"))
    bench.disk.delete("a.out")
    bench.operate(Reinit)
    bench.disk.write("a.out")
    assert list(bench.reasons(bench.operate(Reinit))) == ["b"]


def test_a_purged_file_that_comes_back_with_its_content_makes_nothing_stale(purgeable: Make) -> None:
    """SEMANTICS 4.9"""
    bench = purgeable(linked("a", "b"), detect="content")
    bench.disk.write("a.out", content="kept elsewhere")
    bench.operate(Reinit)
    bench.run_all()
    bench.disk.delete("a.out")
    bench.operate(Reinit)
    bench.disk.write("a.out", content="kept elsewhere")
    assert bench.operate(Reinit).summary.listed == 0


# ---- users' files ----


@pytest.mark.parametrize("kind", RERUNS)
def test_a_users_file_with_the_policy_is_missed_all_the_same(make_bench: Make, kind: type[Reinit]) -> None:
    """SEMANTICS §5"""
    bench = make_bench(linked("a"), purgeable=["x"])
    with pytest.raises(Refused, match=f"{DIRECTORY}/x"):
        bench.preview(Initialize)
    bench.disk.write("x")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.delete("x")
    with pytest.raises(Refused, match=f"{DIRECTORY}/x"):
        bench.preview(kind)
    assert list(bench.reasons(bench.operate(kind, force=True))) == ["a"]


def test_a_users_file_that_only_finished_jobs_took_does_not_keep_a_run_from_being_prepared(make_bench: Make) -> None:
    """SEMANTICS 5.1: the inputs of the jobs that it makes ready count; the policy of another file adds nothing."""
    jobs = [job("a", input_files=["x"], output_files=["kept"]), job("b", input_files=["y"], output_files=["scratch"])]
    for purged in ([], ["scratch"]):
        bench = make_bench(jobs, purgeable=purged)
        bench.disk.write("x", "y")
        bench.operate(Initialize)
        bench.run_all()
        bench.operate(ResetJobs, jobs=[bench.id("b")])
        bench.disk.delete("x")
        bench.operate(Prepare)
        assert bench.status() == {"a": "completed", "b": "ready"}
        bench.operate(ResetJobs, jobs=[bench.id("b")])
        bench.disk.delete("y")
        with pytest.raises(Refused, match=f"{DIRECTORY}/y"):
            bench.operate(Prepare)


def test_a_users_file_that_is_needed_to_make_a_purged_one_again_is_missed(purgeable: Make) -> None:
    """SEMANTICS 5.1, §5"""
    bench = purgeable([job("a", input_files=["x"], output_files=["scratch"]), job("b", input_files=["scratch"])])
    bench.disk.delete("x", "scratch")
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    before = bench.dump()
    with pytest.raises(Refused, match=f"{DIRECTORY}/x"):
        bench.operate(Prepare)
    assert bench.dump() == before
    assert f"{DIRECTORY}/x" in bench.operate(Prepare, force=True).summary.warnings[0]
    assert bench.status() == {"a": "ready", "b": "blocked"}


# ---- prepare ----


def test_preparing_a_run_has_purged_files_made_again(purgeable: Make) -> None:
    """SEMANTICS 5.1"""
    bench = purgeable(linked("a", "b", "c"))
    bench.disk.delete("a.out", "b.out")
    bench.operate(ResetJobs, jobs=[bench.id("c")])
    reasons = bench.reasons(bench.operate(Prepare))
    assert reasons == {
        "a": [needed("a.out", "b")],
        "b": [needed("b.out", "c"), {"kind": "upstream_stale", "root": "a", "root_id": bench.id("a"), "via": "a"}],
        "c": [{"kind": "upstream_stale", "root": "a", "root_id": bench.id("a"), "via": "b"}],
    }
    assert bench.run_all() == ["a", "b", "c"]
    assert bench.operate(Reinit).summary.listed == 0


def test_preparing_a_run_accepts_the_inputs_of_what_is_made_again(purgeable: Make) -> None:
    """SEMANTICS 5.1: those jobs are up to date afterwards."""
    bench = purgeable(linked("a", "b"))
    bench.disk.delete("a.out")
    bench.disk.touch("x")
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.operate(Prepare)
    assert bench.run_all() == ["a", "b"]
    assert bench.operate(Reinit).summary.listed == 0


def test_preparing_a_run_that_needs_nothing_purged_changes_nothing_else(purgeable: Make) -> None:
    bench = purgeable([*linked("a", "b"), job("z", input_files=["x"])])
    bench.disk.delete("a.out", "b.out")
    bench.operate(ResetJobs, jobs=[bench.id("z")])
    bench.operate(Prepare)
    assert bench.run_all() == ["z"]


@pytest.mark.parametrize("kind", [Prepare, Restart, Reinit])
def test_after_a_reset_of_all_jobs_nothing_is_missed(purgeable: Make, kind: type[Prepare]) -> None:
    bench = purgeable(linked("a", "b", "c"))
    bench.disk.delete("a.out", "b.out", "c.out")
    bench.operate(ResetStatus)
    bench.operate(kind)
    assert bench.run_all() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [(Initialize, {}), (Prepare, {}), (Reinit, {}), (Restart, {}), (Restart, {"only_uninitialized": True})],
)
def test_a_fresh_workflow_misses_nothing_that_it_will_make(
    make_bench: Make, kind: type[Restart], parameters: dict[str, bool]
) -> None:
    bench = make_bench(linked("a", "b", "c"), purgeable=["a.out", "b.out", "c.out"])
    bench.disk.write("x")
    bench.operate(kind, **parameters)
    assert bench.run_all() == ["a", "b", "c"]
    assert bench.operate(Reinit).summary.listed == 0


# ---- restart --only-uninitialized ----


def test_where_nothing_else_may_be_touched_a_needed_file_refuses(purgeable: Make) -> None:
    bench = purgeable(linked("a", "b"))
    bench.disk.delete("a.out")
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    before = bench.dump()
    with pytest.raises(Refused, match=rf"{DIRECTORY}/a.out\. Nothing was changed.*workflows restart.*--force") as no:
        bench.operate(Restart, only_uninitialized=True)
    assert no.value.data["paths"] == [f"{DIRECTORY}/a.out"]
    assert bench.dump() == before
    planned = bench.operate(Restart, only_uninitialized=True, force=True)
    assert bench.status() == {"a": "completed", "b": "ready"}
    assert f"{DIRECTORY}/a.out" in planned.summary.warnings[0]


def test_where_nothing_else_may_be_touched_a_file_that_is_going_to_be_made_anyway_is_not_missed(
    purgeable: Make,
) -> None:
    bench = purgeable(linked("a", "b"))
    bench.disk.delete("a.out", "b.out")
    bench.operate(ResetStatus)
    bench.operate(Restart, only_uninitialized=True)
    assert bench.run_all() == ["a", "b"]


# ---- live jobs, disabled jobs, undo ----


def test_what_has_to_be_made_again_upstream_of_a_live_job_is_refused(purgeable: Make) -> None:
    """SEMANTICS 5.2"""
    jobs = [*linked("a"), job("b", input_files=["a.out"]), job("c", input_files=["a.out"])]
    bench = purgeable(jobs)
    bench.operate(ResetJobs, jobs=[bench.id("b")])
    bench.operate(Prepare)
    bench.claim()
    bench.disk.delete("a.out")
    bench.edit("c", command="other")
    with pytest.raises(Conflict):
        bench.preview(Reinit)
    bench.operate(Reinit, stop_live=True)
    assert bench.run_all() == ["a", "b", "c"]


def test_undo_takes_back_what_was_to_be_made_again(purgeable: Make) -> None:
    """SEMANTICS 5.6"""
    bench = purgeable(linked("a", "b", "c"))
    bench.disk.delete("a.out", "b.out")
    bench.edit("c", command="other")
    bench.operate(Reinit)
    bench.operate(Undo)
    assert set(bench.status().values()) == {"completed"}
    assert list(bench.reasons(bench.preview(Reinit))) == ["a", "b", "c"]


# ---- together with early cutoff (4.9) ----


def test_what_is_made_again_as_it_was_spares_who_does_not_need_to_run(purgeable: Make) -> None:
    """SEMANTICS 4.9"""
    jobs = [*linked("a"), job("b", input_files=["a.out"]), job("c", input_files=["a.out"], output_files=["c.out"])]
    bench = purgeable(jobs, detect="content")
    bench.products = {"a.out": "same"}
    bench.operate(ResetStatus, reinitialize=True)
    bench.run_all()
    bench.disk.delete("a.out", "c.out")
    bench.edit("b", command="other")
    bench.operate(Reinit)
    assert bench.run_all() == ["a", "b"]
    assert bench.reason("c") == StatusReason.UNCHANGED_INPUTS


def test_a_job_whose_purged_output_nobody_needs_may_be_spared(purgeable: Make) -> None:
    """SEMANTICS 4.9"""
    bench = purgeable(linked("a", "b"), detect="content")
    bench.products = {"a.out": "same"}
    bench.operate(ResetStatus, reinitialize=True)
    bench.run_all()
    bench.disk.delete("b.out")
    bench.disk.write("x")
    bench.operate(Reinit)
    assert bench.run_all() == ["a"]


HALVES = [
    job("a", input_files=["x"], output_files=["one", "two"]),
    job("b", input_files=["one"], output_files=["b.out"]),
    job("c", input_files=["two", "b.out"], output_files=["c.out"]),
]


def test_a_job_whose_purged_output_a_job_needs_that_runs_is_not_spared(purgeable: Make) -> None:
    """SEMANTICS 4.9: its outputs are to be present"""
    bench = purgeable(HALVES, detect="content")
    bench.products = {"one": "same", "b.out": "same"}
    bench.operate(ResetStatus, reinitialize=True)
    bench.run_all()
    bench.disk.delete("b.out")
    bench.disk.write("x")
    bench.operate(Reinit)
    assert bench.run_all() == ["a", "b", "c"]
    assert bench.disk.stat("b.out") is not None


def test_a_job_whose_output_is_purged_while_it_waits_is_not_spared_once_somebody_needs_it(purgeable: Make) -> None:
    """SEMANTICS 4.9"""
    bench = purgeable(HALVES, detect="content")
    bench.products = {"one": "same", "b.out": "same"}
    bench.operate(ResetStatus, reinitialize=True)
    bench.run_all()
    bench.disk.write("x")
    bench.operate(Reinit)
    bench.disk.delete("b.out")
    bench.operate(Reinit)
    assert bench.run_all() == ["a", "b", "c"]
    assert bench.disk.stat("b.out") is not None
