"""What a reinit finds after a workflow has run: SEMANTICS §4 on a database and a fake disk."""

import errno
from collections.abc import Callable

import pytest
from builders import DIRECTORY, chained, job
from workbench import Workbench

from torcd.protocol.errors import Refused
from torcd.protocol.requests import Initialize, Prepare, Reinit, ResetJobs, ResetStatus, Restart
from torcd.protocol.specification import ResourceRequirementsSpec, UserDataSpec

Make = Callable[..., Workbench]

PIPELINE = [
    job("split", input_files=["data"], output_files=["part"]),
    job("work", input_files=["part", "settings"], output_files=["found"]),
    job("plot", input_files=["found"], output_files=["picture"]),
    job("audit", input_files=["settings"], output_files=["log"]),
]


@pytest.fixture
def bench(make_bench: Make) -> Workbench:
    """The pipeline, run to its end."""
    made = make_bench(PIPELINE)
    made.disk.write("data", "settings")
    made.operate(Initialize)
    assert made.run_all() == ["split", "audit", "work", "plot"]
    return made


def test_a_workflow_that_has_just_run_has_nothing_stale(bench: Workbench) -> None:
    """SEMANTICS 4.1"""
    planned = bench.operate(Reinit)
    assert (planned.summary.count, planned.summary.listed, planned.summary.spared) == (0, 0, 4)
    assert set(bench.status().values()) == {"completed"}


def test_a_touched_input_reruns_its_consumers_and_what_is_downstream(bench: Workbench) -> None:
    """SEMANTICS 4.1, 4.6"""
    before = bench.disk.stat("settings")
    bench.disk.touch("settings")
    after = bench.disk.stat("settings")
    planned = bench.operate(Reinit)
    changed = {
        "kind": "input_changed",
        "file": "settings",
        "path": f"{DIRECTORY}/settings",
        "stored": {"mtime_ns": before[0], "size": before[1]},
        "observed": {"mtime_ns": after[0], "size": after[1]},
    }
    upstream = {"kind": "upstream_stale", "root": "work", "root_id": bench.id("work"), "via": "work"}
    assert bench.reasons(planned) == {"audit": [changed], "work": [changed], "plot": [upstream]}
    assert planned.summary.count == 3
    assert bench.run_all() == ["audit", "work", "plot"]
    assert bench.operate(Reinit).summary.count == 0


def test_an_older_file_is_as_changed_as_a_newer_one(bench: Workbench) -> None:
    """SEMANTICS 4.1: never "newer" """
    mtime_ns, size = bench.disk.stat("data")
    bench.disk.restore("data", mtime_ns - 10**12, size)
    assert list(bench.reasons(bench.preview(Reinit))) == ["split", "work", "plot"]
    bench.disk.restore("data", mtime_ns, size + 1)
    assert list(bench.reasons(bench.preview(Reinit))) == ["split", "work", "plot"]
    bench.disk.restore("data", mtime_ns, size)
    assert bench.reasons(bench.preview(Reinit)) == {}


def test_a_disappeared_input_is_missing_and_force_goes_on(bench: Workbench) -> None:
    """SEMANTICS 4.1, §5"""
    stored = bench.disk.stat("settings")
    bench.disk.delete("settings")
    with pytest.raises(Refused, match=f"{DIRECTORY}/settings"):
        bench.preview(Reinit)
    planned = bench.operate(Reinit, force=True)
    missing = {
        "kind": "input_missing",
        "file": "settings",
        "path": f"{DIRECTORY}/settings",
        "stored": {"mtime_ns": stored[0], "size": stored[1]},
    }
    assert bench.reasons(planned)["audit"] == [missing]
    assert f"{DIRECTORY}/settings" in planned.summary.warnings[0]


