"""Every operation with every option that the operations share, with the real programs (INTERFACE 2)."""

import json
import re
import signal
from typing import Any, NamedTuple

import pytest
from contract import PLAN, TASK, has_fields
from real_system import PATIENCE_S, System, many_files


class Operation(NamedTuple):
    """An operation on a workflow of jobs a and b in which it changes both."""

    words: tuple[str, ...]
    does: str
    would: str
    is_first: bool = False
    """Whether it is for a workflow that has not run yet."""
    looks: tuple[str, ...] = ()
    """What makes it look at the files, if it does not do so anyway."""

    def line(self, system: System, workflow_id: int, *options: object) -> list[object]:
        """The command line; `jobs reset-status` names a job instead of the workflow."""
        key = system.jobs(workflow_id)["a"]["id"] if self.words[0] == "jobs" else workflow_id
        return [*self.words, key, *options]


CHANGED = "due to changed inputs"
UNFINISHED = "due to unfinished jobs or changed inputs"
REINIT = ("--reinitialize",)
OPERATIONS = [
    Operation(("workflows", "init"), "Initialized 2 jobs", "2 jobs would be initialized", is_first=True),
    Operation(("workflows", "reinit"), f"Reset 2 jobs {CHANGED}", f"2 jobs would be reset {CHANGED}"),
    Operation(("workflows", "restart"), f"Restarted 2 jobs {UNFINISHED}", f"2 jobs would be restarted {UNFINISHED}"),
    Operation(
        ("workflows", "reset-status"), "Reset 2 jobs on request", "2 jobs would be reset on request", looks=REINIT
    ),
    Operation(("jobs", "reset-status"), "Reset 2 jobs on request", "2 jobs would be reset on request", looks=REINIT),
]
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: " ".join(operation.words))


def prepare(system: System, operation: Operation, *, second: str = "true") -> int:
    """A workflow in which a changed input makes both jobs stale, unless it has yet to be initialized."""
    system.write("in.txt", "1")
    workflow_id = system.create(
        {
            "name": "options",
            "files": [{"name": "in", "path": "in.txt"}],
            "jobs": [
                {"name": "a", "command": "true", "input_files": ["in"]},
                {"name": "b", "command": second, "depends_on": ["a"]},
            ],
        }
    )
    if not operation.is_first:
        system.torcctl("run", workflow_id)
        system.write("in.txt", "22")
    return workflow_id


EFFECTS = ("job_state", "file_record", "result")
WRITTEN = (*EFFECTS, "workflow", "task", "task_plan", "event")


def rows(system: System, tables: tuple[str, ...]) -> list[Any]:
    """What the database holds."""
    return [system.sql(f"SELECT * FROM {table}") for table in tables]


@each_operation
def test_a_dry_run_changes_nothing_and_its_digest_applies_exactly_that_plan(
    system: System, operation: Operation
) -> None:
    """SEMANTICS 5.4 (--dry-run, --expect); INTERFACE 2 (--exit-code, --explain)"""
    at = prepare(system, operation)
    before, effects = rows(system, WRITTEN), rows(system, EFFECTS)

    def run(*options: str, code: int = 0) -> str:
        done = system.torcctl(*operation.line(system, at, *options), check=False)
        assert done.code == code, done
        return str(done.out)

    assert run("--dry-run") == f"Dry run: {operation.would}\n  - a\n  - b\n"
    assert run("--dry-run", "--exit-code", code=10) == f"Dry run: {operation.would}\n  - a\n  - b\n"
    explained = run("--dry-run", "--explain", "--force", "--wait-timeout", "60")
    assert re.match(rf"Dry run: {operation.would}\n  - a \(\w+ → \w+\)\n(      .+\n)?  - b \(\w+ → \w+\)\n", explained)
    plan = system.torcctl(*operation.line(system, at, "--dry-run"), json=True)
    assert has_fields(plan, PLAN)
    assert (plan["dry_run"], plan["count"], [job["name"] for job in plan["jobs"]]) == (True, 2, ["a", "b"])
    assert run("--dry-run", "--expect", "0" * 64, code=4) == ""
    assert rows(system, WRITTEN) == before
    assert run("--expect", "0" * 64, code=4) == ""
    assert rows(system, EFFECTS) == effects
    applied = run("--expect", plan["plan_digest"], "--explain")
    assert applied.startswith(f"{operation.does}\n  - a (")
    assert system.run_id(at) == plan["run_id"]
    assert {name: job["status"] for name, job in system.jobs(at).items()} == {
        job["name"]: job["to"] for job in plan["jobs"]
    }
    assert run("--dry-run", "--exit-code").startswith("Dry run: 0 jobs would be ")


@each_operation
def test_async_prints_the_handle_and_the_wait_for_it_the_result(system: System, operation: Operation) -> None:
    """INTERFACE 2 (--async), 3 (task)"""
    at = prepare(system, operation)
    handle = system.torcctl(*operation.line(system, at, "--async", "--force"), json=True)
    assert has_fields(handle, TASK)
    assert handle["params"]["force"] is True
    waited = system.torcctl("tasks", "wait", "--timeout", PATIENCE_S, handle["task_id"])
    assert waited.out.endswith(f"result: {operation.does}\n")
    task = system.torcctl("tasks", "get", handle["task_id"], json=True)
    assert has_fields(task["result"], PLAN)
    assert (task["result"]["dry_run"], task["result"]["count"]) == (False, 2)
    assert [job["name"] for job in task["result"]["jobs"]] == ["a", "b"]
    text = system.torcctl(*operation.line(system, at, "--async"))
    assert re.match(r"Task \d+ \(.+\) is (running|succeeded)\n", text.out)
    assert re.fullmatch(r"wait for it: torcctl tasks wait \d+\n", text.err)


