"""The exit codes that scripts rely on, one after the other (INTERFACE 2)."""

import json
import re

import pytest
from contract import NOW, Ran, error_of
from real_system import PATIENCE_S, System, many_files


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
    names = ["running", "pid", "url", "version", "started_at", "database"]
    assert list(started)[: len(names)] == names
    assert started["running"] is True
    assert [started["pid"]] == alone.daemon_pids()
    assert started["url"] == alone.url
    assert started["database"] == str(alone.database)
    assert NOW.fullmatch(started["started_at"])
    for verb in ("start", "status"):
        shown = alone.torcctl("daemon", verb, json=True)
        assert [shown[name] for name in names] == [started[name] for name in names]
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
