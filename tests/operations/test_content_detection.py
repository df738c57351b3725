"""Detection by content on a database and a fake disk: SEMANTICS 4.9."""

import errno
from collections.abc import Callable

import pytest
from builders import DIRECTORY, job
from msgspec import structs
from workbench import Workbench

from torcd.core.status import Status
from torcd.protocol.errors import Refused
from torcd.protocol.requests import AcceptJobs, Initialize, Prepare, Reinit, ResetJobs, ResetStatus, Restart

Make = Callable[..., Workbench]

PIPELINE = [
    job("split", input_files=["data"], output_files=["part"]),
    job("work", input_files=["part", "settings"], output_files=["found"]),
    job("audit", input_files=["settings"], output_files=["log"]),
]
RERUNS = [Reinit, Restart]


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """The pipeline in content mode, run to its end."""
    made = make_bench(PIPELINE, detect="content")
    made.disk.write("data", "settings", content="first")
    made.operate(Initialize)
    assert made.run_all() == ["split", "audit", "work"]
    return made


@pytest.fixture
def by_time(make_bench: Make) -> Workbench:
    """The pipeline in a workflow that tells changes by time, run to its end."""
    made = make_bench(PIPELINE)
    made.disk.write("data", "settings", content="first")
    made.operate(Initialize)
    assert made.run_all() == ["split", "audit", "work"]
    return made


def record(bench: Workbench, file: str) -> tuple[int, int, int, bool]:
    """(mtime_ns, size, version, whether the digest is known) of a file."""
    ((mtime_ns, size, version, digest),) = bench.rows(
        "SELECT mtime_ns, size, version, digest FROM file_record WHERE file_id = ?", bench.id(file, "file")
    )
    return mtime_ns, size, version, digest is not None


def age(bench: Workbench) -> None:
    """Lets time go by: what was written before is not within the clock's grain any more."""
    bench.disk.write("/elsewhere")


def settle(bench: Workbench) -> None:
    """Lets time go by, and a reinit learn all contents."""
    age(bench)
    assert bench.operate(Reinit, detect="content").summary.listed == 0


# ---- a touch ----


def test_a_workflow_that_has_just_run_has_nothing_stale(bench: Workbench) -> None:
    for _ in range(3):
        assert bench.operate(Reinit).summary.listed == 0


@pytest.mark.parametrize("kind", RERUNS)
def test_a_touch_resets_nothing_and_gives_the_record_the_new_time_under_the_same_number(
    bench: Workbench, kind: type[Reinit]
) -> None:
    before = {file: record(bench, file) for file in ("data", "settings", "part", "found")}
    bench.disk.touch("data", "settings", "part", "found")
    assert bench.operate(kind).summary.listed == 0
    for file, (_, size, version, _) in before.items():
        stat = bench.disk.stat(file)
        assert stat is not None
        assert record(bench, file) == (stat[0], size, version, True)
    assert set(bench.status().values()) == {"completed"}


def test_a_touch_costs_one_reading_and_not_one_each_time(bench: Workbench) -> None:
    settle(bench)
    bench.disk.touch("data")
    settle(bench)
    seen = bench.observe(Reinit(workflow_id=bench.workflow_id))
    assert seen.digest is not None
    assert not seen.digest["high"].any(), "nothing was read"


def test_a_touch_adds_nothing_to_the_history(bench: Workbench) -> None:
    before = bench.rows("SELECT * FROM file_history")
    bench.disk.touch("data")
    bench.operate(Reinit)
    assert bench.rows("SELECT * FROM file_history") == before
    assert bench.rows("SELECT counter FROM workflow") == [(bench.state.version_counter,)]


