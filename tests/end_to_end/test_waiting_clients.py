"""Tasks and those who wait for them, with the real programs: a killed daemon, conflicts, cancels (SEMANTICS 6)."""

import json
import re
import select
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from contract import NOW
from real_system import PATIENCE_S, System, many_files

INTERRUPTED = "daemon restarted while the task was in progress; nothing was changed"
SPEC = many_files() | {"user_data": [{"name": "note", "data": 1}]}


def ended(client: "subprocess.Popen[str]") -> tuple[int, Any, str]:
    """Exit code, document and stderr of a client."""
    out, err = client.communicate(timeout=PATIENCE_S)
    return client.returncode, json.loads(out), err


def wait_until_it_waits(client: "subprocess.Popen[str]") -> None:
    """Reads what a client says when it finds the task that it was to begin."""
    assert client.stderr is not None
    assert "does the same already; waiting for it" in client.stderr.readline()


# ---- 6.6 ----


@pytest.mark.parametrize("restarted_by", ["the user", "the client"])
def test_whoever_waits_for_a_task_is_told_when_the_daemon_was_killed(alone: System, restarted_by: str) -> None:
    """SEMANTICS 6.6; INTERFACE 1: it reconnects, starting the daemon by the same rules; exit 1, nothing is repeated"""
    alone.start_daemon()
    at = alone.create(SPEC)
    env = {"TORC_NO_AUTOSTART": "1"} if restarted_by == "the user" else {}
    with alone.held_scan(at):
        task_id = alone.torcctl("workflows", "reinit", at, "--async", json=True)["task_id"]
        blocking = alone.spawn("-f", "json", "workflows", "reinit", at, env=env)
        wait_until_it_waits(blocking)
        waiting = alone.spawn("-f", "json", "--log-level", "debug", "tasks", "wait", task_id, env=env)
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("debug: connected")
        alone.kill_daemon()
        if restarted_by == "the user":
            assert "lost the daemon" in waiting.stderr.readline()
            alone.start_daemon()
        code, document, err = ended(waiting)
        assert code == 1
        assert (document["task_id"], document["status"], document["error"]) == (task_id, "failed", INTERRUPTED)
        assert INTERRUPTED in err
        code, document, err = ended(blocking)
    assert code == 1
    assert (document["error"]["name"], document["error"]["data"]["task_id"]) == ("task_failed", task_id)
    assert INTERRUPTED in err
    assert alone.only_daemon()
    assert alone.run_id(at) == 0
    assert alone.sql("SELECT id, status FROM task") == [(task_id, "failed")]
    assert alone.torcctl("workflows", "reinit", at).out == "Reset 0 jobs due to changed inputs\n"


def test_whoever_comes_back_later_is_told_too(alone: System) -> None:
    """SEMANTICS 6.6; INTERFACE 2 (exit 5): where there is no daemon, and none may be started, nobody can tell"""
    alone.start_daemon()
    at = alone.create(SPEC)
    with alone.held_scan(at):
        task_id = alone.torcctl("workflows", "reinit", at, "--async", json=True)["task_id"]
        alone.kill_daemon()
        gone = alone.torcctl("tasks", "wait", task_id, check=False, env={"TORC_NO_AUTOSTART": "1"})
        assert gone.code == 5
    late = alone.torcctl("-f", "json", "tasks", "wait", task_id, check=False)
    assert (late.code, late.json["error"]) == (1, INTERRUPTED)


# ---- 6.3 ----


@pytest.fixture
def held(system: System) -> Iterator[tuple[System, int, int]]:
    """A workflow with an active reinit that was asked for by the user: its id and the task's."""
    at = system.create(SPEC)
    with system.held_scan(at) as release:
        task_id = system.torcctl("workflows", "reinit", at, "--async", json=True)["task_id"]
        yield system, at, task_id
        release()
        assert system.torcctl("tasks", "wait", task_id, json=True)["status"] == "succeeded"


def conflict(system: System, *words: object) -> dict[str, Any]:
    """The data of a conflict, after a look at its text."""
    failed = system.torcctl("-f", "json", *words, check=False)
    assert failed.code == 4, (words, failed)
    error = failed.json["error"]
    assert (error["code"], error["name"]) == (409, "conflict")
    data: dict[str, Any] = error["data"]
    told = f"asked for by {data['requested_by']} at {data['created_at']}"
    assert f"task {data['task_id']} (reinit with detect=mtime, {told}) is active" in failed.err
    assert f"tasks wait {data['task_id']}" in failed.err
    return data


