"""What scripts rely on: exit codes, JSON shapes, verbatim command lines (INTERFACE §2 and §3)."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from real_system import PATIENCE_S, System, ask, many_files

from torcd.protocol.requests import GetTask, Reinit, WaitTask

BROKEN: dict[str, Any] = {
    "name": "broken",
    "user_data": [{"name": "limit", "data": {"most": 3}}],
    "files": [{"name": "out", "path": "out.txt"}],
    "jobs": [
        {"name": "bad", "command": "exit 1", "priority": 5},
        {"name": "after", "command": "true", "depends_on": ["bad"]},
        {"name": "good", "command": "echo x > out.txt", "output_files": ["out"], "input_user_data": ["limit"]},
    ],
}

NOW = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Ran:
    """The one workflow that most tests look at: it has run, one job failed."""

    def __init__(self, system: System) -> None:
        self.workflow_id = system.create(BROKEN)
        system.torcctl("run", self.workflow_id, check=False)
        self.jobs = system.jobs(self.workflow_id)


@pytest.fixture(scope="module")
def ran(shared: System) -> Ran:
    return Ran(shared)


def error_of(system: System, *args: object, code: int, name: str) -> dict[str, Any]:
    """The JSON error of a command that must fail, after a look at both streams."""
    failed = system.torcctl("-f", "json", *args, check=False)
    assert failed.code == code, failed
    document = failed.json
    assert list(document) == ["error"]
    error: dict[str, Any] = document["error"]
    assert list(error) == ["code", "name", "message", "data"]
    assert error["name"] == name
    assert failed.err == f"error: {error['message']}\n"

    plain = system.torcctl(*args, check=False)
    assert (plain.code, plain.out) == (code, "")
    assert plain.err.startswith("error: ")
    return error


# ---- exit codes ----


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["workflows"],
        ["workflows", "nonsense"],
        ["workflows", "list", "--nonsense"],
        ["workflows", "get", "seven"],
        ["jobs", "update", "1"],
        ["tasks", "wait"],
        ["-f", "xml", "workflows", "list"],
        ["-k", "seven", "jobs", "list"],
        ["jobs", "list", "-f", "status"],
        ["--nonsense", "workflows", "list"],
        ["jobs", "list", "-k"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_2(system: System, args: list[str]) -> None:
    """INTERFACE 2 (exit 2)"""
    failed = system.torcctl(*args, check=False)
    assert (failed.code, failed.out) == (2, "")
    assert failed.err.startswith("error: ")


def test_a_wrong_command_line_is_a_json_error_too(system: System) -> None:
    error_of(system, "workflows", "list", "--nonsense", code=2, name="usage")


@pytest.mark.parametrize(
    "args",
    [
        ["workflows", "get", "99999"],
        ["workflows", "status", "99999"],
        ["workflows", "reinit", "99999"],
        ["workflows", "delete", "99999"],
        ["run", "99999"],
        ["jobs", "list", "99999"],
        ["jobs", "get", "99999"],
        ["jobs", "update", "99999", "--command", "true"],
        ["jobs", "reset-status", "99999"],
        ["results", "get", "99999"],
        ["tasks", "get", "99999"],
        ["tasks", "wait", "99999"],
        ["tasks", "cancel", "99999"],
        ["user-data", "get", "99999"],
        ["-k", "99999", "user-data", "get", "limit"],
    ],
    ids=" ".join,
)
def test_an_unknown_object_exits_3(system: System, ran: Ran, args: list[str]) -> None:
    """INTERFACE 2 (exit 3)"""
    error = error_of(system, *args, code=3, name="not_found")
    assert "99999" in error["message"]
    assert error["data"]["noun"]


def test_an_object_of_another_workflow_than_k_says_exits_3(system: System, ran: Ran) -> None:
    """INTERFACE 1: ids imply their workflow"""
    other = system.create({"name": "other", "jobs": [{"name": "a", "command": "true"}]})
    error = error_of(system, "-k", other, "jobs", "get", ran.jobs["bad"]["id"], code=3, name="not_found")
    assert str(ran.workflow_id) in error["message"]
    job = system.torcctl("-k", ran.workflow_id, "jobs", "get", ran.jobs["bad"]["id"], json=True)
    assert job["workflow_id"] == ran.workflow_id


def test_a_plan_that_is_not_the_expected_one_exits_4(system: System) -> None:
    """SEMANTICS 5.4 (--expect); INTERFACE 2 (exit 4)"""
    system.write("in.txt", "1")
    workflow_id = system.create(
        {
            "name": "expect",
            "files": [{"name": "in", "path": "in.txt"}],
            "jobs": [{"name": "a", "command": "true", "input_files": ["in"]}],
        }
    )
    system.torcctl("run", workflow_id)
    digest = system.plan(workflow_id)["plan_digest"]
    system.write("in.txt", "22")
    error = error_of(system, "workflows", "reinit", workflow_id, "--expect", digest, code=4, name="conflict")
    assert error["code"] == 409
    assert error["data"]["expected"] == digest
    now = system.plan(workflow_id)["plan_digest"]
    assert error["data"]["plan_digest"] == now
    assert system.run_id(workflow_id) == 1
    done = system.torcctl("workflows", "reinit", workflow_id, "--expect", now)
    assert done.out == "Reset 1 job due to changed inputs\n"


def test_without_a_daemon_commands_exit_5_where_none_may_be_started(alone: System) -> None:
    """INTERFACE 1 (--no-autostart), 2 (exit 5)"""
    error = error_of(alone, "--no-autostart", "workflows", "list", code=5, name="unreachable")
    assert "torcctl daemon start" in error["message"]
    by_environment = alone.torcctl("workflows", "list", check=False, env={"TORC_NO_AUTOSTART": "1"})
    assert by_environment.code == 5
    elsewhere = alone.torcctl("--url", f"ws+unix://{alone.work}/no.sock", "workflows", "list", check=False)
    assert elsewhere.code == 5
    assert alone.daemon_pids() == []


def test_the_daemon_is_started_shown_and_stopped(alone: System) -> None:
    """INTERFACE 2 (daemon), 3 (daemon)"""
    status = alone.torcctl("daemon", "status", check=False)
    assert (status.code, status.out) == (5, "running: false\n")
    status = alone.torcctl("-f", "json", "daemon", "status", check=False)
    assert status.code == 5
    assert status.json["running"] is False
    assert alone.daemon_pids() == []

    started = alone.torcctl("daemon", "start", json=True)
    assert list(started) == ["running", "pid", "url", "version", "started_at", "database"]
    assert started["running"] is True
    assert [started["pid"]] == alone.daemon_pids()
    assert started["url"] == alone.url
    assert started["database"] == str(alone.database)
    assert NOW.fullmatch(started["started_at"])
    assert alone.torcctl("daemon", "start", json=True) == started
    assert alone.torcctl("daemon", "status", json=True) == started
    assert str(alone.database) in alone.torcctl("daemon", "logs").out

    for _ in range(2):
        assert alone.torcctl("daemon", "stop").out == "running: false\n"
        assert alone.daemon_pids() == []


def test_a_wait_that_times_out_exits_6_and_says_how_to_go_on(system: System) -> None:
    """SEMANTICS 6.7; INTERFACE 2 (exit 6, tasks wait)"""
    workflow_id = system.create(many_files())
    with system.held_scan(workflow_id) as release:
        timed_out = system.torcctl("workflows", "reinit", workflow_id, "--wait-timeout", "0.2", check=False)
        assert (timed_out.code, timed_out.out) == (6, "")
        hint = re.search(r"torcctl tasks wait (\d+)", timed_out.err)
        assert hint is not None
        task_id = int(hint[1])
        error = error_of(system, "tasks", "wait", task_id, "--timeout", "0.1", code=6, name="timeout")
        assert error["data"]["task_id"] == task_id
        assert system.torcctl("tasks", "get", task_id, json=True)["status"] == "running"
        assert system.torcctl("workflows", "status", workflow_id, json=True)["active_task"]["id"] == task_id
        release()
        ended = system.torcctl("tasks", "wait", "--timeout", PATIENCE_S, task_id, json=True)
    assert ended["status"] == "succeeded"
    assert ended["result"]["count"] == 0


def test_a_canceled_task_changes_nothing_and_its_wait_exits_1(system: System) -> None:
    """SEMANTICS 6.7; INTERFACE 2 (tasks wait on an ended task)"""
    workflow_id = system.create(many_files())
    with system.held_scan(workflow_id):
        task = system.torcctl("workflows", "reinit", workflow_id, "--async", json=True)
        assert task["status"] in ("queued", "running")
        waiting = system.spawn("-f", "json", "tasks", "wait", task["task_id"])
        assert system.torcctl("tasks", "cancel", task["task_id"], json=True)["status"] == "canceled"
        out, _ = waiting.communicate(timeout=PATIENCE_S)
        assert waiting.returncode == 1
        assert json.loads(out)["status"] == "canceled"
    assert system.torcctl("tasks", "wait", task["task_id"], check=False).code == 1
    assert system.run_id(workflow_id) == 0
    error = error_of(system, "tasks", "cancel", task["task_id"], code=7, name="refused")
    assert error["data"]["status"] == "canceled"
    assert system.torcctl("workflows", "reinit", workflow_id).out == "Reset 0 jobs due to changed inputs\n"


def test_bad_input_exits_7(system: System, ran: Ran) -> None:
    """SEMANTICS 3.5; INTERFACE 2 (exit 7)"""
    bad = system.write("bad.yaml", "name: x\njobs:\n  - name: a\n    command: 'true'\n    depnds_on: [b]\n")
    error = error_of(system, "workflows", "create", bad, code=7, name="refused")
    assert f"{bad}:5" in error["message"]
    assert "depnds_on" in error["message"]
    assert "cannot be read" in error_of(system, "workflows", "create", "none.yaml", code=7, name="refused")["message"]
    error_of(system, "workflows", "init", ran.workflow_id, code=7, name="refused")
    assert (
        "status"
        in error_of(system, "jobs", "list", ran.workflow_id, "-f", "nonsense=1", code=7, name="refused")["message"]
    )
    error_of(system, "user-data", "update", "1", "--data", "{no json", code=7, name="refused")


def test_a_dry_run_exits_10_where_that_is_asked_for_and_there_are_changes(system: System) -> None:
    """INTERFACE 2 (exit 10)"""
    workflow_id = system.create({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    system.torcctl("run", workflow_id)
    reinit = ("workflows", "reinit", workflow_id, "--dry-run")
    assert system.torcctl(*reinit, "--exit-code").code == 0
    job_id = system.jobs(workflow_id)["a"]["id"]
    system.torcctl("jobs", "update", job_id, "--command", "exit 4")
    assert system.torcctl(*reinit).code == 0
    changes = system.torcctl(*reinit, "--exit-code", check=False)
    assert (changes.code, changes.out) == (10, "Dry run: 1 job would be reset due to changed inputs\n  - a\n")


def test_a_run_in_which_a_job_fails_exits_1_and_still_prints_its_document(system: System) -> None:
    """INTERFACE 2 (run)"""
    spec = system.spec({"name": "w", "jobs": [{"name": "a", "command": "echo lost >&2; exit 4"}]})
    run = system.torcctl("-f", "json", "run", spec, check=False)
    assert run.code == 1
    assert run.json["counts"] == {"failed": 1}
    workflow_id = run.json["workflow_id"]
    assert system.torcctl("-k", workflow_id, "jobs", "logs", "a").out == "lost\n"
    empty = system.create({"name": "empty", "jobs": []})
    assert system.torcctl("run", empty).code == 0


# ---- JSON ----

WORKFLOW = (
    "id workflow_id key name user description project submission_directory run_id status is_canceled is_archived"
    " created_at"
)
STATUS = "workflow_id run_id total counts complete active_task"
JOB = "id job_key workflow_id name command status status_reason run_id attempt_id return_code worker_id"
RESULT = (
    "id job_id job_key job_name workflow_id run_id attempt_id return_code status exec_time_minutes started_at"
    " completion_time peak_memory_bytes cpu_seconds hostname stdout_path stderr_path"
)
TASK = (
    "id task_id workflow_id operation params status existing requested_by error result created_at_ms started_at_ms"
    " finished_at_ms"
)
PLAN = "workflow_id operation dry_run count plan_digest run_id jobs warnings"
EVENT = "seq workflow_id timestamp kind"


def has_fields(document: dict[str, Any], fields: str) -> bool:
    missing = set(fields.split()) - set(document)
    assert not missing, missing
    return True


def test_a_list_is_one_object_with_one_plural_key_and_empty_is_a_list_too(system: System) -> None:
    """INTERFACE 3"""
    workflow_id = system.create({"name": "empty", "jobs": []})
    assert system.torcctl("workflows", "list", "-f", "name=nobody", json=True) == {"workflows": []}
    assert system.torcctl("events", "list", workflow_id, "--from-seq", 2, json=True) == {"events": []}
    for noun in ("jobs", "files", "user-data", "results", "tasks", "workers"):
        assert system.torcctl(noun, "list", workflow_id, json=True) == {noun.replace("-", "_"): []}
        assert system.torcctl(noun, "list", workflow_id).code == 0


def test_the_documents_have_the_fields_of_the_contract(system: System, ran: Ran) -> None:
    """INTERFACE 3"""
    at = ran.workflow_id
    workflow = system.torcctl("workflows", "get", at, json=True)
    assert has_fields(workflow, WORKFLOW)
    assert workflow["id"] == workflow["workflow_id"] == workflow["key"] == at
    assert NOW.fullmatch(workflow["created_at"])

    status = system.torcctl("workflows", "status", at, json=True)
    assert has_fields(status, STATUS)
    assert status["counts"] == {"failed": 1, "canceled": 1, "completed": 1}
    assert (status["total"], status["complete"], status["active_task"]) == (3, True, None)

    jobs = system.torcctl("jobs", "list", at, json=True)["jobs"]
    assert all(has_fields(job, JOB) and job["id"] == job["job_key"] for job in jobs)
    assert system.torcctl("jobs", "get", jobs[0]["id"], json=True) == jobs[0]
    assert system.torcctl("-k", at, "jobs", "get", jobs[0]["name"], json=True) == jobs[0]

    results = system.torcctl("results", "list", at, json=True)["results"]
    assert len(results) == 2
    for result in results:
        assert has_fields(result, RESULT)
        assert system.torcctl("results", "get", result["id"], json=True) == result
        assert NOW.fullmatch(result["started_at"])
        assert NOW.fullmatch(result["completion_time"])
        assert isinstance(result["exec_time_minutes"], float)
        assert result["stdout_path"].startswith(f"{workflow['submission_directory']}/.torc/{at}/")
        assert Path(result["stderr_path"]).exists()

    task = system.torcctl("workflows", "reinit", at, json=True)
    assert has_fields(task, TASK)
    assert (task["operation"], task["status"], task["existing"]) == ("reinit", "succeeded", False)
    assert has_fields(task["result"], PLAN)
    assert task["result"]["dry_run"] is False
    assert isinstance(task["created_at_ms"], int)
    plan = system.torcctl("workflows", "reinit", at, "--dry-run", json=True)
    assert has_fields(plan, PLAN)
    assert plan["run_id"] == task["result"]["run_id"] + 1
    tasks = system.torcctl("tasks", "list", at, json=True)["tasks"]
    assert all(has_fields(each, TASK) for each in tasks)

    events = system.torcctl("events", "list", at, json=True)["events"]
    assert all(has_fields(event, EVENT) and event["workflow_id"] == at for event in events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert system.torcctl("events", "list", at, "--from-seq", 3, json=True)["events"] == events[2:]


def test_streams_print_one_document_a_line(system: System) -> None:
    """INTERFACE 2 (-f json: streams), SEMANTICS 7.1"""
    workflow_id = system.create({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    watch = system.spawn("-f", "json", "events", "watch", workflow_id, "--from-seq", 1)
    assert watch.stdout is not None
    assert json.loads(watch.stdout.readline())["kind"] == "workflow_created"
    system.torcctl("run", workflow_id)
    seen = [json.loads(watch.stdout.readline()) for _ in range(3)]
    assert [event["seq"] for event in seen] == [2, 3, 4]
    system.torcctl("workflows", "delete", workflow_id)
    assert watch.wait(PATIENCE_S) == 0


def test_the_reasons_of_a_restart_and_of_a_reset_are_told(system: System, ran: Ran) -> None:
    """INTERFACE 3 (reason kinds)"""
    plan = system.torcctl("workflows", "reset-status", ran.workflow_id, "--failed-only", "--dry-run", json=True)
    reasons = {job["name"]: (job["from"], job["to"], job["reasons"][0]["kind"]) for job in plan["jobs"]}
    assert reasons == {
        "bad": ("failed", "uninitialized", "requested"),
        "after": ("canceled", "uninitialized", "requested"),
    }


# ---- options ----


def test_options_stand_before_the_noun_and_the_long_ones_also_after_it(system: System, ran: Ran) -> None:
    """INTERFACE 2 (global options)"""
    at = str(ran.workflow_id)
    wanted = system.torcctl("jobs", "list", at, json=True)
    for words in (
        ["-F", "json", "jobs", "list", at],
        ["--format", "json", "jobs", "list", at],
        ["--output-format=json", "-k", at, "jobs", "list"],
        ["--workflow-key", at, "-fjson", "jobs", "list"],
        ["--workflow-id", at, "-n", "-f", "json", "jobs", "list"],
        ["jobs", "list", "--format", "json", at],
        ["jobs", "list", "--workflow-key", at, "--no-prompts", "--format=json"],
        ["jobs", "list", "--url", system.url, at, "--format", "json"],
    ):
        assert system.torcctl(*words).json == wanted, words
    by_environment = system.torcctl("jobs", "list", env={"TORC_FORMAT": "json", "TORC_WORKFLOW_ID": at})
    assert by_environment.json == wanted
    assert system.torcctl("--version").out.startswith("torcctl ")


def test_f_json_after_a_list_is_a_usage_error_that_names_the_right_form(system: System, ran: Ran) -> None:
    """INTERFACE 2"""
    for words in (["jobs", "list"], ["jobs", "list", str(ran.workflow_id)], ["workflows", "list"]):
        failed = system.torcctl(*words, "-f", "json", check=False)
        assert failed.code == 2
        assert "torcctl -f json" in failed.err


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["status=failed"], ["bad"]),
        (["status=done"], ["bad", "good"]),
        (["return_code=0"], ["good"]),
        (["return_code=1"], ["bad"]),
        (["return_code=01"], ["bad"]),
        (["priority=5.0"], ["bad"]),
        (["status=canceled", "status_reason=upstream_failed"], ["after"]),
        (["status=done", "return_code=0"], ["good"]),
        (["name=nobody"], []),
    ],
)
def test_filters_are_anded_and_compare_numbers_as_numbers(
    system: System, ran: Ran, filters: list[str], names: list[str]
) -> None:
    """SEMANTICS 2 (older names); INTERFACE 2 (-f/--filter)"""
    words = [word for text in filters for word in ("-f", text)]
    listed = system.torcctl("jobs", "list", *words, ran.workflow_id, json=True)["jobs"]
    assert [job["name"] for job in listed] == names
    words = [f"--filter={text}" for text in filters]
    listed = system.torcctl("jobs", "list", ran.workflow_id, *words, json=True)["jobs"]
    assert [job["name"] for job in listed] == names


def test_the_workflow_may_be_left_out_when_there_is_only_one(alone: System) -> None:
    """INTERFACE 2 (<workflow>)"""
    assert alone.torcctl("jobs", "list", check=False).code == 3
    spec = alone.spec({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    alone.torcctl("workflows", "create", spec)
    assert len(alone.torcctl("jobs", "list", json=True)["jobs"]) == 1
    alone.torcctl("workflows", "create", spec)
    refused = alone.torcctl("-f", "json", "jobs", "list", check=False)
    assert refused.code == 7
    assert refused.json["error"]["data"]["candidates"] == [1, 2]
    assert "1  w" in refused.err
    assert "2  w" in refused.err

    def listed(*words: str, **env: str) -> int:
        owner: int = alone.torcctl(*words, json=True, env=env)["jobs"][0]["workflow_id"]
        return owner

    assert listed("jobs", "list", TORC_WORKFLOW_ID="2") == 2
    assert listed("-k", "1", "jobs", "list", TORC_WORKFLOW_ID="2") == 1
    assert listed("-k", "1", "jobs", "list", "2", TORC_WORKFLOW_ID="1") == 2


# ---- prompts and progress ----


def answer_on_terminal(system: System, words: list[str], answer: str) -> tuple[int, str]:
    """Runs a command on a terminal, types an answer to its prompt: exit code and all that was shown."""
    controller, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "torcctl", *words],
        cwd=system.work,
        env={**system.environ, "TERM": "dumb"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown, deadline, answered = b"", time.monotonic() + PATIENCE_S, False
    try:
        while True:
            ready, _, _ = select.select([controller], [], [], deadline - time.monotonic())
            assert ready, shown
            try:
                shown += os.read(controller, 4096)
            except OSError:  # EIO: the other side has closed the terminal
                break
            if not answered and shown.endswith((b"] ", b"id: ")):
                os.write(controller, answer.encode() + b"\n")
                answered = True
    finally:
        os.close(controller)
    return child.wait(PATIENCE_S), shown.decode()


def test_a_prompt_appears_only_on_a_terminal_and_no_changes_nothing(system: System) -> None:
    """INTERFACE 2 (prompts)"""
    workflow_id = str(system.create({"name": "w", "jobs": []}))
    words = ["workflows", "delete", workflow_id]
    code, shown = answer_on_terminal(system, words, "n")
    assert code == 7
    assert f"Delete workflow {workflow_id}" in shown
    assert system.torcctl("workflows", "get", workflow_id).code == 0
    code, shown = answer_on_terminal(system, words, "y")
    assert (code, "Deleted" in shown) == (0, True)

    again = str(system.create({"name": "w", "jobs": []}))
    code, shown = answer_on_terminal(system, ["-n", "workflows", "delete", again], "n")
    assert (code, "?" in shown) == (0, False)

    third = system.create({"name": "w", "jobs": []})
    deleted = system.torcctl("workflows", "delete", third, stdin="n\n")
    assert (deleted.err, deleted.code) == ("", 0)


def test_stdout_is_the_result_and_nothing_else(system: System, ran: Ran) -> None:
    """INTERFACE 2"""
    spec = system.spec({"name": "quiet", "jobs": [{"name": "a", "command": "echo noise; echo noise >&2"}]})
    run = system.torcctl("run", spec)
    assert re.fullmatch(r"Workflow \d+: 1 completed\n", run.out)
    assert "noise" not in run.err
    assert "\x1b" not in run.err


# ---- the lines of the contract, as they stand there ----


def bash(system: System, script: str) -> str:
    """What a script prints; it must succeed and say nothing else."""
    done = system.bash("set -e -o pipefail\n" + script)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture
def broken(alone: System) -> System:
    """A user whose only workflow has run; one of its jobs failed."""
    alone.create(BROKEN)
    alone.torcctl("run", 1, check=False)
    return alone


def test_restart_as_in_the_contract(broken: System) -> None:
    """INTERFACE 2; SEMANTICS 5 (restart)"""
    system = broken
    assert bash(system, "torcctl workflows restart --dry-run").startswith("Dry run: 0 jobs would be restarted")
    assert bash(system, "torcctl workflows restart").startswith("Restarted 0 jobs")
    assert system.run_id(1) == 2
    bash(system, "torcctl workflows reset-job-status --failed-only 1")
    assert bash(system, "torcctl workflows restart --only-uninitialized").startswith("Restarted 2 jobs")
    assert system.run_id(1) == 2
    assert system.statuses(1) == {"bad": "ready", "after": "blocked", "good": "completed"}
    listed = bash(system, "torcctl jobs list -f status=ready")
    assert "bad" in listed
    assert "good" not in listed


def test_reset_status_as_in_the_contract(broken: System) -> None:
    """INTERFACE 2; SEMANTICS 5 (reset-status)"""
    system = broken
    assert bash(system, "torcctl workflows reset-job-status --failed-only 1").startswith("Reset 2 jobs")
    assert system.statuses(1) == {"bad": "uninitialized", "after": "uninitialized", "good": "completed"}
    assert system.torcctl("results", "list", "--all-runs", json=True)["results"][0]["job_name"] == "bad"
    assert [row["job_name"] for row in system.torcctl("results", "list", json=True)["results"]] == ["good"]
    system.torcctl("run", 1, check=False)
    bash(system, "torcctl workflows reset-status 1 --failed-only --reinitialize")
    assert system.statuses(1) == {"bad": "ready", "after": "blocked", "good": "completed"}


def test_reset_of_jobs_as_in_the_contract(broken: System) -> None:
    """INTERFACE 2; SEMANTICS 5 (jobs reset-status)"""
    system = broken
    bad, good = (system.jobs(1)[name]["id"] for name in ("bad", "good"))
    refused = system.torcctl("jobs", "reset-status", good, 99999, check=False)
    assert refused.code == 3
    assert system.statuses(1)["good"] == "completed"
    command = (
        "torcctl jobs reset-status $(torcctl -F json results list -f return_code=1 | jq -r '.results | .[] | .job_key')"
    )
    assert bash(system, command).startswith("Reset 2 jobs")
    assert system.statuses(1) == {"bad": "uninitialized", "after": "uninitialized", "good": "completed"}

    nothing = system.bash(command)  # there is no such result any more
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no job" in nothing.stderr

    assert bash(system, f"torcctl jobs reset-status {bad} {good}").startswith("Reset 1 job ")
    assert set(system.statuses(1).values()) == {"uninitialized"}


def test_jobs_of_two_workflows_are_not_reset_together(system: System, ran: Ran) -> None:
    """SEMANTICS 5 (jobs reset-status)"""
    other = system.create({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    system.torcctl("run", other)
    ids = [ran.jobs["good"]["id"], system.jobs(other)["a"]["id"]]
    for keys in (ids, ids[::-1]):
        refused = system.torcctl("jobs", "reset-status", *keys, check=False)
        assert refused.code in (3, 7)
    assert system.statuses(ran.workflow_id)["good"] == "completed"
    assert system.statuses(other)["a"] == "completed"


def test_a_task_in_the_background_as_in_the_contract(broken: System) -> None:
    """INTERFACE 2; SEMANTICS 6"""
    system = broken
    told = bash(
        system,
        "task_id=$(torcctl -f json workflows reinit 1 --async | jq -r .task_id)\n"
        'torcctl tasks wait --timeout 300 "$task_id"\n'
        "torcctl workflows reinit 1 --dry-run\n"
        "torcctl workflows reinit 1 --force\n",
    )
    assert "result: Reset 0 jobs due to changed inputs\n" in told
    assert "status: succeeded\n" in told
    assert told.endswith("Dry run: 0 jobs would be reset due to changed inputs\nReset 0 jobs due to changed inputs\n")
    task = system.call(GetTask(task_id=2))
    assert (task["operation"], task["status"]) == ("reinit", "succeeded")


def test_a_repeated_request_returns_the_task_that_it_created(system: System, ran: Ran) -> None:
    """SEMANTICS 6.4"""
    request = Reinit(workflow_id=ran.workflow_id, request_key=f"key of {os.urandom(8).hex()}")
    connection = system.connect()
    first = ask(connection, request)
    ask(connection, WaitTask(task_id=first["task_id"]))
    run_id = system.run_id(ran.workflow_id)
    again = ask(connection, request)
    assert again["task_id"] == first["task_id"]
    assert again["existing"] is True
    assert system.run_id(ran.workflow_id) == run_id