@pytest.mark.parametrize("kind", RERUNS)
def test_other_content_reruns_the_consumers(bench: Workbench, kind: type[Reinit]) -> None:
    old, (_, _, version, _) = bench.disk.stat("settings"), record(bench, "settings")
    bench.disk.write("settings", content="second")
    new = bench.disk.stat("settings")
    planned = bench.operate(kind)
    reasons = bench.reasons(planned)
    assert set(reasons) == {"audit", "work"}
    assert old is not None
    assert new is not None
    changed = {
        "kind": "input_changed",
        "file": "settings",
        "path": f"{DIRECTORY}/settings",
        "stored": {"mtime_ns": old[0], "size": old[1]},
        "observed": {"mtime_ns": new[0], "size": new[1]},
    }
    assert reasons["audit"] == [changed]
    assert record(bench, "settings")[2] > version
    bench.run_all()
    assert bench.operate(Reinit).summary.listed == 0


def test_other_content_of_another_size_is_a_change(bench: Workbench) -> None:
    bench.disk.write("settings", size=11, content="longer")
    assert set(bench.reasons(bench.preview(Reinit))) == {"audit", "work"}


def test_an_output_that_somebody_overwrote_makes_its_consumers_stale_and_not_its_producer(bench: Workbench) -> None:
    bench.disk.write("part", content="by hand")
    assert list(bench.reasons(bench.operate(Reinit))) == ["work"]


def test_an_output_that_was_copied_back_with_a_new_time_makes_nothing_stale(bench: Workbench) -> None:
    bench.disk.touch("part")
    assert bench.operate(Reinit).summary.listed == 0


# ---- the racy window ----


def test_other_content_with_the_same_time_and_size_is_seen_if_the_record_is_as_young(bench: Workbench) -> None:
    """The racy window."""
    bench.disk.write("settings", content="second")
    bench.operate(Reinit)
    bench.run_all()
    bench.disk.write("settings", content="third")
    bench.operate(Reinit)  # recorded within the clock's grain
    bench.disk.sneak("settings", "fourth")
    bench.run_all()
    before = record(bench, "settings")
    assert set(bench.reasons(bench.operate(Reinit))) == {"audit", "work"}
    assert record(bench, "settings")[2] > before[2]


def test_an_output_that_changes_within_the_clocks_grain_of_its_report_is_seen(bench: Workbench) -> None:
    """The racy window: the worker's record too."""
    bench.operate(ResetJobs, jobs=[bench.id("split")])
    bench.operate(Prepare)
    bench.claim()
    bench.finish("split")
    bench.disk.sneak("part", "after all")
    bench.finish(*[launch.name for launch in bench.claim()])
    assert list(bench.reasons(bench.operate(Reinit))) == ["work"]


def test_a_record_that_has_aged_is_not_read_again(bench: Workbench) -> None:
    settle(bench)
    bench.disk.sneak("settings", "nobody can see this")
    assert bench.operate(Reinit).summary.listed == 0


# ---- switching modes ----


def test_the_first_look_at_contents_of_a_workflow_told_by_time_takes_them_for_the_baseline(by_time: Workbench) -> None:
    bench = by_time
    age(bench)
    before = {file: record(bench, file) for file in ("data", "settings", "part")}
    assert not any(known for *_, known in before.values())
    assert bench.operate(Reinit, detect="content").summary.listed == 0
    assert {file: record(bench, file) for file in before} == {
        file: (*kept, True) for file, (*kept, _) in before.items()
    }, "the digest is learned, nothing else is new"
    bench.disk.touch("data", "settings")
    assert bench.operate(Reinit, detect="content").summary.listed == 0


def test_a_file_that_was_touched_before_its_content_was_ever_read_counts_as_changed(by_time: Workbench) -> None:
    by_time.disk.touch("settings")
    assert set(by_time.reasons(by_time.operate(Reinit, detect="content"))) == {"audit", "work"}


def test_by_time_a_touch_is_a_change_though_the_content_is_known(bench: Workbench) -> None:
    settle(bench)
    bench.disk.touch("settings")
    assert set(bench.reasons(bench.preview(Reinit, detect="mtime"))) == {"audit", "work"}
    assert bench.preview(Reinit).summary.listed == 0


