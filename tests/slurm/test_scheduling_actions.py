"""Actions that schedule nodes, on a real Slurm (SEMANTICS 2.7)."""

from typing import Any

from real_system import System
from slurm_cluster import Cluster
from test_on_slurm import allocations, wait, workflow


def scheduled(trigger: str, *commands: str, **more: Any) -> dict[str, Any]:
    """A specification whose action has Slurm run its jobs."""
    action = {"trigger_type": trigger, "action_type": "schedule_nodes", **more}
    return {**workflow(*commands), "actions": [action]}


def firings(system: System, workflow_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = system.torcctl("actions", "firings", workflow_id, json=True)["firings"]
    return found


def test_a_workflow_that_schedules_its_own_nodes_needs_nothing_but_its_start(system: System, cluster: Cluster) -> None:
    workflow_id = system.create(scheduled("on_workflow_start", "echo $TORC_ALLOCATION_ID > out", num_allocations=1))
    system.torcctl("workflows", "init", workflow_id)
    wait("the workflow to complete", lambda: set(system.statuses(workflow_id).values()) == {"completed"})
    (fired,) = firings(system, workflow_id)
    (made,) = allocations(system, workflow_id)
    assert (fired["status"], fired["allocations"]) == ("succeeded", [made["id"]])
    assert system.read("out") == f"{made['id']}\n"


def test_nodes_come_when_the_jobs_that_need_them_are_ready(system: System, cluster: Cluster) -> None:
    document = scheduled("on_jobs_ready", "true", "echo $TORC_ALLOCATION_ID > out", jobs=["j1"], num_allocations=1)
    document["jobs"][1] |= {"depends_on": ["j0"], "resource_requirements": "large"}
    large = {"name": "large", "num_cpus": 1, "memory": "2g", "runtime": "PT1M"}
    document["resource_requirements"].append(large)
    workflow_id = system.create(document)
    system.torcctl("workflows", "init", workflow_id)
    assert allocations(system, workflow_id) == []
    system.torcctl("run", workflow_id, "--memory", "1g", check=False)  # too small for the second job
    wait("the workflow to complete", lambda: set(system.statuses(workflow_id).values()) == {"completed"})
    (made,) = allocations(system, workflow_id)
    assert system.read("out") == f"{made['id']}\n"
    (fired,) = firings(system, workflow_id)
    assert (fired["status"], fired["allocations"]) == ("succeeded", [made["id"]])


def test_a_refusal_is_kept_in_slurms_words(system: System, cluster: Cluster) -> None:
    document = scheduled("on_workflow_start", "true")
    document["slurm_schedulers"][0]["partition"] = "nope"
    workflow_id = system.create(document)
    system.torcctl("workflows", "init", workflow_id)
    wait("the firing to end", lambda: firings(system, workflow_id)[0]["status"] == "failed")
    assert "Invalid partition name specified" in firings(system, workflow_id)[0]["error"]
