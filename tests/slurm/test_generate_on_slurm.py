"""`slurm generate` on a real Slurm: what it proposes is accepted and runs the jobs."""

import os
import re
from pathlib import Path

import pytest
import yaml
from real_system import System
from slurm_cluster import Cluster
from slurm_workflows import wait_for_statuses

from torcd.protocol.errors import Refused
from torcd.slurm.client import NoAnswer, Slurm

SMALL = """\
name: proposed
resource_requirements: [{name: small, memory: 1m, runtime: PT1M}]
jobs: [{name: a, command: "true", resource_requirements: small}]
"""
GPUS = """\
name: trained
parameters: {i: "1:5"}
resource_requirements:
  - {name: small, memory: 1m, runtime: PT1M}
  - {name: train, num_gpus: 1, memory: 1m, runtime: PT3M}
files: [{name: made, path: made}]
jobs:
  - {name: make, command: touch made, output_files: [made], resource_requirements: small}
  - name: train{i}
    command: echo "$SLURM_JOB_GPUS $CUDA_VISIBLE_DEVICES" > devices{i}
    input_files: [made]
    resource_requirements: train
    use_parameters: [i]
"""


def write(system: System, text: str, name: str = "w.yaml") -> str:
    path = system.work / name
    path.write_text(text)
    return str(path)


def test_what_is_proposed_runs_the_jobs(system: System) -> None:
    block = system.torcctl("slurm", "generate", write(system, SMALL)).out
    assert block.endswith("\n# torcctl slurm schedule-nodes -n 1\n")
    workflow_id = system.create(yaml.safe_load(SMALL + block))
    system.torcctl("slurm", "schedule-nodes", "-n1", workflow_id)
    wait_for_statuses(system, workflow_id, "complete")
    assert system.statuses(workflow_id) == {"a": "completed"}
    assert system.torcctl("slurm", "generate", str(workflow_id)).out.endswith(
        "# no job waits to be run: there is nothing to submit\n"
    )


def test_what_is_wrong_is_told(system: System) -> None:
    def refusal(text: str, *options: str) -> str:
        return str(system.torcctl("slurm", "generate", write(system, text), *options, check=False).err)

    assert "no partition 'nope' is up; there are: main, short, spot" in refusal(SMALL, "--partition", "nope")
    assert "the nearest is 'main', with 4000 of 1048576 MiB of memory" in refusal(SMALL.replace("1m", "1t"))
    assert "jobs of 'small' need 2 nodes each" in refusal(SMALL.replace("1m", "1m, num_nodes: 2"))
    assert "'nothing' has no jobs: there is nothing to schedule nodes for" in refusal("{name: nothing, jobs: []}")
    assert "w.yaml:2: resource_requirements[0].memory: '15' is not a memory size" in refusal(
        SMALL.replace("1m", "'15'")
    )
    assert "there is no workflow 99" in system.torcctl("slurm", "generate", "99", check=False).err


def test_schedulers_for_gpus_are_accepted_and_give_them(gpus: System) -> None:
    path = write(gpus, GPUS)
    answer = gpus.torcctl("slurm", "generate", path, json=True)
    assert [each["name"] for each in answer["slurm_schedulers"]] == ["short", "main_gpu"]
    assert answer["slurm_schedulers"][1]["gres"] == "gpu:2"
    assert [(each["scheduler"], each["count"]) for each in answer["schedule_nodes"]] == [("short", 1), ("main_gpu", 3)]
    assert gpus.torcctl("workflows", "list", json=True)["workflows"] == [], "nothing is stored"
    gpus.torcctl("slurm", "generate", path, "-o", "out.yaml")
    workflow_id = gpus.torcctl("workflows", "create", "out.yaml", json=True)["workflow_id"]
    again = gpus.torcctl("slurm", "generate", workflow_id, json=True)
    assert again["added"] == []
    assert [each["command"] for each in again["schedule_nodes"]] == [
        f"torcctl slurm schedule-nodes -n 1 --scheduler short {workflow_id}",
        f"torcctl slurm schedule-nodes -n 3 --scheduler main_gpu {workflow_id}",
    ]
    gpus.torcctl("slurm", "schedule-nodes", "-n1", "--scheduler", "main_gpu", workflow_id)
    wait_for_statuses(gpus, workflow_id, "complete")
    assert set(gpus.statuses(workflow_id).values()) == {"completed"}
    devices = {(gpus.work / f"devices{number}").read_text() for number in range(1, 6)}
    assert devices <= {"0,1 0\n", "0,1 1\n"}


async def test_without_a_controller_the_way_out_is_told(tmp_path: Path, cluster: Cluster) -> None:
    conf = tmp_path / "slurm.conf"
    text = (cluster.directory / "slurm.conf").read_text()
    conf.write_text(re.sub("(?m)^SlurmctldPort=.*$", "SlurmctldPort=1", text))
    dead = Slurm({"PATH": os.environ["PATH"], "SLURM_CONF": str(conf)}, timeout_s=0.5)
    with pytest.raises(NoAnswer, match=r"sinfo: .*no answer within 0\.5 s\. .*`scontrol ping`, and try again"):
        await dead.load_partitions()


async def test_without_sinfo_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torcd.slurm.programs.LIKELY", str(tmp_path))
    with pytest.raises(Refused, match=r"there is no sinfo in PATH.* on a login node of the cluster"):
        await Slurm({"PATH": str(tmp_path)}).load_partitions()


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (
            "echo 'slurm_load_partitions: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            NoAnswer,
            r"sinfo: slurm_load_partitions: Unable to contact slurm controller \(connect failure\)\. What this cluster",
        ),
        ("echo sinfo: fatal: odd >&2; exit 1", Refused, r"sinfo: fatal: odd\. See `sinfo -s`"),
        ("echo 'off|down|1:00|1|1|(null)'", Refused, "sinfo lists no partition that is up: see `sinfo -s`"),
    ],
)
async def test_what_sinfo_says_instead_is_handed_on(
    tmp_path: Path, script: str, kind: type[Exception], text: str
) -> None:
    program = tmp_path / "sinfo"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(kind, match=text):
        await Slurm({"PATH": str(tmp_path)}).load_partitions()
