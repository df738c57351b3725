"""torcctl and torcd on a real Slurm: allocations from their submission to their end, and what may go wrong."""

import os
import time

import pytest
from real_system import System
from slurm_cluster import PATIENCE_S, Cluster
from slurm_workflows import allocations, wait, wait_for_statuses, workflow

from torcctl.allocating import user_umask


def test_two_allocations_of_two_nodes_run_a_workflow_and_end(system: System, cluster: Cluster) -> None:
    """A worker a node; jobs get the user's environment, and nothing of a job around torcctl."""
    commands = [f"echo $GREETING $SLURM_JOB_NAME $TORC_ALLOCATION_ID $(umask) > out{n}; sleep 0.3" for n in range(6)]
    workflow_id = system.create(workflow(*commands, nodes=2, ntasks_per_node=2))
    env = {"GREETING": "hello", "SLURM_JOB_NAME": "around", "TORC_ALLOCATION_ID": "99"}
    ran = system.torcctl("hpc", "slurm", "schedule-nodes", "-n2", workflow_id, env=env)
    submitted = allocations(system, workflow_id)
    ids = ", ".join(str(each["slurm_job_id"]) for each in submitted)
    ours = ", ".join(str(each["id"]) for each in submitted)
    assert ran.out == f"Submitted 2 Slurm jobs for workflow {workflow_id}: {ids} (allocations {ours})\n"
    done = wait_for_statuses(system, workflow_id, "complete", "complete")
    assert {each["num_nodes"] for each in done} == {2}
    assert set(system.statuses(workflow_id).values()) == {"completed"}
    for n in range(6):
        greeting, name, number, umask = system.read(f"out{n}").split()
        assert int(umask, 8) == user_umask()
        assert (greeting, name) == ("hello", next(e["job_name"] for e in done if e["id"] == int(number)))
    workers = system.torcctl("workers", "list", workflow_id, json=True)["workers"]
    assert {worker["allocation_id"] for worker in workers} <= {each["id"] for each in done}
    assert (system.work / ".torc" / str(workflow_id) / f"slurm_{done[0]['id']}.e").exists()


def test_what_is_queued_is_canceled_when_nothing_is_left_to_run(system: System, cluster: Cluster) -> None:
    workflow_id = system.create(workflow("true", extra="--hold"))
    system.torcctl("slurm", "schedule-nodes", "-n2", workflow_id)
    assert len(cluster.names()) == 2
    system.torcctl("run", workflow_id)
    done = wait_for_statuses(system, workflow_id, "complete", "complete")
    assert [each["slurm_state"] for each in done] == ["CANCELLED"] * 2
    canceled = system.sql("SELECT cancel_reason FROM allocation WHERE workflow_id = ?", workflow_id)
    assert canceled == [("its workflow has nothing left to run",)] * 2


REFUSALS = [
    ({"partition": "nope"}, "Invalid partition name specified", "sinfo -s"),
    ({"mem": "1T"}, "Requested node configuration is not available", "sinfo -Nl"),
    ({"extra": "--frobnicate"}, "unrecognized option '--frobnicate'", "man sbatch"),
]


def test_a_refusal_is_told_in_slurms_words_with_what_to_do(system: System, cluster: Cluster) -> None:
    for scheduler, words, advice in REFUSALS:
        workflow_id = system.create(workflow("true", **scheduler))
        ran = system.torcctl("slurm", "schedule-nodes", "-n2", workflow_id, check=False)
        assert ran.code == 7
        assert words in ran.err
        assert advice in ran.err
        assert [each["status"] for each in allocations(system, workflow_id)] == ["refused", "refused"]
    assert cluster.names() == []


def test_what_slurm_accepts_but_will_never_start_is_warned_of(system: System, cluster: Cluster) -> None:
    workflow_id = system.create(workflow("true", nodes=9))
    system.torcctl("slurm", "schedule-nodes", workflow_id)
    wait(
        "a warning",
        lambda: "waits in vain, says Slurm: Partition" in system.torcctl("slurm", "status", workflow_id).err,
    )
    ran = system.torcctl("slurm", "cancel", allocations(system, workflow_id)[0]["id"])
    assert ran.out == f"Canceled 1 allocation of workflow {workflow_id}\n"
    wait_for_statuses(system, workflow_id, "complete")


