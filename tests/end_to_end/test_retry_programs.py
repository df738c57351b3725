"""Failure handlers with a real daemon and real workers, and what kills of either leave of a retry (SEMANTICS 2.6)."""

import json
import os
import select
import signal
from typing import Any

from real_system import PATIENCE_S, System

FLAKY = 'echo x >> tries; test "$(wc -l < tries)" -ge {needed} || exit 42; echo done'
"""A command that fails until it was run so often."""


def flaky(needed: int, **rule: Any) -> dict[str, Any]:
    return {
        "name": "flaky",
        "failure_handlers": [{"name": "again", "rules": [{"exit_codes": [42], **rule}]}],
        "jobs": [
            {"name": "a", "command": FLAKY.format(needed=needed), "failure_handler": "again"},
            {"name": "b", "command": "true", "depends_on": ["a"]},
        ],
    }


def results(system: System, workflow_id: int, name: str = "a") -> list[tuple[int, int, str]]:
    """(attempt, return code, status) of each attempt."""
    listed = system.torcctl("results", "list", workflow_id, "--all-runs", json=True)["results"]
    return [(each["attempt_id"], each["return_code"], each["status"]) for each in listed if each["job_name"] == name]


def test_a_job_is_tried_again_after_its_recovery_script_until_it_succeeds(system: System) -> None:
    script = 'echo "$TORC_JOB_NAME failed with $TORC_RETURN_CODE in attempt $TORC_FAILED_ATTEMPT" >> recovered'
    workflow_id = system.create(flaky(3, recovery_script=script))
    ran = system.torcctl("run", workflow_id)
    assert ran.code == 0
    assert system.statuses(workflow_id) == {"a": "completed", "b": "completed"}
    assert results(system, workflow_id) == [(1, 42, "failed"), (2, 42, "failed"), (3, 0, "completed")]
    assert system.read("recovered").splitlines() == [
        "a failed with 42 in attempt 1",
        "a failed with 42 in attempt 2",
    ]
    events = system.torcctl("events", "list", workflow_id, json=True)["events"]
    moves = [move for event in events if event["kind"] == "jobs_changed" for move in event["data"]["changes"]]
    assert sum(move["status_reason"] == "retry" for move in moves) == 2


def test_a_job_whose_retries_are_used_up_fails_and_says_so(system: System) -> None:
    workflow_id = system.create(flaky(9, max_retries=1))
    assert system.torcctl("run", workflow_id, check=False).code == 1
    job = system.torcctl("-k", workflow_id, "jobs", "get", "a", json=True)
    assert (job["status"], job["failure_handler"], job["retries"], job["attempt_id"]) == ("failed", "again", 1, 2)
    told = system.torcctl("-k", workflow_id, "jobs", "explain", "a").out
    line = "attempt 2 failed with return code 42; failure handler again had it tried again once, which is all it may"
    assert line in told
    explained = system.torcctl("-k", workflow_id, "jobs", "explain", "a", json=True)
    assert explained["handling"] == {
        "failure_handler": "again", "attempt_id": 2, "return_code": 42, "why": "exhausted", "retries": 1,
        "max_retries": 1, "recovery_script": None,
    }  # fmt: skip


def test_a_rule_without_retries_says_that_nothing_is_tried_again(system: System) -> None:
    workflow_id = system.create(flaky(9, max_retries=0))
    assert system.torcctl("run", workflow_id, check=False).code == 1
    told = system.torcctl("-k", workflow_id, "jobs", "explain", "a").out
    assert "attempt 1 failed with return code 42, after which failure handler again tries nothing again" in told


def test_a_recovery_script_that_fails_is_told_apart(system: System) -> None:
    workflow_id = system.create(flaky(9, recovery_script="exit 7"))
    assert system.torcctl("run", workflow_id, check=False).code == 1
    (job, _) = system.torcctl("jobs", "list", workflow_id, json=True)["jobs"]
    assert (job["status"], job["status_reason"], job["return_code"]) == ("failed", "recovery_failed", 7)
    assert results(system, workflow_id) == [(1, 42, "failed"), (2, 7, "failed")]
    assert system.read("tries") == "x\n"


def test_another_handler_is_given_and_a_reset_counts_anew(system: System) -> None:
    workflow_id = system.create(flaky(4, max_retries=1))
    system.torcctl("run", workflow_id, check=False)
    system.torcctl("-k", workflow_id, "jobs", "reset-status", "a")
    assert system.torcctl("run", workflow_id).code == 0
    assert [each[0] for each in results(system, workflow_id)] == [1, 2, 3, 4]
    refused = system.torcctl("-k", workflow_id, "jobs", "update", "a", "--failure-handler", "agan", check=False)
    assert (refused.code, "did you mean 'again'?" in refused.err) == (7, True)
    assert system.torcctl("-k", workflow_id, "jobs", "update", "a", "--failure-handler", "", json=True)[
        "failure_handler"
    ] is None  # fmt: skip


def test_a_retry_survives_a_daemon_that_is_killed(alone: System) -> None:
    """Between the failure and the next attempt there is nothing that only memory knows."""
    alone.start_daemon()
    gate, started = alone.pipe("gate"), alone.pipe("started")
    spec = flaky(2, recovery_script="echo $$ > started; read x < gate; echo again >> recovered")
    workflow_id = alone.create(spec)
    worker = alone.spawn("run", workflow_id, env={"TORC_NO_AUTOSTART": "1"})  # the test starts the next one
    started.read_line()  # the second attempt is at its script
    alone.kill_daemon()
    alone.start_daemon()
    gate.write_line()
    worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0
    assert results(alone, workflow_id) == [(1, 42, "failed"), (2, 0, "completed")]
    assert alone.read("recovered") == "again\n"
    assert alone.read("tries") == "x\nx\n"


def test_a_worker_killed_in_a_recovery_script_takes_it_along_and_the_job_is_lost(alone: System) -> None:
    """SEMANTICS 8.4: terminated, as any job whose worker was lost; a restart counts anew."""
    alone.start_daemon(env={"TORCD_LEASE": "1"})
    started = alone.pipe("started")
    workflow_id = alone.create(flaky(2, recovery_script="echo $$ > started; sleep 1000; touch survived"))
    worker = alone.spawn("run", workflow_id)
    script = os.pidfd_open(int(started.read_line()))
    alone.wait_for_status(workflow_id, "a", "running")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(PATIENCE_S)
    alone.wait_for_status(workflow_id, "a", "terminated")
    assert alone.jobs(workflow_id)["a"]["status_reason"] == "worker_lost"
    assert select.select([script], [], [], PATIENCE_S)[0]
    os.close(script)
    alone.torcctl("workflows", "restart", workflow_id)
    assert alone.jobs(workflow_id)["a"]["retries"] == 0
    assert alone.torcctl("run", workflow_id).code == 0
    assert alone.read("tries") == "x\nx\n"
    assert not (alone.work / "survived").exists()


def test_an_exported_workflow_keeps_its_handlers(system: System) -> None:
    workflow_id = system.create(flaky(9, max_retries=1))
    system.torcctl("run", workflow_id, check=False)
    document = json.loads(system.torcctl("workflows", "export", workflow_id, "--results").out)
    assert document["failure_handlers"] == [{"name": "again", "rules": [{"exit_codes": [42], "max_retries": 1}]}]
    system.write("copy.json", json.dumps(document))
    copy = system.torcctl("workflows", "import", "copy.json", json=True)["workflow_id"]
    assert system.jobs(copy)["a"]["failure_handler"] == "again"
    assert system.jobs(copy)["a"]["retries"] == 1
