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
from real_system import PATIENCE_S, Pipe, System, ask

from torcd.protocol.requests import GetTask, Reinit

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


def test_a_wait_that_times_out_exits_6_and_says_how_to_go_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEMANTICS 6.7; INTERFACE 2 (exit 6)"""
    workflow_id, pipe = make_slow_scan(system)
    timed_out = system.torcctl("workflows", "reinit", workflow_id, "--wait-timeout", "0.2", check=False)
    assert (timed_out.code, timed_out.out) == (6, "")
    task_id = re.search(r"torcctl tasks wait (\d+)", timed_out.err)
    assert task_id is not None
    error = error_of(system, "tasks", "wait", task_id[1], "--timeout", "0.1", code=6, name="timeout")
    assert error["data"]["task_id"] == int(task_id[1])
    assert system.torcctl("tasks", "get", task_id[1], json=True)["status"] == "running"
    release(pipe)
    ended = system.torcctl("tasks", "wait", "--timeout", 60, task_id[1], json=True)
    assert ended["status"] == "succeeded"