def test_a_dead_controller_loses_nothing_and_gets_nothing_twice(alone: System, cluster: Cluster) -> None:
    workflow_id = alone.create(workflow(*["sleep 600"] * 9))
    alone.torcctl("slurm", "schedule-nodes", workflow_id)
    (first,) = wait_for_statuses(alone, workflow_id, "active")
    with cluster.without_controller(first["slurm_job_id"]):
        deadline = time.monotonic() + PATIENCE_S
        while len(allocations(alone, workflow_id)) == 1:  # a look that was under way may have met the end before
            assert time.monotonic() < deadline
            ran = alone.torcctl("slurm", "schedule-nodes", "-n2", workflow_id, check=False)
            assert ran.code == 1
        assert "Unable to contact slurm controller" in ran.err
        first, second, third = allocations(alone, workflow_id)
        assert (first["status"], second["status"], third["status"]) == ("active", "submitting", "refused")
        assert first["slurm_state"].startswith("unknown since")
        assert "slurm: it has not answered since" in alone.torcctl("daemon", "status").out
    wait("the second is refused", lambda: allocations(alone, workflow_id)[1]["status"] == "refused")
    first, second, _ = allocations(alone, workflow_id)
    assert second["error"].endswith("Slurm does not have it")
    assert first["slurm_state"] in ("RUNNING", "PENDING")
    assert cluster.names() == [first["job_name"]]


KILLS_ITS_DAEMON = "#!/bin/bash\n[ -e {mark} ] || {{ touch {mark}; kill -9 {daemon}; {first}; }}\n{then}\n"


@pytest.mark.parametrize("is_submitted", [True, False])
def test_a_daemon_killed_while_it_submits_leaves_nothing_forgotten_or_doubled(
    alone: System, cluster: Cluster, is_submitted: bool
) -> None:
    workflow_id = alone.create(workflow("true", extra="--hold"))
    alone.torcctl("daemon", "stop")
    alone.start_daemon()
    assert alone.daemon is not None
    submits, killed = 'exec /usr/bin/sbatch "$@"', alone.daemon
    script = KILLS_ITS_DAEMON.format(
        mark=alone.work / "killed", daemon=killed.pid, first=submits if is_submitted else "exit", then=submits
    )
    sbatch = alone.write("bin/sbatch", script)
    sbatch.chmod(0o755)
    env = {"PATH": f"{sbatch.parent}:{os.environ['PATH']}"}
    child = alone.spawn("slurm", "schedule-nodes", workflow_id, env={**env, "TORC_NO_AUTOSTART": "1"})
    assert killed.wait(PATIENCE_S) == -9
    ((name,),) = alone.sql("SELECT job_name FROM allocation WHERE status = 'submitting' AND slurm_job_id IS NULL")
    alone.start_daemon()
    assert child.wait(PATIENCE_S) == 0  # it asked again under its key
    if is_submitted:
        (row,) = allocations(alone, workflow_id)
        assert row["job_name"] == name
    else:
        lost, row = allocations(alone, workflow_id)
        assert (lost["job_name"], lost["status"]) == (name, "refused")
        assert "torcd ended while it was being submitted" in lost["error"]
    assert row["status"] == "pending"
    assert cluster.names() == [row["job_name"]]


def test_a_cancel_of_the_workflow_cancels_its_allocations(system: System, cluster: Cluster) -> None:
    workflow_id = system.create(workflow("sleep 600"))
    system.torcctl("slurm", "schedule-nodes", "-n5", workflow_id)
    wait_for_statuses(system, workflow_id, *["active"] * 4, "pending")
    ran = system.torcctl("workflows", "delete", workflow_id, check=False)
    assert ran.code in (4, 7)
    system.torcctl("workflows", "cancel", workflow_id)
    wait_for_statuses(system, workflow_id, *["complete"] * 5)
    assert system.statuses(workflow_id) == {"j0": "canceled"}


def test_a_node_that_is_lost_has_its_allocation_requeued_and_followed(system: System, cluster: Cluster) -> None:
    workflow_id = system.create(workflow("sleep 600", extra="--requeue"))
    system.torcctl("slurm", "schedule-nodes", workflow_id)
    (before,) = wait_for_statuses(system, workflow_id, "active")
    node = cluster.run("squeue", "-h", "-j", str(before["slurm_job_id"]), "-o", "%N")
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        (after,) = wait_for_statuses(system, workflow_id, "pending")
    finally:
        cluster.wait("the node is back", lambda: "idle" in cluster.run("sinfo", "-h", "-n", node, "-p", "main", "-o%t"))
    assert after["slurm_job_id"] == before["slurm_job_id"]


def test_an_end_that_slurm_makes_is_told_as_slurm_calls_it(system: System, cluster: Cluster) -> None:
    workflow_id = system.create(workflow("sleep 600"))
    system.torcctl("slurm", "schedule-nodes", workflow_id)
    (row,) = wait_for_statuses(system, workflow_id, "active")
    cluster.run("scancel", str(row["slurm_job_id"]))
    (row,) = wait_for_statuses(system, workflow_id, "complete")
    assert row["slurm_state"] == "CANCELLED"