def test_back_and_forth_between_the_modes_each_tells_by_its_own_measure(by_time: Workbench) -> None:
    bench = by_time
    settle(bench)
    bench.disk.touch("data")
    assert bench.operate(Reinit, detect="content").summary.listed == 0
    assert bench.operate(Reinit).summary.listed == 0, "its record has the new time"
    bench.disk.touch("data")
    assert list(bench.reasons(bench.operate(Reinit))) == ["split", "work"]
    bench.run_all()
    settle(bench)
    bench.disk.touch("data")
    assert bench.operate(Reinit, detect="content").summary.listed == 0


def test_a_change_told_by_time_forgets_the_digest_of_the_former_content(bench: Workbench) -> None:
    settle(bench)
    bench.disk.write("settings", content="second")
    bench.operate(Reinit, detect="mtime")
    assert not record(bench, "settings")[3]
    bench.run_all()
    settle(bench)
    bench.disk.write("settings", content="first")
    assert set(bench.reasons(bench.operate(Reinit))) == {"audit", "work"}


def test_once_contents_were_compared_workers_read_those_of_outputs_though_the_workflow_tells_by_time(
    by_time: Workbench,
) -> None:
    """SEMANTICS 8.3"""
    bench = by_time
    bench.operate(ResetJobs, jobs=[bench.id("split")])
    bench.operate(Prepare)
    assert [launch.reads_content for launch in bench.claim()] == [False]
    bench.finish("split")
    bench.run_all()
    settle(bench)
    bench.operate(ResetJobs, jobs=[bench.id("split")])
    bench.operate(Prepare)
    assert [launch.reads_content for launch in bench.claim()] == [True]
    bench.finish("split")
    assert record(bench, "part")[3]


# ---- unreadable, absent, special ----


def test_a_file_whose_content_cannot_be_read_refuses_only_where_its_content_decides(bench: Workbench) -> None:
    """SEMANTICS 4.8"""
    settle(bench)
    bench.disk.forbid("settings")
    assert bench.operate(Reinit).summary.listed == 0, "as recorded: nobody wants to read it"
    bench.disk.touch("settings")
    before = bench.dump()
    with pytest.raises(Refused, match=rf"{DIRECTORY}/settings \(Permission denied \(EACCES\)\).*--force") as no:
        bench.operate(Reinit)
    assert no.value.data["paths"] == [f"{DIRECTORY}/settings"]
    assert bench.dump() == before
    planned = bench.operate(Reinit, force=True)
    assert planned.summary.listed == 0
    assert "counted as unchanged" in planned.summary.warnings[0]
    with pytest.raises(Refused):
        bench.preview(Reinit)
    assert bench.preview(Reinit, detect="mtime").summary.listed == 2


def test_a_file_that_was_never_read_and_cannot_be_is_told_by_time_and_size(by_time: Workbench) -> None:
    """SEMANTICS 4.8: the content does not decide."""
    bench = by_time
    bench.disk.forbid("settings")
    assert bench.operate(Reinit, detect="content").summary.listed == 0
    assert not record(bench, "settings")[3]
    bench.disk.touch("settings")
    assert set(bench.reasons(bench.operate(Reinit, detect="content"))) == {"audit", "work"}


def test_an_unreadable_racy_file_is_unknown(bench: Workbench) -> None:
    """SEMANTICS 4.8: it may have changed, and nobody can tell."""
    bench.disk.write("settings", content="second")
    bench.operate(Reinit)
    bench.run_all()
    bench.disk.write("settings", content="third")
    bench.operate(Reinit)
    bench.disk.forbid("settings")
    with pytest.raises(Refused, match="EACCES"):
        bench.preview(Reinit)


def test_a_file_of_unknown_state_refuses_as_by_time(bench: Workbench) -> None:
    """SEMANTICS 4.8"""
    bench.disk.fail("settings", errno.ESTALE)
    with pytest.raises(Refused, match="ESTALE"):
        bench.preview(Reinit)
    assert bench.operate(Reinit, force=True).summary.listed == 0


