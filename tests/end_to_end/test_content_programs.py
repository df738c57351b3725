"""Detection by content, early cutoff, acceptance and undo with the real programs: SEMANTICS 4.9, 5.6."""

import os
import shlex
from typing import Any

import pytest
from real_system import Pipe, System

from torcd.protocol.errors import Refused
from torcd.protocol.requests import AcceptJobs, GetTaskPlan, Request, Undo, WaitTask

FILTERED: dict[str, Any] = {
    "name": "filtered",
    "files": [{"name": name, "path": f"{name}.txt"} for name in ("source", "middle", "end", "last")],
    "jobs": [
        {"name": "first", "command": "grep -v '^#' ${files.input.source} > ${files.output.middle}"},
        {"name": "second", "command": "cat ${files.input.middle} > ${files.output.end}"},
        {"name": "third", "command": "cat ${files.input.end} > ${files.output.last}"},
    ],
}
"""Comments in source.txt make no difference to middle.txt."""


def make(system: System, **header: Any) -> int:
    """A finished workflow."""
    system.write("source.txt", "one\n")
    workflow_id = system.create(FILTERED | header)
    system.torcctl("run", workflow_id)
    assert set(system.statuses(workflow_id).values()) == {"completed"}
    return workflow_id


def touch(system: System, path: str) -> None:
    """Gives a file another time."""
    found = (system.work / path).stat()
    os.utime(system.work / path, ns=(1, found.st_mtime_ns + 1_000_000))


def operate(system: System, request: Request) -> dict[str, Any]:
    """Carries an operation out that has no command yet; its ended task."""
    started = system.call(request)
    task: dict[str, Any] = system.call(WaitTask(task_id=started["task_id"], timeout_s=30))
    return task


def reinit(system: System, workflow_id: int, *options: str) -> str:
    """What `workflows reinit` prints."""
    out: str = system.torcctl("workflows", "reinit", workflow_id, *options).out
    return out


NOTHING = "Reset 0 jobs due to changed inputs\n"


def test_a_touch_resets_nothing_in_a_workflow_told_by_content(system: System) -> None:
    """SEMANTICS 4.9"""
    workflow_id = make(system, detect="content")
    for path in ("source.txt", "middle.txt", "end.txt", "last.txt"):
        touch(system, path)
    assert reinit(system, workflow_id) == NOTHING
    system.write("source.txt", "two\n")
    assert reinit(system, workflow_id) == "Reset 3 jobs due to changed inputs\n"
    system.torcctl("run", workflow_id)
    assert system.read("last.txt") == "two\n"
    assert reinit(system, workflow_id) == NOTHING


def test_a_workflow_told_by_time_can_be_told_by_content_once_that_is_known(system: System) -> None:
    """SEMANTICS 4.9"""
    workflow_id = make(system)
    assert reinit(system, workflow_id, "--detect", "content") == NOTHING
    touch(system, "source.txt")
    assert reinit(system, workflow_id, "--dry-run").startswith("Dry run: 3 jobs")
    assert reinit(system, workflow_id, "--detect", "content") == NOTHING
    assert reinit(system, workflow_id) == NOTHING


def test_other_content_with_the_same_time_and_size_is_found_if_it_was_written_right_after_the_record(
    system: System,
) -> None:
    """SEMANTICS 4.9: the racy window"""
    workflow_id = make(system, detect="content")
    system.write("source.txt", "two\n")
    assert reinit(system, workflow_id) == "Reset 3 jobs due to changed inputs\n"
    found = (system.work / "source.txt").stat()
    system.torcctl("run", workflow_id)
    future = found.st_mtime_ns + 3_600 * 10**9  # as a file server with another clock would have it
    os.utime(system.work / "source.txt", ns=(1, future))
    assert reinit(system, workflow_id) == NOTHING
    (system.work / "source.txt").write_text("too\n")
    os.utime(system.work / "source.txt", ns=(1, future))
    assert reinit(system, workflow_id) == "Reset 3 jobs due to changed inputs\n"


