"""`daemon status` and `doctor` tell the truth, of a daemon at work, of none, of one that is stopped or ill."""

import json
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from real_system import PATIENCE_S, System, ask, many_files

from torcd.protocol.health import GetHealth
from torcd.protocol.requests import Subscribe

KEYS = ("running", "pid", "url", "version", "started_at", "database")
"""INTERFACE 3"""


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    """The worst verdict of each check."""
    order = ("ok", "warning", "problem")
    found: dict[str, str] = {}
    for check in document["checks"]:
        found[check["check"]] = max(found.get(check["check"], "ok"), check["verdict"], key=order.index)
    return found


def test_the_status_of_a_daemon_at_work_has_what_it_measured(alone: System) -> None:
    """INTERFACE 3 (daemon)"""
    daemon = alone.start_daemon()
    alone.create({"name": "one", "jobs": [{"name": "a", "command": "true"}]})
    alone.torcctl("run", 1)
    ask(alone.connect(), Subscribe(workflow_id=1))
    status = alone.torcctl("daemon", "status", json=True)
    assert list(status)[: len(KEYS)] == list(KEYS)
    assert (status["running"], status["answers"], status["pid"]) == (True, True, daemon.pid)
    health = status["health"]
    assert 0 < health["uptime_s"] < 60
    resident = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert abs(health["memory_bytes"] - resident) < 16 * 2**20
    assert health["connections"] == 2
    assert health["subscriptions"] == 1
    assert health["open_files"] <= health["open_files_limit"]
    assert 0 < health["event_loop"]["lag_ms"] < 10_000
    assert (health["database"]["state"], health["database"]["last_error"]) == ("ok", None)
    assert health["database"]["last_commit_at"].endswith("Z")
    assert health["database"]["size_bytes"] >= alone.database.stat().st_size
    (workflow,) = health["workflows"]
    assert (workflow["workflow_id"], workflow["state"], workflow["waiting"]) == (1, "idle", 0)
    assert health["problems"] == []
    text = alone.torcctl("daemon", "status").out
    assert text.startswith(f"running: true\npid: {daemon.pid}\n")
    assert "event_loop: longest turn of the last minute" in text
    assert "connections: 2, with 0 workers and 1 subscription\n" in text
    assert all(line.partition(": ")[2] for line in text.splitlines() if ":" in line.split(" ")[0])
    assert alone.call(GetHealth())["workers"] == 0


def test_without_a_daemon_the_status_says_so_and_starts_none(alone: System) -> None:
    """INTERFACE 2 (exit 5)"""
    status = alone.torcctl("-f", "json", "daemon", "status", check=False)
    assert status.code == 5
    assert status.json["running"] is False
    assert {key: status.json[key] for key in KEYS} == {
        "running": False,
        "pid": None,
        "url": alone.url,
        "version": None,
        "started_at": None,
        "database": str(alone.database),
    }
    assert alone.daemon_pids() == []
    assert not alone.database.exists()


def test_a_stopped_daemon_is_named_within_seconds(alone: System) -> None:
    daemon = alone.start_daemon()
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        doctor = alone.spawn("-f", "json", "doctor")
        status = alone.torcctl("-f", "json", "daemon", "status", check=False)
        out, _ = doctor.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S / 2
        assert status.code == 5
        found = {key: status.json[key] for key in ("running", "answers", "pid", "version", "health")}
        assert found == {"running": True, "answers": False, "pid": daemon.pid, "version": None, "health": None}
        assert f"kill -CONT {daemon.pid}" in status.err
        assert "version" not in alone.torcctl("daemon", "status", check=False).out
        assert (doctor.returncode, verdicts(json.loads(out))["daemon"]) == (1, "problem")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    status = alone.torcctl("daemon", "status", json=True)
    assert status["health"]["event_loop"]["lag_ms"] > 1000
    assert [problem["subject"] for problem in status["health"]["problems"]] == ["event loop"]


def test_a_daemon_that_listens_elsewhere_is_named_by_its_lock(alone: System) -> None:
    """INTERFACE 1: no stale lock or socket file; this one is not stale"""
    daemon = alone.start_daemon()
    alone.socket.unlink()
    status = alone.torcctl("-f", "json", "daemon", "status", check=False)
    assert (status.code, status.json["running"], status.json["pid"]) == (5, True, daemon.pid)
    assert f"kill {daemon.pid}" in status.err
    alone.stop_daemon()
    status = alone.torcctl("-f", "json", "daemon", "status", check=False)
    assert (status.code, status.json["running"], status.json["pid"]) == (5, False, None)