@each_operation
def test_a_missing_input_is_refused_and_force_goes_on_with_a_warning(system: System, operation: Operation) -> None:
    """SEMANTICS 5 (--force)"""
    at = prepare(system, operation)
    (system.work / "in.txt").unlink()
    for options in ([], ["--dry-run"], ["--dry-run", "--exit-code"]):
        refused = system.torcctl(*operation.line(system, at, *operation.looks, *options), check=False)
        assert (refused.code, refused.out) == (7, "")
        assert str(system.work / "in.txt") in refused.err
        assert "--force" in refused.err
    for options, code in (["--dry-run"], 0), (["--dry-run", "--exit-code"], 10), ([], 0):
        forced = system.torcctl(*operation.line(system, at, *operation.looks, "--force", *options), check=False)
        assert forced.code == code
        assert str(system.work / "in.txt") in forced.err
        assert forced.err.startswith("warning: ")
    assert system.statuses(at) == {"a": "ready", "b": "blocked"}


@each_operation
def test_a_live_job_is_a_conflict_and_stop_live_stops_it(system: System, operation: Operation) -> None:
    """SEMANTICS 5.2 (--stop-live)"""
    begun = system.pipe("begun")
    first = operation._replace(is_first=True)
    at = prepare(system, first, second="echo > begun; sleep 1000 & wait")
    run = system.spawn("run", at)
    begun.read_line()
    system.write("in.txt", "333")
    system.wait_for_status(at, "b", "running")
    live = system.jobs(at)["b"]["id"]
    force = {"--force"} if operation.is_first else set()  # a has completed
    for options in (set(), {"--dry-run", "--exit-code"}, {"--force"}, {"--async"}):
        line = operation.line(system, at, *(force | options))
        refused = system.torcctl("-f", "json", *line, check=False)
        if "--async" in options:
            refused = system.torcctl("-f", "json", "tasks", "wait", refused.json["task_id"], check=False)
            assert refused.code == 1
            assert refused.json["error_data"]["jobs"] == [live]
            continue
        assert refused.code == 4, line
        assert refused.json["error"]["data"]["jobs"] == [live]
        assert "--stop-live" in refused.err
    assert system.attempts(at) == {"a": 1, "b": 1}
    would = system.torcctl(*operation.line(system, at, "--stop-live", "--dry-run", *force), json=True)
    assert {job["name"]: job["from"] for job in would["jobs"]} == {"a": "completed", "b": "running"}
    stopped = system.torcctl(*operation.line(system, at, "--stop-live", *force))
    assert stopped.out == f"{operation.does}\n"
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=PATIENCE_S)
    reasons = system.sql("SELECT reason FROM result WHERE job_id = ? AND attempt_id = 1", live)
    assert reasons == [(5,)], "superseded"


@each_operation
def test_a_wait_that_is_too_long_leaves_the_task_running(system: System, operation: Operation) -> None:
    """SEMANTICS 6.7; INTERFACE 2 (--wait-timeout)"""
    at = system.create(many_files())
    words = [*operation.words, system.jobs(at)["maker"]["id"] if operation.words[0] == "jobs" else at]
    with system.held_scan(at) as release:
        dry = system.torcctl(*words, *operation.looks, "--dry-run", "--wait-timeout", "0.1", check=False)
        assert (dry.code, dry.out) == (6, "")
        assert "nothing was changed" in dry.err
        timed_out = system.torcctl(*words, *operation.looks, "--wait-timeout", "0.1", check=False)
        assert (timed_out.code, timed_out.out) == (6, "")
        hint = re.search(r"torcctl tasks wait (\d+)", timed_out.err)
        assert hint is not None
        again = system.torcctl("-f", "json", *words, *operation.looks, "--async")
        assert (again.json["task_id"], again.json["existing"]) == (int(hint[1]), True)
        release()
        assert system.torcctl("tasks", "wait", hint[1], json=True)["status"] == "succeeded"


def test_an_option_that_an_operation_does_not_have_is_a_usage_error(system: System) -> None:
    """INTERFACE 2 (exit 2): where it applies"""
    for words in (
        ["workflows", "init", "1", "--detect", "mtime"],
        ["workflows", "reinit", "1", "--failed-only"],
        ["workflows", "reinit", "1", "--only-uninitialized"],
        ["workflows", "restart", "1", "--reinitialize"],
        ["workflows", "reset-status", "1", "--only-uninitialized"],
        ["jobs", "reset-status", "1", "--failed-only"],
        ["workflows", "reinit", "1", "--detect", "smell"],
        ["workflows", "reinit", "1", "--wait-timeout", "soon"],
    ):
        failed = system.torcctl("-f", "json", *words, check=False)
        assert (failed.code, json.loads(failed.out)["error"]["name"]) == (2, "usage"), words