def test_what_is_behind_a_rerun_with_identical_output_is_spared(system: System) -> None:
    """SEMANTICS 4.9"""
    workflow_id = make(system, detect="content")
    system.write("source.txt", "# a comment\none\n")
    assert reinit(system, workflow_id) == "Reset 3 jobs due to changed inputs\n"
    assert system.torcctl("run", workflow_id).out == f"Workflow {workflow_id}: 3 completed\n"
    assert system.attempts(workflow_id) == {"first": 2, "second": 1, "third": 1}
    assert [job["status_reason"] for job in system.jobs(workflow_id).values()] == [
        None,
        "unchanged_inputs",
        "unchanged_inputs",
    ]
    results = system.torcctl("results", "list", workflow_id, json=True)["results"]
    assert {result["job_name"]: result["attempt_id"] for result in results} == {"first": 2, "second": 1, "third": 1}
    assert reinit(system, workflow_id) == NOTHING


def test_by_time_everything_behind_it_runs(system: System) -> None:
    """SEMANTICS 4.6"""
    workflow_id = make(system)
    system.write("source.txt", "# a comment\none\n")
    reinit(system, workflow_id)
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"first": 2, "second": 2, "third": 2}


@pytest.mark.parametrize("killed", ["before the run", "during the run"])
def test_a_daemon_that_is_killed_in_between_spares_them_all_the_same(alone: System, killed: str) -> None:
    """SEMANTICS 4.9, 8.4"""
    system = alone
    system.start_daemon()
    started, gate = system.pipe("started"), system.pipe("gate")
    workflow_id = make_gated(system, started, gate)
    system.write("source.txt", "# a comment\none\n")
    assert reinit(system, workflow_id) == "Reset 3 jobs due to changed inputs\n"
    if killed == "before the run":
        system.kill_daemon()
        system.start_daemon()
    run = system.spawn("run", workflow_id, env={"TORC_NO_AUTOSTART": "1"})  # or it might start a daemon of its own
    started.read_line()
    if killed == "during the run":
        system.kill_daemon()
        system.start_daemon()
    gate.write_line()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert out == f"Workflow {workflow_id}: 3 completed\n"
    assert system.attempts(workflow_id) == {"first": 2, "second": 1, "third": 1}


def make_gated(system: System, started: Pipe, gate: Pipe) -> int:
    """The workflow, finished; `first` tells of its start and waits to be let on."""
    first, *others = FILTERED["jobs"]
    wait = f"echo x > {shlex.quote(str(started.path))}; read -r _ < {shlex.quote(str(gate.path))}; "
    system.write("source.txt", "one\n")
    jobs = [first | {"command": wait + first["command"]}, *others]
    workflow_id = system.create(FILTERED | {"jobs": jobs, "detect": "content"})
    run = system.spawn("run", workflow_id)
    started.read_line()
    gate.write_line()
    run.communicate(timeout=60)
    assert run.returncode == 0
    return workflow_id


def test_a_scratch_purge_is_made_good_when_somebody_needs_the_file(system: System) -> None:
    """`on_missing: ignore`"""
    files = [file | {"on_missing": "ignore"} for file in FILTERED["files"]]
    workflow_id = make(system, files=files)
    for path in ("middle.txt", "end.txt"):
        (system.work / path).unlink()
    assert reinit(system, workflow_id) == NOTHING
    job = system.jobs(workflow_id)["third"]
    system.torcctl("jobs", "update", job["id"], "--command", "tr a-z A-Z < end.txt > last.txt")
    plan = system.plan(workflow_id)
    assert [each["name"] for each in plan["jobs"]] == ["first", "second", "third"]
    assert plan["jobs"][1]["reasons"][0]["needed_by"] == "third"
    reinit(system, workflow_id)
    system.torcctl("run", workflow_id)
    assert system.read("last.txt") == "ONE\n"