def test_a_missing_output_reruns_its_producer_and_its_consumers_follow(bench: Workbench) -> None:
    """SEMANTICS 4.4: without --force"""
    bench.disk.delete("part")
    reasons = bench.reasons(bench.operate(Reinit))
    assert reasons["split"] == [{"kind": "output_missing", "file": "part", "path": f"{DIRECTORY}/part"}]
    assert [each["kind"] for each in reasons["work"]] == ["input_missing", "upstream_stale"]
    assert list(reasons) == ["split", "work", "plot"]
    assert bench.run_all() == ["split", "work", "plot"]


def test_a_missing_output_of_a_failed_job_is_no_reason(make_bench: Make) -> None:
    """SEMANTICS 4.4: completed jobs only"""
    bench = make_bench([job("a", output_files=["x"])])
    bench.operate(Initialize)
    bench.run_all(failing=["a"])
    assert bench.operate(Reinit).summary.listed == 0
    assert bench.status() == {"a": "failed"}


# ---- 4.2 definitions ----


def test_an_edited_command_is_told_with_its_old_and_new_value(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    bench.edit("plot", command="run plot --better")
    planned = bench.operate(Reinit)
    expected = {"kind": "definition_changed", "field": "command", "old": "run plot", "new": "run plot --better"}
    assert bench.reasons(planned) == {"plot": [expected]}
    assert bench.run_all() == ["plot"]
    assert bench.operate(Reinit).summary.count == 0


def test_environment_and_invocation_script_are_critical(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    bench.edit("plot", env={"A": "1"}, invocation_script="./wrap.sh")
    fields = {
        (each["field"], str(each["old"]), str(each["new"])) for each in bench.reasons(bench.preview(Reinit))["plot"]
    }
    assert fields == {("env", "{}", "{'A': '1'}"), ("invocation_script", "None", "./wrap.sh")}


def test_a_definition_edited_back_to_what_ran_makes_nothing_stale(bench: Workbench) -> None:
    """SEMANTICS 4.2"""
    bench.edit("plot", command="something else")
    bench.check()
    bench.edit("plot", command="run plot")
    bench.check()
    assert bench.preview(Reinit).summary.listed == 0


def test_two_edits_are_compared_with_what_ran_and_not_with_each_other(bench: Workbench) -> None:
    """SEMANTICS 4.2: the definition a job last ran with is kept"""
    bench.edit("plot", command="second")
    bench.edit("plot", command="third")
    (reason,) = bench.reasons(bench.preview(Reinit))["plot"]
    assert (reason["old"], reason["new"]) == ("run plot", "third")


def test_resources_and_priority_never_make_a_job_stale(make_bench: Make) -> None:
    """SEMANTICS 4.2"""
    big = ResourceRequirementsSpec(name="big", num_cpus=9, memory="2g", runtime="PT2H")
    bench = make_bench([job("a")], resource_requirements=[big])
    bench.operate(Initialize)
    bench.run_all()
    bench.edit(
        "a", priority=7, resource_requirements="big", cancel_on_blocking_job_failure=False, supports_termination=True
    )
    bench.check()
    assert bench.preview(Reinit).summary.listed == 0
    assert bench.rows("SELECT priority, cancel_on_failure, supports_termination FROM job") == [(7, 0, 1)]


# ---- 4.3 user data ----

EPOCHS = [
    UserDataSpec(name="epochs", data=10),
    UserDataSpec(name="score"),
]
TRAINING = [
    job("train", input_user_data=["epochs"], output_user_data=["score"]),
    job("judge", input_user_data=["score"]),
]


@pytest.fixture
def trained(make_bench: Make) -> Workbench:
    """A workflow whose first job has written user data for the second during the run."""
    bench = make_bench(TRAINING, (), EPOCHS)
    bench.operate(Initialize)
    (launch,) = bench.claim()
    bench.report(started=[bench.attempt("train")])
    bench.set_value("score", 0.5, job_id=launch.job_id, attempt_id=launch.attempt_id)
    assert bench.report(ended=[bench.end("train")]) == []
    assert bench.run_all() == ["judge"]
    return bench


def test_values_written_during_the_run_never_make_it_stale(trained: Workbench) -> None:
    """SEMANTICS 4.3"""
    assert set(trained.status().values()) == {"completed"}
    assert trained.operate(Reinit).summary.listed == 0


def test_a_changed_value_reruns_its_readers(trained: Workbench) -> None:
    """SEMANTICS 4.3"""
    trained.set_value("epochs", 20)
    reasons = trained.reasons(trained.operate(Reinit))
    assert reasons["train"] == [{"kind": "user_data_changed", "name": "epochs", "old": 10, "new": 20}]
    assert list(reasons) == ["train", "judge"]


def test_an_equal_value_and_one_that_is_back_make_nothing_stale(trained: Workbench) -> None:
    """SEMANTICS 4.3"""
    trained.set_value("epochs", 10.0)
    assert trained.rows(
        "SELECT count(*) FROM user_data_version WHERE user_data_id = ?", trained.id("epochs", "user_data")
    ) == [(1,)]
    trained.set_value("epochs", 11)
    trained.set_value("epochs", 10)
    trained.check()
    assert trained.preview(Reinit).summary.listed == 0


def test_a_declared_value_that_was_never_written_fails_the_job(make_bench: Make) -> None:
    """SEMANTICS 8.2"""
    bench = make_bench(TRAINING, (), EPOCHS)
    bench.operate(Initialize)
    bench.claim()
    bench.finish("train")
    assert bench.status() == {"train": "failed", "judge": "canceled"}
    assert bench.reason("train").name == "OUTPUT_MISSING"


# ---- 4.7 versions ----


def test_another_consumer_that_was_rerun_in_between_hides_nothing(bench: Workbench) -> None:
    """SEMANTICS 4.7"""
    first = bench.disk.stat("settings")
    bench.disk.write("settings", size=11)
    bench.operate(ResetJobs, jobs=[bench.id("audit")])
    bench.operate(Prepare)
    assert bench.run_all() == ["audit"]
    planned = bench.operate(Reinit)
    reasons = bench.reasons(planned)
    assert list(reasons) == ["work", "plot"], "audit has seen the new file"
    now = bench.disk.stat("settings")
    (reason,) = reasons["work"]
    assert reason["stored"] == {"mtime_ns": first[0], "size": first[1]}, "what work knew comes from the history"
    assert reason["observed"] == {"mtime_ns": now[0], "size": now[1]}


def test_the_history_tells_that_a_file_was_absent_when_the_job_ran(bench: Workbench) -> None:
    """SEMANTICS 4.7: absence is a version as well"""
    bench.disk.delete("settings")
    bench.operate(Reinit, force=True)
    assert bench.run_all() == ["audit", "work", "plot"]
    bench.disk.write("settings")
    bench.operate(ResetJobs, jobs=[bench.id("audit")])
    bench.operate(Prepare)
    bench.run_all()
    (reason,) = bench.reasons(bench.preview(Reinit))["work"]
    assert (reason["kind"], reason["stored"]) == ("input_changed", None)


def test_a_file_changed_while_its_consumer_runs_is_seen_by_the_next_reinit(bench: Workbench) -> None:
    """SEMANTICS 4.7"""
    bench.disk.touch("settings")
    bench.operate(Reinit)
    assert [launch.name for launch in bench.claim()] == ["audit", "work"]
    bench.report(started=[bench.attempt("work"), bench.attempt("audit")])
    bench.disk.touch("settings")
    bench.finish("work", "audit")
    assert bench.run_all() == ["plot"]
    assert list(bench.reasons(bench.operate(Reinit))) == ["audit", "work", "plot"]


def test_a_file_changed_and_recorded_while_its_consumer_runs_is_seen_too(bench: Workbench) -> None:
    """SEMANTICS 4.7: another operation has accepted the change before the consumer ended"""
    bench.disk.touch("settings")
    bench.operate(Reinit)
    bench.claim()
    bench.report(started=[bench.attempt("work"), bench.attempt("audit")])
    bench.disk.touch("settings")
    assert bench.operate(Reinit).summary.listed == 0, "live jobs are not examined"
    bench.finish("work", "audit")
    assert bench.run_all() == ["plot"]
    assert list(bench.reasons(bench.operate(Reinit))) == ["audit", "work", "plot"]


def test_what_an_aborted_attempt_left_behind_does_not_count_as_its_input(bench: Workbench) -> None:
    """SEMANTICS 4.7: a claim that was handed back never started"""
    bench.disk.touch("settings")
    bench.operate(ResetJobs, jobs=[bench.id("audit")])
    bench.operate(Prepare)
    bench.claim()
    bench.report(returned=[bench.attempt("audit")])
    bench.check()
    assert bench.status()["audit"] == "ready"
    assert [reason["kind"] for reason in bench.reasons(bench.preview(Reinit))["work"]] == ["input_changed"]


def test_an_output_that_was_rewritten_by_hand_reruns_its_consumers_alone(bench: Workbench) -> None:
    """SEMANTICS 4.1"""
    bench.disk.touch("part")
    assert list(bench.reasons(bench.operate(Reinit))) == ["work", "plot"]


# ---- 4.5 scripts ----


def test_an_updated_script_reruns_its_job(make_bench: Make) -> None:
    """SEMANTICS 4.5"""
    bench = make_bench([job("a", "python tool.py"), job("b")], scripts=[("a", "tool.py")])
    bench.disk.write("tool.py")
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.touch("tool.py")
    reasons = bench.reasons(bench.operate(Reinit))
    assert {name: [(each["kind"], each["file"]) for each in listed] for name, listed in reasons.items()} == {
        "a": [("input_changed", f"{DIRECTORY}/tool.py")]
    }
    bench.run_all()
    bench.disk.delete("tool.py")
    planned = bench.operate(Reinit)
    assert planned.summary.warnings == [], "a missing implicit input never refuses"
    assert [each["kind"] for each in bench.reasons(planned)["a"]] == ["input_missing"]


# ---- 4.8 unknown files ----


def test_an_unknown_file_refuses_before_anything_is_written(bench: Workbench) -> None:
    """SEMANTICS 4.8"""
    bench.disk.touch("data")
    bench.disk.fail("settings", errno.ESTALE)
    before = bench.dump()
    with pytest.raises(Refused, match=f"{DIRECTORY}/settings \\(.*ESTALE"):
        bench.plan(Reinit(workflow_id=bench.workflow_id))
    assert bench.dump() == before


def test_with_force_an_unknown_file_is_unchanged_and_its_record_stays(bench: Workbench) -> None:
    """SEMANTICS 4.8"""
    bench.disk.touch("data", "settings")
    bench.disk.fail("settings")
    planned = bench.operate(Reinit, force=True)
    assert list(bench.reasons(planned)) == ["split", "work", "plot"]
    assert "EACCES" in planned.summary.warnings[0]
    bench.run_all()
    bench.disk.mend("settings")
    assert list(bench.reasons(bench.operate(Reinit))) == ["audit", "work", "plot"], "found once it can be seen"


# ---- disabled jobs ----


def test_reset_and_restart_agree_with_reinit_on_what_changed(bench: Workbench) -> None:
    """SEMANTICS §5: changes are detected as in reinit"""
    bench.disk.touch("data")
    found = bench.reasons(bench.preview(Reinit))
    assert bench.reasons(bench.preview(Restart)) == found
    assert bench.reasons(bench.preview(ResetStatus, failed_only=True, reinitialize=True)) == found


def test_a_long_chain_lists_one_reason_for_each_job(make_bench: Make) -> None:
    """SEMANTICS 4.6"""
    names = [f"j{number}" for number in range(30)]
    bench = make_bench(chained(">".join(names)))
    bench.operate(Initialize)
    bench.run_all()
    bench.edit("j10", command="new")
    reasons = bench.reasons(bench.operate(Reinit))
    assert list(reasons) == names[10:]
    assert [each["via"] for name in names[11:] for each in reasons[name]] == names[10:-1]
    assert {each["root"] for name in names[11:] for each in reasons[name]} == {"j10"}
