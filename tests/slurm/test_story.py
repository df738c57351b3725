"""Restarting a workflow on a real Slurm: jobs that failed by a bug, by the walltime, and by a preemption."""

import pytest
from real_system import System
from slurm_cluster import Cluster
from slurm_workflows import allocations, wait, wait_for_statuses, workflow


@pytest.fixture
def user(alone: System) -> System:
    """One whose daemon does not wait long for workers that are away."""
    alone.environ["TORCD_LEASE"] = "2"
    return alone


def test_after_a_bug_and_a_walltime_a_restart_brings_the_workflow_home(user: System, cluster: Cluster) -> None:
    """The seeds' story, with their commands"""
    user.write("data.txt", "bad")
    spec = workflow(walltime="00:01:00")
    spec["files"] = [{"name": "data", "path": "data.txt"}]
    spec["jobs"] = [
        {"name": "bug", "command": "grep -q good data.txt", "input_files": ["data"]},
        {"name": "slow", "command": "test -e tried || { touch tried; sleep 600; }"},
        {"name": "last", "command": "touch done", "depends_on": ["bug", "slow"]},
    ]
    workflow_id = user.create(spec)
    user.torcctl("hpc", "slurm", "schedule-nodes", "-n1")
    wait("slow runs", lambda: user.statuses(workflow_id)["slow"] == "running")
    (row,) = allocations(user, workflow_id)
    cluster.run("scontrol", "update", f"JobId={row['slurm_job_id']}", "EndTime=now")  # which takes half a minute
    wait("slow was stopped", lambda: user.statuses(workflow_id)["slow"] == "terminated")
    wait_for_statuses(user, workflow_id, "complete")
    assert user.statuses(workflow_id) == {"bug": "failed", "slow": "terminated", "last": "canceled"}
    (failed,) = user.torcctl("results", "list", "-f", "return_code=1", json=True)["results"]
    assert failed["job_name"] == "bug"

    user.write("data.txt", "good")
    plan = user.torcctl("workflows", "restart", "--dry-run", json=True)
    assert {job["name"]: job["to"] for job in plan["jobs"]} == {"bug": "ready", "slow": "ready", "last": "blocked"}
    user.torcctl("workflows", "restart")
    user.torcctl("hpc", "slurm", "schedule-nodes", "-n2")
    wait("all is done", lambda: set(user.statuses(workflow_id).values()) == {"completed"})
    wait("nothing is left", lambda: {each["status"] for each in allocations(user, workflow_id)} == {"complete"})
    assert user.attempts(workflow_id) == {"bug": 2, "slow": 2, "last": 1}


def test_an_allocation_that_is_preempted_is_followed_and_runs_no_job_twice(user: System, cluster: Cluster) -> None:
    workflow_id = user.create(workflow("sleep 600", partition="spot", extra="--requeue"))
    user.torcctl("slurm", "schedule-nodes", workflow_id)
    wait("the job runs", lambda: user.statuses(workflow_id) == {"j0": "running"})
    (before,) = allocations(user, workflow_id)
    cluster.run("sbatch", "--partition=main", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 600")
    (after,) = wait_for_statuses(user, workflow_id, "pending")
    assert after["slurm_job_id"] == before["slurm_job_id"]
    wait("the job was stopped", lambda: user.statuses(workflow_id) == {"j0": "terminated"})
    wait_for_statuses(user, workflow_id, "complete")  # nothing is left to run
    assert user.attempts(workflow_id) == {"j0": 1}