def test_a_task_that_scans_is_shown_with_its_workflow(alone: System) -> None:
    alone.start_daemon()
    workflow_id = alone.create(many_files())
    alone.torcctl("workflows", "init", workflow_id)
    with alone.held_scan(workflow_id):
        task = alone.torcctl("workflows", "reinit", workflow_id, "--async", json=True)
        (workflow,) = alone.torcctl("daemon", "status", json=True)["health"]["workflows"]
        assert workflow["state"] == "busy"
        assert (workflow["task"]["task_id"], workflow["task"]["operation"]) == (task["task_id"], "reinit")
        assert "reinit (task" in alone.torcctl("daemon", "status").out


def test_a_database_that_could_not_be_written_is_told_until_it_can(alone: System) -> None:
    alone.start_daemon()
    daemon = alone.daemon
    assert daemon is not None
    workflow_id = alone.create(
        {"name": "notes", "user_data": [{"name": "note", "data": 0}], "jobs": [{"name": "a", "command": "true"}]}
    )
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))  # less than a log's first page
    failed = alone.torcctl("-k", workflow_id, "user-data", "update", "note", "--data", "1", check=False)
    assert failed.code == 1
    database = alone.torcctl("daemon", "status", json=True)["health"]["database"]
    assert database["state"] == "failing"
    assert "nothing was changed" in database["last_error"]
    assert verdicts(alone.torcctl("-f", "json", "doctor", check=False).json)["database"] == "problem"
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    alone.torcctl("-k", workflow_id, "user-data", "update", "note", "--data", "2")
    assert alone.torcctl("daemon", "status", json=True)["health"]["database"]["state"] == "ok"


def test_doctor_finds_nothing_wrong_without_a_daemon_and_with_one_and_starts_none(alone: System) -> None:
    without = alone.torcctl("-f", "json", "doctor", check=False)
    assert verdicts(without.json)["daemon"] == "ok"
    assert alone.daemon_pids() == []
    assert not alone.database.parent.exists()
    alone.start_daemon()
    found = verdicts(alone.torcctl("-f", "json", "doctor", check=False).json)
    names = {
        "daemon", "health", "environment", "service", "sessions", "file system", "space", "modes", "socket path",
        "connection file", "limits", "clock", "versions", "slurm",
    }  # fmt: skip
    assert names <= set(found)
    assert "problem" not in (found | {"slurm": "ok"}).values()  # this machine's Slurm is what it is
    lines = alone.torcctl("doctor", check=False).out.splitlines()
    assert len(lines) >= len(names)
    assert all(line.split(" ")[0] in ("ok", "warning", "problem") for line in lines)


def test_doctor_names_an_address_that_leads_nowhere_and_a_connection_file_of_a_dead_daemon(alone: System) -> None:
    file = alone.database.parent / "connect.json"
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"host": "{os.uname().nodename}", "pid": 1, "boot_id": "gone", "port": 1}}')
    file.chmod(0o600)
    found = alone.torcctl("-f", "json", "doctor", check=False, env={"TORC_URL": "ws+unix:///nowhere/torcd.sock"})
    assert found.code == 1
    assert verdicts(found.json)["environment"] == "problem"
    assert verdicts(found.json)["connection file"] == "warning"
    file.chmod(0o644)
    assert verdicts(alone.torcctl("-f", "json", "doctor", check=False).json)["connection file"] == "problem"


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_without_a_service_manager_the_service_is_refused_with_the_reason(alone: System, verb: str) -> None:
    """INTERFACE 2 (exit 7)"""
    refused = alone.torcctl("daemon", verb, check=False)
    assert refused.code == 7
    assert "XDG_RUNTIME_DIR is not set" in refused.err
    alone.work.joinpath("run").mkdir()
    refused = alone.torcctl("daemon", verb, check=False, env={"XDG_RUNTIME_DIR": str(alone.work / "run")})
    assert refused.code == 7
    assert "no `systemd --user` answers here" in refused.err
    assert not (Path(alone.environ["XDG_CONFIG_HOME"]) / "systemd").exists()
