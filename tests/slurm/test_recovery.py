"""Recovering on a real Slurm: what ran out of memory or time, in whatever way, gets more, in Slurm jobs that do."""

from real_system import System
from slurm_cluster import PATIENCE_S
from slurm_workflows import allocations, wait_for_statuses, workflow

NEEDS = [{"name": "small", "memory": "10m", "runtime": "PT30S"}]


def test_a_dry_run_tells_of_the_slurm_jobs_that_recover_submits_then(alone: System) -> None:
    """SEMANTICS 5.4"""
    workflow_id = alone.create(workflow("test -e tried || { touch tried; echo MemoryError >&2; exit 1; }", "false"))
    alone.torcctl("run", workflow_id, check=False)
    foreseen = alone.torcctl("recover", workflow_id, "--dry-run")
    assert foreseen.out.splitlines()[-1] == "Would submit 1 Slurm job of the scheduler 'all'"
    assert allocations(alone, workflow_id) == []
    ran = alone.torcctl("recover", workflow_id)
    assert "Submitted 1 Slurm job" in ran.err
    ended = alone.torcctl("watch", workflow_id, check=False)
    assert ended.out == f"Workflow {workflow_id}: 1 completed, 1 failed\n"
    wait_for_statuses(alone, workflow_id, "complete")


def test_watch_brings_a_workflow_home_that_was_short_of_memory(alone: System) -> None:
    """SEMANTICS 5.9"""
    spec = workflow()
    spec["resource_requirements"] = NEEDS
    spec["jobs"] = [
        {"name": "short", "resource_requirements": "small",
         "command": "ulimit -v $((TORC_ATTEMPT_ID * 150000)); exec python3 -c 'bytearray(200 << 20)'"},
        {"name": "last", "command": "touch done", "depends_on": ["short"]},
    ]  # fmt: skip
    workflow_id = alone.create(spec)
    alone.torcctl("slurm", "schedule-nodes", workflow_id)
    ran = alone.torcctl("watch", workflow_id, "--recover")
    assert ran.out.splitlines()[-1] == f"Workflow {workflow_id}: 2 completed"
    assert "stderr: MemoryError" in ran.out
    assert "Submitted 1 Slurm job" in ran.err
    assert alone.attempts(workflow_id) == {"short": 2, "last": 1}
    needs = {job["name"]: job["resource_requirements"] for job in alone.torcctl("jobs", "list", json=True)["jobs"]}
    assert needs == {"short": "small_r1", "last": None}
    wait_for_statuses(alone, workflow_id, "complete", "complete")
    assert len(allocations(alone, workflow_id)) == 2


def test_what_a_recovery_did_not_submit_is_submitted_by_the_next_one_and_by_whoever_watches(alone: System) -> None:
    """As after a client that was killed in between."""
    spec = workflow()
    fails_twice = "echo >> tried; test $(wc -l < tried) = 3 || { echo MemoryError >&2; exit 1; }"
    spec["resource_requirements"] = NEEDS
    spec["jobs"] = [{"name": "short", "command": fails_twice, "resource_requirements": "small"}]
    workflow_id = alone.create(spec)
    alone.torcctl("slurm", "schedule-nodes", workflow_id)
    alone.torcctl("watch", workflow_id, check=False)
    wait_for_statuses(alone, workflow_id, "complete")

    alone.torcctl("recover", workflow_id, "--no-schedule")
    ran = alone.torcctl("recover", workflow_id)
    assert "nothing to recover" in ran.out
    assert "Submitted 1 Slurm job" in ran.err
    alone.torcctl("watch", workflow_id, check=False)
    wait_for_statuses(alone, workflow_id, "complete", "complete")

    alone.torcctl("recover", workflow_id, "--no-schedule")
    ran = alone.torcctl("watch", workflow_id, "--recover", "--poll", "0.5")
    assert "Submitted 1 Slurm job" in ran.err
    assert ran.out.splitlines()[-1] == f"Workflow {workflow_id}: 1 completed"
    wait_for_statuses(alone, workflow_id, "complete", "complete", "complete")


