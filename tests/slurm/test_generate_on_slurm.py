"""`slurm generate` on a real Slurm: what it proposes is accepted and runs the jobs."""

import yaml
from real_system import System
from slurm_workflows import wait_for_statuses


def test_what_is_proposed_runs_the_jobs(system: System) -> None:
    text = """\
name: proposed
resource_requirements: [{name: small, memory: 1m, runtime: PT1M}]
jobs: [{name: a, command: "true", resource_requirements: small}]
"""
    path = system.work / "w.yaml"
    path.write_text(text)
    block = system.torcctl("slurm", "generate", str(path)).out
    workflow_id = system.create(yaml.safe_load(text + block))
    system.torcctl("slurm", "schedule-nodes", "-n1", workflow_id)
    wait_for_statuses(system, workflow_id, "complete")
    assert system.statuses(workflow_id) == {"a": "completed"}
