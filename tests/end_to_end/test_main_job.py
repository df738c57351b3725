"""The work torcctl is for: run a workflow, change something, rerun exactly what the change affects."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from real_system import System

EXAMPLES = Path(__file__).parents[2] / "examples"

CHAIN: dict[str, Any] = {
    "name": "chain",
    "files": [{"name": name, "path": f"{name}.txt"} for name in ("source", "middle", "end", "other")],
    "jobs": [
        {"name": "first", "command": "cat ${files.input.source} > ${files.output.middle}"},
        {"name": "second", "command": "cat ${files.input.middle} > ${files.output.end}"},
        {"name": "aside", "command": "cat ${files.input.source} > ${files.output.other}"},
    ],
}
"""`first` and `aside` read source.txt; `second` reads what `first` wrote."""


def make_chain(system: System) -> int:
    """A finished chain."""
    system.write("source.txt", "one\n")
    workflow_id = system.create(CHAIN)
    system.torcctl("run", workflow_id)
    return workflow_id


def reasons(system: System, workflow_id: int) -> dict[str, list[dict[str, Any]]]:
    """Why a dry run would reset each job, in its order."""
    plan = system.plan(workflow_id)
    assert plan["dry_run"] is True
    assert plan["count"] == len(plan["jobs"])
    return {job["name"]: job["reasons"] for job in plan["jobs"]}


def would_reset(system: System, workflow_id: int) -> list[str]:
    """The jobs of a dry run, by name."""
    return list(reasons(system, workflow_id))


@pytest.fixture
def three_inputs(alone: System) -> System:
    """examples/three_inputs.yaml after its first run, as workflow 1."""
    shutil.copy(EXAMPLES / "three_inputs.yaml", alone.work)
    for number in (1, 2, 3):
        alone.write(f"input_{number}.txt", f"sample {number}\n")
    alone.torcctl("run", "three_inputs.yaml")
    return alone


def test_a_changed_input_reruns_its_job_and_what_depends_on_it(three_inputs: System) -> None:
    """SEMANTICS 4.1, 4.6, 5.4; INTERFACE 2 (text output)"""
    system = three_inputs
    assert system.read("summary.txt") == "SAMPLE 1\nSAMPLE 2\nSAMPLE 3\n"
    assert system.torcctl("workflows", "reinit", "--dry-run").out == (
        "Dry run: 0 jobs would be reset due to changed inputs\n"
    )
    system.write("input_2.txt", "corrected\n")

    dry = system.torcctl("workflows", "reinit", "--dry-run")
    assert dry.out == "Dry run: 2 jobs would be reset due to changed inputs\n  - work_2\n  - postprocess\n"
    before = system.jobs(1)
    assert {job["status"] for job in before.values()} == {"completed"}
    assert system.run_id(1) == 1

    assert system.torcctl("workflows", "reinit").out == "Reset 2 jobs due to changed inputs\n"
    statuses = system.statuses(1)
    assert statuses == {"work_1": "completed", "work_2": "ready", "work_3": "completed", "postprocess": "blocked"}
    assert system.run_id(1) == 2

    assert system.torcctl("run", 1).out == "Workflow 1: 4 completed\n"
    assert system.read("summary.txt") == "SAMPLE 1\nCORRECTED\nSAMPLE 3\n"
    assert system.attempts(1) == {"work_1": 1, "work_2": 2, "work_3": 1, "postprocess": 2}
    assert system.torcctl("workflows", "reinit").out == "Reset 0 jobs due to changed inputs\n"


def test_a_touched_input_counts_as_changed_and_its_reason_shows_both_times(three_inputs: System) -> None:
    """SEMANTICS 4.1"""
    system = three_inputs
    path = system.work / "input_2.txt"
    stored = path.stat()
    os.utime(path, ns=(stored.st_mtime_ns - 5, stored.st_mtime_ns - 5))  # older, and still a change
    found = reasons(system, 1)
    assert found["work_2"] == [
        {
            "kind": "input_changed",
            "file": "input_2",
            "path": str(path),
            "stored": {"mtime_ns": stored.st_mtime_ns, "size": stored.st_size},
            "observed": {"mtime_ns": stored.st_mtime_ns - 5, "size": stored.st_size},
        }
    ]
    (inherited,) = found["postprocess"]
    assert (inherited["kind"], inherited["root"], inherited["via"]) == ("upstream_stale", "work_2", "work_2")
    assert inherited["root_id"] == system.jobs(1)["work_2"]["id"]
    assert system.torcctl("workflows", "reinit").out == "Reset 2 jobs due to changed inputs\n"
    system.torcctl("run", 1)
    assert system.attempts(1) == {"work_1": 1, "work_2": 2, "work_3": 1, "postprocess": 2}


def test_explain_tells_the_reason_below_each_job(three_inputs: System) -> None:
    """INTERFACE 2 (--explain)"""
    system = three_inputs
    system.write("input_2.txt", "x\n")
    lines = system.torcctl("workflows", "reinit", "--dry-run", "--explain").out.splitlines()
    assert lines[0] == "Dry run: 2 jobs would be reset due to changed inputs"
    assert lines[1].startswith("  - work_2")
    assert f"input input_2 ({system.work}/input_2.txt) changed" in lines[2]
    assert lines[3].startswith("  - postprocess")
    assert "work_2" in lines[4]


def test_a_missing_output_reruns_its_job_without_force(system: System) -> None:
    """SEMANTICS 4.4"""
    workflow_id = make_chain(system)
    (system.work / "middle.txt").unlink()
    assert reasons(system, workflow_id)["first"][0]["kind"] == "output_missing"
    assert system.torcctl("workflows", "reinit", workflow_id).out == "Reset 2 jobs due to changed inputs\n"
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"first": 2, "second": 2, "aside": 1}
    assert system.read("end.txt") == "one\n"


def test_an_edited_command_reruns_its_job_and_editing_it_back_does_not(system: System) -> None:
    """SEMANTICS 4.2"""
    workflow_id = make_chain(system)
    job = system.jobs(workflow_id)["first"]
    edited = "tr a-z A-Z < source.txt > middle.txt"
    assert system.torcctl("jobs", "update", job["id"], "--command", edited, json=True)["command"] == edited
    found = reasons(system, workflow_id)
    assert found["first"] == [{"kind": "definition_changed", "field": "command", "old": job["command"], "new": edited}]
    assert list(found) == ["first", "second"]

    system.torcctl("jobs", "update", job["id"], "--command", job["command"])
    assert would_reset(system, workflow_id) == []

    system.torcctl("jobs", "update", job["id"], "--command", edited)
    assert system.torcctl("workflows", "reinit", workflow_id).out == "Reset 2 jobs due to changed inputs\n"
    system.torcctl("run", workflow_id)
    assert system.read("end.txt") == "ONE\n"
    assert system.attempts(workflow_id) == {"first": 2, "second": 2, "aside": 1}
    assert would_reset(system, workflow_id) == []


def test_what_does_not_change_a_job_s_work_makes_nothing_stale(system: System) -> None:
    """SEMANTICS 4.2"""
    workflow_id = make_chain(system)
    job = system.jobs(workflow_id)["first"]
    system.torcctl("jobs", "update", job["id"], "--priority", 7, "--no-cancel-on-blocking-job-failure")
    assert would_reset(system, workflow_id) == []


def test_changed_user_data_reruns_what_takes_it(system: System) -> None:
    """SEMANTICS 4.3"""
    workflow_id = system.create(
        {
            "name": "data",
            "user_data": [{"name": "limit", "data": {"a": 1, "b": [1.0, 2]}}],
            "jobs": [
                {"name": "taker", "command": "true", "input_user_data": ["limit"]},
                {"name": "after", "command": "true", "depends_on": ["taker"]},
                {"name": "other", "command": "true"},
            ],
        }
    )
    system.torcctl("run", workflow_id)
    system.torcctl("-k", workflow_id, "user-data", "update", "limit", "--data", ' { "b":[1,2.0],  "a":1}')
    assert would_reset(system, workflow_id) == []
    system.torcctl("-k", workflow_id, "user-data", "update", "limit", "--data", '{"a": 2}')
    found = reasons(system, workflow_id)
    assert found["taker"] == [
        {"kind": "user_data_changed", "name": "limit", "old": {"a": 1, "b": [1.0, 2]}, "new": {"a": 2}}
    ]
    assert list(found) == ["taker", "after"]
    system.torcctl("workflows", "reinit", workflow_id)
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"taker": 2, "after": 2, "other": 1}


def test_a_changed_script_is_a_changed_input_and_a_removed_one_no_refusal(system: System) -> None:
    """SEMANTICS 4.5"""
    system.write("tools/make.sh", "echo one > out.txt\n")
    workflow_id = system.create(
        {
            "name": "script",
            "files": [{"name": "out", "path": "out.txt"}],
            "jobs": [{"name": "make", "command": "bash tools/make.sh > log.txt", "output_files": ["out"]}],
        }
    )
    system.torcctl("run", workflow_id)
    assert would_reset(system, workflow_id) == []
    system.write("tools/make.sh", "echo two > out.txt\n")
    (reason,) = reasons(system, workflow_id)["make"]
    assert (reason["kind"], reason["path"]) == ("input_changed", str(system.work / "tools/make.sh"))
    system.torcctl("workflows", "reinit", workflow_id)
    system.torcctl("run", workflow_id)
    assert system.read("out.txt") == "two\n"
    (system.work / "tools/make.sh").unlink()
    (reason,) = reasons(system, workflow_id)["make"]
    assert reason["kind"] == "input_missing"
    assert system.torcctl("workflows", "reinit", workflow_id).out == "Reset 1 job due to changed inputs\n"


def test_scripts_are_not_tracked_when_the_specification_says_so(system: System) -> None:
    """SEMANTICS 4.5"""
    system.write("make.sh", "true\n")
    workflow_id = system.create(
        {"name": "s", "track_scripts": False, "jobs": [{"name": "make", "command": "bash make.sh"}]}
    )
    system.torcctl("run", workflow_id)
    system.write("make.sh", "true # changed\n")
    assert would_reset(system, workflow_id) == []


def test_a_deleted_user_input_is_refused_and_force_goes_on_with_a_warning(system: System) -> None:
    """SEMANTICS 5 (reinit)"""
    workflow_id = make_chain(system)
    (system.work / "source.txt").unlink()
    for options in ([], ["--dry-run"]):
        refused = system.torcctl("workflows", "reinit", workflow_id, *options, check=False)
        assert refused.code == 7
        assert refused.out == ""
        assert str(system.work / "source.txt") in refused.err
        assert "--force" in refused.err
    assert system.run_id(workflow_id) == 1
    assert set(system.statuses(workflow_id).values()) == {"completed"}

    forced = system.torcctl("workflows", "reinit", workflow_id, "--force")
    assert forced.out == "Reset 3 jobs due to changed inputs\n"
    assert "source.txt" in forced.err
    assert system.torcctl("run", workflow_id, check=False).code == 1
    assert system.statuses(workflow_id) == {"first": "failed", "second": "canceled", "aside": "failed"}


def test_an_input_that_cannot_be_examined_is_refused_and_force_counts_it_as_unchanged(system: System) -> None:
    """SEMANTICS 4.8"""
    workflow_id = make_chain(system)
    path = system.work / "source.txt"
    path.unlink()
    path.symlink_to("source.txt")  # a link to itself: ELOOP
    for options in ([], ["--dry-run"]):
        refused = system.torcctl("workflows", "reinit", workflow_id, *options, check=False)
        assert refused.code == 7
        assert str(path) in refused.err
        assert "symbolic links" in refused.err
    assert system.run_id(workflow_id) == 1

    forced = system.torcctl("workflows", "reinit", workflow_id, "--force")
    assert forced.out == "Reset 0 jobs due to changed inputs\n"
    assert str(path) in forced.err
    assert set(system.statuses(workflow_id).values()) == {"completed"}


def test_run_initializes_a_new_workflow(system: System) -> None:
    """SEMANTICS 5.1"""
    system.write("source.txt", "one\n")
    workflow_id = system.create(CHAIN)
    assert system.run_id(workflow_id) == 0
    assert set(system.statuses(workflow_id).values()) == {"uninitialized"}
    system.torcctl("workflows", "run", workflow_id)
    assert system.run_id(workflow_id) == 1
    assert system.torcctl("run", workflow_id).out == f"Workflow {workflow_id}: 3 completed\n"
    assert system.run_id(workflow_id) == 1
    assert set(system.attempts(workflow_id).values()) == {1}


def test_run_refuses_a_workflow_whose_inputs_are_missing(system: System) -> None:
    """SEMANTICS 5 (initialize), 5.1"""
    workflow_id = system.create(CHAIN)
    refused = system.torcctl("run", workflow_id, check=False)
    assert refused.code == 7
    assert str(system.work / "source.txt") in refused.err
    assert system.run_id(workflow_id) == 0


def test_reset_status_followed_by_run_just_works(system: System) -> None:
    """SEMANTICS 5.1: what such a run sees of the inputs is accepted"""
    workflow_id = make_chain(system)
    system.write("source.txt", "two\n")
    system.torcctl("workflows", "reset-status", workflow_id)
    assert set(system.statuses(workflow_id).values()) == {"uninitialized"}
    system.torcctl("run", workflow_id)
    assert system.read("end.txt") == "two\n"
    assert set(system.attempts(workflow_id).values()) == {2}
    assert would_reset(system, workflow_id) == []


def test_another_consumer_of_a_file_that_a_partial_rerun_accepted_is_still_stale(system: System) -> None:
    """SEMANTICS 4.7, 5.1"""
    workflow_id = make_chain(system)
    system.write("source.txt", "two\n")
    system.torcctl("jobs", "reset-status", system.jobs(workflow_id)["aside"]["id"])
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"first": 1, "second": 1, "aside": 2}
    assert would_reset(system, workflow_id) == ["first", "second"]


def test_a_file_changed_while_its_consumer_runs_is_seen_by_the_next_reinit(system: System) -> None:
    """SEMANTICS 4.7"""
    started, gate = system.pipe("started"), system.pipe("gate")
    system.write("in.txt", "one\n")
    workflow_id = system.create(
        {
            "name": "slow",
            "files": [{"name": "in", "path": "in.txt"}],
            "jobs": [
                {"name": "reader", "command": "echo now > started; read x < gate", "input_files": ["in"]},
            ],
        }
    )
    run = system.spawn("run", workflow_id)
    started.read_line()
    system.write("in.txt", "two\n")
    gate.write_line()
    assert run.wait(60) == 0
    assert would_reset(system, workflow_id) == ["reader"]


FAILING: dict[str, Any] = {
    "name": "failing",
    "jobs": [
        {"name": "bad", "command": "test -e repaired || exit 3"},
        {"name": "after", "command": "true", "depends_on": ["bad"]},
        {"name": "last", "command": "true", "depends_on": ["after"]},
        {"name": "stubborn", "command": "true", "depends_on": ["bad"], "cancel_on_blocking_job_failure": False},
        {"name": "other", "command": "true"},
    ],
}


def test_a_failing_job_cancels_what_is_downstream_and_the_run_exits_1(system: System) -> None:
    """SEMANTICS 2 (blocked → canceled); INTERFACE 2 (run)"""
    workflow_id = system.create(FAILING)
    run = system.torcctl("run", workflow_id, check=False)
    assert run.code == 1
    assert run.out == f"Workflow {workflow_id}: 2 completed, 1 failed, 2 canceled\n"
    assert "bad" in run.err
    jobs = system.jobs(workflow_id)
    told = {name: (job["status"], job["status_reason"], job["return_code"]) for name, job in jobs.items()}
    assert told == {
        "bad": ("failed", None, 3),
        "after": ("canceled", "upstream_failed", None),
        "last": ("canceled", "upstream_failed", None),
        "stubborn": ("completed", None, 0),
        "other": ("completed", None, 0),
    }


def test_reinit_does_not_retry_failed_jobs_and_a_reset_of_the_failed_does(system: System) -> None:
    """SEMANTICS 5 (reinit, reset-status --failed-only)"""
    workflow_id = system.create(FAILING)
    system.torcctl("run", workflow_id, check=False)
    assert would_reset(system, workflow_id) == []
    assert system.torcctl("workflows", "reinit", workflow_id).out == "Reset 0 jobs due to changed inputs\n"
    assert system.torcctl("run", workflow_id, check=False).code == 1
    assert system.attempts(workflow_id)["bad"] == 1

    system.write("repaired", "")
    system.torcctl("workflows", "reset-status", workflow_id, "--failed-only")
    statuses = system.statuses(workflow_id)
    assert statuses == {
        "bad": "uninitialized", "after": "uninitialized", "last": "uninitialized", "stubborn": "uninitialized",
        "other": "completed",
    }  # fmt: skip
    assert system.torcctl("run", workflow_id).out == f"Workflow {workflow_id}: 5 completed\n"
    assert system.attempts(workflow_id) == {"bad": 2, "after": 1, "last": 1, "stubborn": 2, "other": 1}


def test_a_job_that_leaves_an_output_out_fails_with_its_return_code(system: System) -> None:
    """SEMANTICS 2 (running → failed)"""
    workflow_id = system.create(
        {
            "name": "forgets",
            "files": [{"name": "out", "path": "out.txt"}],
            "jobs": [{"name": "forgets", "command": "true", "output_files": ["out"]}],
        }
    )
    assert system.torcctl("run", workflow_id, check=False).code == 1
    job = system.jobs(workflow_id)["forgets"]
    assert (job["status"], job["status_reason"], job["return_code"]) == ("failed", "output_missing", 0)


def test_running_a_specification_twice_warns_of_the_first_workflow(alone: System) -> None:
    """SEMANTICS 3.7"""
    alone.spec({"name": "twice", "jobs": [{"name": "a", "command": "true"}]})
    assert "workflow 1" in alone.torcctl("run", "spec.json").err  # created workflow 1
    second = alone.torcctl("run", "spec.json")
    assert re.search(r"warning: workflow 1 .*reinit 1", second.err)
    assert second.out == "Workflow 2: 1 completed\n"
    elsewhere = alone.work / "elsewhere"
    elsewhere.mkdir()
    assert "warning" not in alone.torcctl("run", "../spec.json", cwd=elsewhere).err


def test_relative_paths_are_those_of_the_directory_of_creation(system: System) -> None:
    """SEMANTICS 3.6"""
    system.write("source.txt", "one\n")
    workflow_id = system.create(CHAIN)
    elsewhere = system.work / "elsewhere"
    elsewhere.mkdir()
    system.torcctl("run", workflow_id, cwd=elsewhere)
    assert system.read("end.txt") == "one\n"
    assert list(elsewhere.iterdir()) == []
    assert system.torcctl("workflows", "get", workflow_id, json=True)["submission_directory"] == str(system.work)


@pytest.mark.parametrize(
    ("limit", "spec"),
    [
        ([], {"num_cpus": 4096}),
        ([], {"memory": "4096g"}),
        ([], {"num_gpus": 64}),
        (["--num-cpus", "1"], {"num_cpus": 2}),
    ],
)
def test_a_job_larger_than_this_machine_does_not_make_run_wait_in_silence(
    system: System, limit: list[str], spec: dict[str, object]
) -> None:
    """SEMANTICS 8.1: what fits is run; of what never can the user is told"""
    workflow_id = system.create(
        {
            "name": "large",
            "resource_requirements": [{"name": "huge", **spec}],
            "jobs": [
                {"name": "large", "command": "true", "resource_requirements": "huge"},
                {"name": "after", "command": "true", "depends_on": ["large"]},
                {"name": "small", "command": "true"},
            ],
        }
    )
    run = system.torcctl("run", workflow_id, *limit, check=False)
    assert run.code == 1
    assert "large" in run.err
    statuses = system.statuses(workflow_id)
    assert statuses == {"large": "ready", "after": "blocked", "small": "completed"}
    assert system.torcctl("run", workflow_id, "--max-parallel-jobs", 1).code == 0


# ---- the other examples ----


def test_the_diamond_runs_each_job_once_after_a_change(alone: System) -> None:
    shutil.copy(EXAMPLES / "diamond.yaml", alone.work)
    alone.write("source.txt", "".join(f"{number}\n" for number in range(1, 101)))
    alone.torcctl("run", "diamond.yaml")
    assert "50 evens.txt" in alone.read("report.txt")
    alone.write("source.txt", "1\n2\n3\n")
    assert would_reset(alone, 1) == ["top", "left", "right", "bottom"]
    alone.torcctl("workflows", "reinit", 1)
    alone.torcctl("run", 1)
    assert set(alone.attempts(1).values()) == {2}
    assert "1 evens.txt" in alone.read("report.txt")
    (alone.work / "evens.txt").unlink()
    assert would_reset(alone, 1) == ["left", "bottom"]


def test_the_sweep_reruns_one_rate_when_one_score_is_lost(alone: System) -> None:
    shutil.copy(EXAMPLES / "sweep.yaml", alone.work)
    assert alone.torcctl("run", "sweep.yaml").out == "Workflow 1: 25 completed\n"
    rate = float(alone.read("best.txt").split()[1])
    assert rate in (0.01, 0.1)
    (alone.work / "scores" / "rate_0.100_seed_03.txt").unlink()
    assert would_reset(alone, 1) == ["train_0.1_3", "mean_0.1", "choose"]


def test_the_chain_of_user_data_reruns_what_a_new_limit_changes(alone: System) -> None:
    """SEMANTICS 4.3: what jobs write during the run makes a finished workflow not stale"""
    shutil.copy(EXAMPLES / "user_data_chain.yaml", alone.work)
    alone.torcctl("run", "user_data_chain.yaml")
    assert alone.torcctl("user-data", "get", "decision", json=True)["data"] == {"verdict": "accept"}
    assert would_reset(alone, 1) == []
    alone.torcctl("user-data", "update", "limits", "--data", '{"most": 3}')
    assert would_reset(alone, 1) == ["decide", "act"]
    alone.torcctl("workflows", "reinit", 1)
    alone.torcctl("workflows", "run", 1)
    assert alone.torcctl("user-data", "get", "decision", json=True)["data"] == {"verdict": "reject"}
    assert alone.attempts(1) == {"measure": 1, "decide": 2, "act": 2}
    assert would_reset(alone, 1) == []


def test_the_barrier_is_created_initialized_and_planned(alone: System) -> None:
    """Running its 2001 jobs would cost seconds and show nothing more."""
    spec = (EXAMPLES / "barrier.yaml").read_text().replace('"1:1000"', '"1:100"')
    alone.write("barrier.yaml", spec)
    assert alone.torcctl("run", "barrier.yaml").out == "Workflow 1: 201 completed\n"
    assert would_reset(alone, 1) == []
    job = alone.jobs(1)["work_0042"]
    alone.torcctl("jobs", "update", job["id"], "--command", "true # edited")
    assert would_reset(alone, 1) == ["work_0042", "finish"]


def test_the_same_workflow_in_four_formats_is_the_same_workflow(alone: System) -> None:
    """SEMANTICS 3.1"""
    kept = ("name", "command", "status", "priority", "resource_requirements")
    told = []
    for name in ("yaml", "json", "json5", "toml"):
        path = EXAMPLES / "formats" / f"hello.{name}"
        created = alone.torcctl("workflows", "create", path, json=True)
        jobs = alone.jobs(created["workflow_id"]).values()
        files = alone.torcctl("files", "list", created["workflow_id"], json=True)["files"]
        told.append(
            (
                created["name"],
                created["description"],
                [[job[key] for key in kept] for job in jobs],
                [(file["name"], file["path"]) for file in files],
            )
        )
    assert told[1:] == told[:1] * 3
    assert alone.torcctl("run", 1).out == "Workflow 1: 3 completed\n"
    assert alone.read("greeting_moon.txt") == "hello, moon\n"