def test_a_disappeared_input_is_missing_and_its_return_with_the_same_content_is_a_change_undone(
    bench: Workbench,
) -> None:
    """SEMANTICS 4.1"""
    settle(bench)
    bench.disk.delete("settings")
    with pytest.raises(Refused):
        bench.preview(Reinit)
    bench.disk.write("settings", content="first")
    assert bench.operate(Reinit).summary.listed == 0


def test_a_missing_output_reruns_its_producer(bench: Workbench) -> None:
    """SEMANTICS 4.4"""
    bench.disk.delete("part")
    assert list(bench.reasons(bench.operate(Reinit))) == ["split", "work"]


def test_a_file_that_vanishes_between_the_look_and_the_reading_is_absent(bench: Workbench) -> None:
    settle(bench)
    bench.disk.touch("part")
    bench.disk.vanish("part")
    assert list(bench.reasons(bench.operate(Reinit))) == ["split", "work"]


def test_what_is_no_regular_file_is_told_by_time_and_size(make_bench: Make) -> None:
    bench = make_bench([job("a", input_files=["directory"], output_files=["made"])], detect="content")
    bench.disk.make_special("directory")
    bench.operate(Initialize)
    bench.run_all()
    assert bench.operate(Reinit).summary.listed == 0
    bench.disk.touch("directory")
    assert list(bench.reasons(bench.operate(Reinit))) == ["a"]
    bench.check()


def test_an_output_that_is_a_directory_is_recorded_without_a_digest(make_bench: Make) -> None:
    """SEMANTICS 8.3"""
    bench = make_bench([job("a", output_files=["made"]), job("b", input_files=["made"])], detect="content")
    bench.operate(Initialize)
    bench.disk.make_special("made")
    bench.run_all()
    assert not record(bench, "made")[3]
    assert bench.operate(Reinit).summary.listed == 0


def test_in_one_report_some_outputs_have_a_digest_and_others_none(make_bench: Make) -> None:
    """SEMANTICS 8.3"""
    bench = make_bench([job("a", output_files=["directory", "file"]), job("b")], detect="content")
    bench.operate(Initialize)
    bench.disk.make_special("directory")
    bench.claim()
    bench.report(started=[bench.attempt("a"), bench.attempt("b")])
    bench.write_outputs("a")
    assert bench.report(ended=[bench.end("b"), bench.end("a")]) == []
    assert not record(bench, "directory")[3]
    assert record(bench, "file")[3]
    bench.check()


def test_a_digest_of_a_file_that_is_not_the_jobs_own_is_not_taken(make_bench: Make) -> None:
    """SEMANTICS 8.3"""
    bench = make_bench([job("a", output_files=["y"]), job("b", output_files=["z"])], detect="content")
    bench.operate(Initialize)
    bench.run_all()
    before = record(bench, "y")
    bench.operate(ResetJobs, jobs=[bench.id("b")], reinitialize=True)
    bench.claim()
    bench.report(started=[bench.attempt("b")])
    bench.write_outputs("b")
    own, *_ = bench.end("b").outputs
    foreign = structs.replace(own, file_id=bench.id("y", "file"))
    unknown = structs.replace(own, file_id=999)
    assert bench.report(ended=[structs.replace(bench.end("b"), outputs=[foreign, unknown, own])]) == []
    assert record(bench, "y") == before
    assert bench.status() == {"a": "completed", "b": "completed"}
    bench.check()


def test_a_file_that_becomes_a_directory_has_changed(bench: Workbench) -> None:
    settle(bench)
    bench.disk.make_special("settings")
    bench.disk.touch("settings")
    assert set(bench.reasons(bench.operate(Reinit))) == {"audit", "work"}
    bench.check()


# ---- changed and changed back ----


def accept_a_change(bench: Workbench) -> None:
    """audit is accepted with other settings; work's last attempt used the first ones."""
    settle(bench)
    bench.disk.write("settings", content="second")
    bench.operate(AcceptJobs, jobs=[bench.id("audit")], reason="does not matter")