HOLD = """exec python3 -c '
import os, time
b = bytearray(400 << 20)
time.sleep(60 if os.environ["TORC_ATTEMPT_ID"] == "1" else 0)'
"""


def test_watch_brings_workflows_home_whose_jobs_outgrow_their_slurm_jobs(alone: System) -> None:
    """SEMANTICS 5.9. One takes all the time of its Slurm job, another more than its memory, so that Slurm kills it with
    its worker."""
    alone.environ["TORCD_LEASE"] = "2"
    specs = [workflow("test -e tried || { touch tried; sleep 600; }", walltime="00:01:00"), workflow(HOLD, mem="300M")]
    specs[0]["jobs"][0]["supports_termination"] = True
    watchers = []
    for spec in specs:
        workflow_id = alone.create(spec)
        alone.torcctl("slurm", "schedule-nodes", workflow_id)
        watchers.append(alone.spawn("watch", workflow_id, "--recover"))
    told = []
    for watcher in watchers:
        out, err = watcher.communicate(timeout=2 * PATIENCE_S)
        told.append(err)
        assert (watcher.returncode, out.splitlines()[-1]) == (0, f"Workflow {len(told)}: 1 completed"), err
    assert "asking Slurm with --walltime 00:04:00\n" in told[0]
    assert "asking Slurm with --mem 578M\n" in told[1]
    late, large = allocations(alone, 1), allocations(alone, 2)
    assert [each["walltime_s"] for each in late] == [60, 240]
    assert [each["memory_bytes"] for each in large] == [None, 578 * 2**20]
    assert large[0]["slurm_state"] == "FAILED", "Slurm's word for it"
    (lost,) = alone.torcctl("results", "list", 2, "--all-runs", "-f", "status=terminated", json=True)["results"]
    assert lost["status_reason"] == "worker_lost"
    assert alone.attempts(2) == {"j0": 2}, "it was not run by somebody else meanwhile"


def test_watch_brings_a_workflow_home_whose_job_the_kernel_killed(confined: System) -> None:
    """SEMANTICS 5.9. The worker outlives it, and tells how it ended and what it had used."""
    spec = workflow(HOLD, mem="300M")
    spec["resource_requirements"][0]["memory"] = "250m"
    workflow_id = confined.create(spec)
    confined.torcctl("slurm", "schedule-nodes", workflow_id)
    ran = confined.torcctl("watch", workflow_id, "--recover")
    assert ran.out.splitlines()[-1] == f"Workflow {workflow_id}: 1 completed"
    assert "out_of_memory  SIGKILL; used" in ran.out
    killed, done = confined.torcctl("results", "list", "--all-runs", workflow_id, json=True)["results"]
    assert (killed["status"], killed["return_code"], done["status"]) == ("failed", 137, "completed")
    before, after = wait_for_statuses(confined, workflow_id, "complete", "complete")
    assert (before["slurm_state"], after["slurm_state"]) == ("OUT_OF_MEMORY", "COMPLETED")
    known = confined.torcctl("slurm", "sacct", workflow_id, json=True)["account"]
    assert {row["State"] for row in known if row["JobID"] == f"{before['slurm_job_id']}.batch"} == {"OUT_OF_MEMORY"}


def test_what_the_partition_does_not_allow_is_told_and_nothing_is_submitted(system: System) -> None:
    """SEMANTICS 5.9"""
    spec = workflow("ulimit -v 150000; exec python3 -c 'bytearray(200 << 20)'", mem="3500M")
    spec["resource_requirements"][0]["memory"] = "3g"
    workflow_id = system.create(spec)
    system.torcctl("slurm", "schedule-nodes", workflow_id)
    wait_for_statuses(system, workflow_id, "complete")
    ran = system.torcctl("recover", workflow_id, check=False)
    told = "of the scheduler 'all' has, of whose partition no node has more than 3.91 GiB (up to 4.5 GiB"
    assert (ran.code, told in ran.err) == (1, True), ran.err
    assert system.statuses(workflow_id) == {"j0": "ready"}
    assert len(allocations(system, workflow_id)) == 1