def test_a_run_has_purged_files_made_again(system: System) -> None:
    """SEMANTICS 5.1"""
    files = [file | {"on_missing": "ignore"} for file in FILTERED["files"]]
    workflow_id = make(system, files=files)
    for path in ("middle.txt", "end.txt"):
        (system.work / path).unlink()
    system.torcctl("jobs", "reset-status", system.jobs(workflow_id)["third"]["id"])
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"first": 2, "second": 2, "third": 2}


def test_a_job_that_is_accepted_does_not_run_and_what_is_behind_it_goes_on(system: System) -> None:
    """SEMANTICS §2"""
    workflow_id = make(system)
    system.write("source.txt", "two\n")
    reinit(system, workflow_id)
    ids = {name: job["id"] for name, job in system.jobs(workflow_id).items()}
    system.write("middle.txt", "by hand\n")
    task = operate(system, AcceptJobs(workflow_id=workflow_id, jobs=[ids["first"]], reason="made by hand"))
    assert (task["status"], task["result"]["count"]) == ("succeeded", 1)
    plan = system.call(GetTaskPlan(task_id=task["task_id"]))["jobs"]
    assert [(each["name"], each["to"], each["reasons"][0]["kind"]) for each in plan] == [
        ("first", "completed", "accepted"),
        ("second", "ready", "upstream_settled"),
    ]
    assert plan[0]["reasons"][0]["reason"] == "made by hand"
    assert system.statuses(workflow_id) == {"first": "completed", "second": "ready", "third": "blocked"}
    system.torcctl("run", workflow_id)
    assert system.read("last.txt") == "by hand\n"
    assert system.attempts(workflow_id) == {"first": 1, "second": 2, "third": 2}
    assert reinit(system, workflow_id) == NOTHING


def test_an_acceptance_without_its_outputs_is_refused(system: System) -> None:
    """SEMANTICS §2"""
    workflow_id = make(system)
    (system.work / "middle.txt").unlink()
    job = system.jobs(workflow_id)["first"]["id"]
    with pytest.raises(Refused, match=r"middle\.txt"):
        system.call(AcceptJobs(workflow_id=workflow_id, jobs=[job], reason="r", dry_run=True))
    task = operate(system, AcceptJobs(workflow_id=workflow_id, jobs=[job], reason="r"))
    assert (task["status"], task["error_code"]) == ("failed", 422)


def test_a_reset_is_taken_back_and_the_runs_number_stays(system: System) -> None:
    """SEMANTICS 5.6"""
    workflow_id = make(system, detect="content")
    system.write("source.txt", "two\n")
    before = system.plan(workflow_id)["jobs"]
    reinit(system, workflow_id)
    task = operate(system, Undo(workflow_id=workflow_id))
    assert (task["status"], task["operation"], task["result"]["count"]) == ("succeeded", "undo", 3)
    assert set(system.statuses(workflow_id).values()) == {"completed"}
    assert system.run_id(workflow_id) == 2
    assert system.plan(workflow_id)["jobs"] == before
    again = operate(system, Undo(workflow_id=workflow_id))
    assert (again["status"], again["error_code"]) == ("failed", 422)


def test_what_has_run_is_not_taken_back(system: System) -> None:
    """SEMANTICS 5.6"""
    workflow_id = make(system)
    system.write("source.txt", "two\n")
    reinit(system, workflow_id)
    system.torcctl("run", workflow_id)
    task = operate(system, Undo(workflow_id=workflow_id))
    assert (task["status"], task["error_code"]) == ("failed", 422)
    assert "went to a worker" in task["error"]


def test_an_undo_survives_the_daemon(alone: System) -> None:
    """SEMANTICS 5.6"""
    system = alone
    system.start_daemon()
    workflow_id = make(system)
    system.write("source.txt", "two\n")
    reinit(system, workflow_id)
    system.kill_daemon()
    system.start_daemon()
    assert operate(system, Undo(workflow_id=workflow_id))["status"] == "succeeded"
    assert set(system.statuses(workflow_id).values()) == {"completed"}
