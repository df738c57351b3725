"""Workers in jobs of a real Slurm: what they are given, what they start, and their end."""

import json
import shlex
import sys
from typing import Any

from real_system import System
from slurm_cluster import Cluster
from slurm_workflows import allocations, wait, wait_for_statuses, workflow


def submit(system: System, cluster: Cluster, workflow_id: int, *options: str, worker: str = "") -> int:
    """Submits a worker by hand; Slurm's id of its job."""
    command = f"exec {sys.executable} -m torcctl -f json worker {workflow_id} {worker}"
    environ = " ".join(f"{name}={shlex.quote(value)}" for name, value in system.environ.items())
    given = ["--parsable", f"--chdir={system.work}", "--output=worker.o", "--error=worker.e"]
    return int(cluster.run("sbatch", *given, *options, f"--wrap=export {environ}; {command}"))


def ended(system: System) -> Any:
    """What the worker of `submit` printed at its end."""
    return json.loads(system.read("worker.o"))


def test_a_worker_offers_what_its_slurm_job_was_given(system: System, cluster: Cluster) -> None:
    """SEMANTICS 8.1"""
    at = system.create(workflow("true"))
    system.torcctl("workflows", "init", at)
    job_id = submit(system, cluster, at, "--time=5", "--cpus-per-task=1", "--mem=200")
    wait("the job has ended", lambda: cluster.state(job_id) == "COMPLETED")
    (worker,) = system.torcctl("workers", "list", at, json=True)["workers"]
    assert (worker["num_cpus"], worker["memory_bytes"], worker["num_gpus"]) == (1, 200 * 2**20, 0)
    assert ended(system)["ended"] == "complete"


def test_an_allocation_ends_at_once_when_nothing_that_is_left_ends_in_its_time(
    system: System, cluster: Cluster
) -> None:
    """SEMANTICS 8.1"""
    document = workflow("true", "touch done", walltime="00:02:00")
    document["resource_requirements"].append({"name": "long", "runtime": "PT3M"})
    document["jobs"][0]["resource_requirements"] = "long"
    at = system.create(document)
    system.torcctl("slurm", "schedule-nodes", at)
    wait_for_statuses(system, at, "complete")
    assert system.statuses(at) == {"j0": "ready", "j1": "completed"}
    (allocation,) = allocations(system, at)
    assert allocation["slurm_state"] == "COMPLETED"


def test_before_slurm_ends_a_job_its_worker_stops_what_can_be_stopped(system: System, cluster: Cluster) -> None:
    """SEMANTICS §2: running → terminated (walltime). No job is shorter than a minute: a long grace has to do,
    though one that leaves a slow machine the time to start the worker."""
    document = workflow("trap 'echo saved; exit 0' TERM; touch up; while :; do sleep 0.05; done", "true")
    document["jobs"][0]["supports_termination"] = True
    del document["jobs"][0]["resource_requirements"]
    document["resource_requirements"][0]["runtime"] = "PT2M"
    at = system.create(document)
    system.torcctl("workflows", "init", at)
    job_id = submit(system, cluster, at, "--time=1", worker="--grace 30")
    wait("the job has ended", lambda: cluster.state(job_id) == "COMPLETED")
    assert ended(system) == {"workflow_id": at, "ended": "out_of_time", "counts": {"ready": 1, "terminated": 1}}
    result = next(each for each in system.torcctl("results", "list", at, json=True)["results"])
    assert (result["status"], result["status_reason"], result["return_code"]) == ("terminated", "walltime", 0)
    assert system.read(result["stdout_path"]) == "saved\n"


def test_a_job_that_is_canceled_in_slurm_tells_how_its_jobs_ended(system: System, cluster: Cluster) -> None:
    """SEMANTICS §2: terminated (worker_shutdown)"""
    at = system.create(workflow("trap 'exit 5' TERM; touch up; while :; do sleep 0.05; done"))
    system.torcctl("workflows", "init", at)
    job_id = submit(system, cluster, at, "--time=5")
    wait("the job runs", (system.work / "up").exists)
    cluster.run("scancel", str(job_id))
    wait("its end was told", lambda: system.statuses(at) != {"j0": "running"})
    (result,) = system.torcctl("results", "list", at, json=True)["results"]
    assert (result["status"], result["status_reason"], result["return_code"]) == ("terminated", "worker_shutdown", 5)


def test_the_memory_of_all_processes_of_a_job_is_seen(system: System, cluster: Cluster) -> None:
    """SEMANTICS 8.5"""
    hold = "import time; memory = bytearray(60 << 20); time.sleep(5)"
    at = system.create(workflow(f"python3 -c '{hold}' & python3 -c '{hold}' & wait"))
    system.torcctl("workflows", "init", at)
    job_id = submit(system, cluster, at, "--time=5")
    wait("the job has ended", lambda: cluster.state(job_id) == "COMPLETED")
    (small,) = system.torcctl("reports", "resources", at, json=True)["requirements"]
    assert small["used"]["peak_memory_bytes"]["max"] > 120 * 2**20
    assert small["proposed"]["memory_bytes"] > small["requested"]["memory_bytes"]
