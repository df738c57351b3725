"""Workflows that run on a real Slurm, and what is waited for meanwhile."""

import time
from collections.abc import Callable
from typing import Any

from real_system import System
from slurm_cluster import PATIENCE_S


def workflow(*commands: str, nodes: int = 1, **scheduler: Any) -> dict[str, Any]:
    """A specification of jobs that need no more than a slot, and one Slurm scheduler."""
    return {
        "name": "on slurm",
        "slurm_schedulers": [{"name": "all", "nodes": nodes, "walltime": "00:05:00", **scheduler}],
        "resource_requirements": [{"name": "small", "num_cpus": 1, "memory": "1m", "runtime": "PT1M"}],
        "jobs": [
            {"name": f"j{number}", "command": command, "resource_requirements": "small"}
            for number, command in enumerate(commands)
        ],
    }


def allocations(system: System, workflow_id: int) -> list[dict[str, Any]]:
    """The allocations of a workflow."""
    found: list[dict[str, Any]] = system.torcctl("allocations", "list", workflow_id, json=True)["allocations"]
    return found


def wait(what: str, holds: Callable[[], object]) -> None:
    """Until it holds: the daemon looks at Slurm now and then."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


def wait_for_statuses(system: System, workflow_id: int, *statuses: str) -> list[dict[str, Any]]:
    """Its allocations, once they have these statuses."""
    wait(
        f"allocations are {statuses}",
        lambda: [each["status"] for each in allocations(system, workflow_id)] == list(statuses),
    )
    return allocations(system, workflow_id)