def test_an_accepted_change_makes_the_other_consumers_stale(bench: Workbench) -> None:
    """SEMANTICS 4.7"""
    accept_a_change(bench)
    assert list(bench.reasons(bench.preview(Reinit))) == ["work"]
    age(bench)
    assert list(bench.reasons(bench.preview(Reinit))) == ["work"]


def test_a_consumer_of_a_file_that_is_back_at_what_it_used_is_not_stale(bench: Workbench) -> None:
    """SEMANTICS 4.7: exact per job"""
    accept_a_change(bench)
    bench.disk.write("settings", content="first")
    planned = bench.operate(Reinit)
    assert list(bench.reasons(planned)) == ["audit"]
    bench.run_all()
    assert bench.operate(Reinit).summary.listed == 0
    age(bench)
    assert bench.operate(Reinit).summary.listed == 0
    assert bench.operate(Reinit).summary.listed == 0, "also when nobody had to read it"


def test_a_file_that_is_back_at_what_was_used_and_then_touched_makes_nothing_stale(bench: Workbench) -> None:
    """SEMANTICS 4.7"""
    accept_a_change(bench)
    bench.disk.write("settings", content="first")
    bench.operate(Reinit)
    bench.run_all()
    bench.disk.touch("settings")
    assert bench.operate(Reinit).summary.listed == 0


def test_by_time_a_file_that_is_back_has_changed(bench: Workbench) -> None:
    """SEMANTICS 4.1"""
    accept_a_change(bench)
    bench.disk.write("settings", content="first")
    assert set(bench.reasons(bench.preview(Reinit, detect="mtime"))) == {"audit", "work"}


# ---- what is observed ----


def test_prepare_reads_the_inputs_of_the_jobs_it_makes_ready(bench: Workbench) -> None:
    """SEMANTICS 5.1"""
    settle(bench)
    bench.operate(ResetJobs, jobs=[bench.id("audit")])
    bench.disk.touch("settings")
    before = record(bench, "settings")
    bench.operate(Prepare)
    assert record(bench, "settings")[2] == before[2]
    assert bench.run_all() == ["audit"]
    assert bench.operate(Reinit).summary.listed == 0


def test_prepare_accepts_changed_content_and_other_consumers_become_stale(bench: Workbench) -> None:
    """SEMANTICS 5.1, 4.7"""
    settle(bench)
    bench.operate(ResetJobs, jobs=[bench.id("audit")])
    bench.disk.write("settings", content="second")
    bench.operate(Prepare)
    bench.run_all()
    assert list(bench.reasons(bench.operate(Reinit))) == ["work"]


def test_a_reset_that_goes_on_as_reinit_compares_contents(bench: Workbench) -> None:
    bench.disk.touch("settings", "data")
    planned = bench.operate(ResetStatus, failed_only=True, reinitialize=True)
    assert planned.summary.listed == 0


def test_a_dry_run_with_contents_writes_nothing_and_is_the_real_plan(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    bench.disk.touch("data")
    bench.disk.write("settings", content="second")
    preview = bench.preview(Reinit)
    real = bench.operate(Reinit, expect=preview.summary.plan_digest)
    assert real.packed == preview.packed


def test_a_plan_that_would_only_refresh_records_has_another_digest_than_one_that_would_not(bench: Workbench) -> None:
    """SEMANTICS 5.4"""
    settle(bench)
    before = bench.preview(Reinit).summary.plan_digest
    bench.disk.touch("data")
    assert bench.preview(Reinit).summary.plan_digest != before


def test_a_failed_attempt_leaves_records_without_digests_and_its_outputs_count_by_time(make_bench: Make) -> None:
    """SEMANTICS 8.3"""
    bench = make_bench([job("a", output_files=["x"]), job("b", input_files=["x"])], detect="content")
    bench.operate(Initialize)
    bench.claim()
    bench.report(started=[bench.attempt("a")])
    bench.disk.write("x", content="half")
    bench.report(ended=[bench.end("a", 1)])
    assert not record(bench, "x")[3]
    bench.check()
    bench.operate(Reinit)
    assert record(bench, "x")[3]
    assert bench.state.jobs.status[bench.index("a")] == Status.FAILED
