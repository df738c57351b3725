"""The command lines of the contract, as they stand there (INTERFACE 2)."""

import os

from contract import Ran
from real_system import System, ask

from torcd.protocol.requests import GetTask, Reinit, WaitTask


def bash(system: System, script: str) -> str:
    """What a script prints; it must succeed and say nothing else."""
    done = system.bash("set -e -o pipefail\n" + script)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


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
    every = system.torcctl("results", "list", "--all-runs", json=True)["results"]
    assert {row["job_name"] for row in every} == {"bad", "good"}
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
        assert (refused.code, refused.out) == (3, "")
        assert f"in workflow {ran.workflow_id}" in refused.err
        assert f"workflow {other}" in refused.err
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