def test_a_conflict_tells_all_of_the_active_task(held: tuple[System, int, int]) -> None:
    """SEMANTICS 6.3: its id, operation, parameters, who asked and when, and the parameters that differ"""
    system, at, task_id = held
    job_id = system.jobs(at)["maker"]["id"]
    others: list[tuple[list[object], dict[str, Any]]] = [
        (["workflows", "reinit", at, "--force"], {"force": [False, True]}),
        (["workflows", "reinit", at, "--stop-live", "--async"], {"stop_live": [False, True]}),
        (["workflows", "restart", at, "--only-uninitialized"], {"operation": ["reinit", "restart"]}),
        (["workflows", "init", at], {"operation": ["reinit", "initialize"]}),
        (["workflows", "reset-status", at], {"operation": ["reinit", "reset-status"]}),
        (["jobs", "reset-status", job_id], {"operation": ["reinit", "jobs reset-status"]}),
    ]
    for words, differing in others:
        data = conflict(system, *words)
        assert (data["task_id"], data["workflow_id"], data["operation"]) == (task_id, at, "reinit")
        assert data["params"] == {"force": False, "stop_live": False, "detect": "mtime"}
        assert re.fullmatch(r"\w+@\S+", data["requested_by"])
        assert NOW.fullmatch(data["created_at"])
        assert data["differing"] == differing


def test_edits_obey_the_same_slot(held: tuple[System, int, int]) -> None:
    """SEMANTICS 6.3: synchronous requests too; queries and dry runs never conflict"""
    system, at, task_id = held
    job_id = system.jobs(at)["maker"]["id"]
    for words in (
        ["jobs", "update", job_id, "--priority", 3],
        ["jobs", "disable", job_id],
        ["jobs", "enable", job_id],
        ["-k", at, "user-data", "update", "note", "--data", "2"],
        ["workflows", "archive", at],
        ["workflows", "unarchive", at],
        ["workflows", "delete", at],
    ):
        data = conflict(system, *words)
        assert (data["task_id"], data["operation"], "differing" in data) == (task_id, "reinit", False)
    assert system.torcctl("-k", at, "user-data", "get", "note", json=True)["version"] == 0
    assert system.torcctl("workflows", "status", at, json=True)["active_task"]["task_id"] == task_id
    assert system.torcctl("workflows", "restart", at, "--only-uninitialized", "--dry-run").code == 0


# ---- 6.2, 6.7 ----


def test_ten_clients_at_the_same_moment_make_one_task(system: System) -> None:
    """SEMANTICS 6.2: one number of the run, one task, one answer"""
    at = system.create(SPEC)
    with system.held_scan(at) as release:
        clients = [system.spawn("-f", "json", "workflows", "reinit", at) for _ in range(10)]
        silent = {client.stderr for client in clients}
        while len(silent) > 1:  # the one that began the task has nothing to tell
            told, _, _ = select.select(silent, [], [], PATIENCE_S)
            assert told
            silent -= set(told)
        release()
        documents = [ended(client)[1] for client in clients]
    assert {document["task_id"] for document in documents} == {documents[0]["task_id"]}
    assert sorted(document["existing"] for document in documents) == [False] + [True] * 9
    assert {document["status"] for document in documents} == {"succeeded"}
    assert system.run_id(at) == 1


def test_a_canceled_task_is_told_to_all_that_wait_and_the_slot_is_free(system: System) -> None:
    """SEMANTICS 6.7"""
    at = system.create(SPEC)
    with system.held_scan(at):
        task_id = system.torcctl("workflows", "reinit", at, "--async", json=True)["task_id"]
        clients = [system.spawn("-f", "json", "workflows", "reinit", at) for _ in range(2)]
        for client in clients:
            wait_until_it_waits(client)
        canceled = system.torcctl("tasks", "cancel", task_id)
        assert canceled.out == f"Canceled task {task_id}\n"
        for client in clients:
            code, document, _ = ended(client)
            assert (code, document["error"]["data"]["task_id"]) == (1, task_id)
        assert system.torcctl("-f", "json", "tasks", "wait", task_id, check=False).code == 1
        assert system.torcctl("tasks", "cancel", 99999, check=False).code == 3
    assert system.run_id(at) == 0
    assert system.torcctl("workflows", "init", at).out == "Initialized 1 job\n"
