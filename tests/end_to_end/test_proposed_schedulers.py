"""`slurm generate` by real programs, where sinfo is a script: files and workflows are proposed the same for."""

import json
from pathlib import Path
from typing import Any

import pytest
from real_system import System

from torcd.protocol.errors import Refused
from torcd.protocol.proposals import ProposeSchedulers

SINFO = """\
#!/bin/sh
echo 'short*|up|4:00:00|16|64000|(null)'
echo 'gpu|up|infinite|32|128000|gpu:a100:4(S:0-1)'
"""
SPEC: dict[str, Any] = {
    "name": "study",
    "parameters": {"i": "1:40"},
    "resource_requirements": [{"name": "default", "memory": "4g"}, {"name": "train", "num_gpus": 1, "runtime": "PT2H"}],
    "slurm_defaults": {"account": "mine"},
    "files": [{"name": "made{i}", "path": "made{i}", "use_parameters": ["i"]}, {"name": "all", "path": "all"}],
    "jobs": [
        {"name": "make{i}", "command": "touch made{i}", "output_files": ["made{i}"], "use_parameters": ["i"]},
        {"name": "join", "command": "touch all", "input_file_regexes": ["made.*"], "output_files": ["all"]},
        {
            "name": "train{i}",
            "command": "true",
            "input_files": ["all"],
            "resource_requirements": "train",
            "use_parameters": ["i"],
        },
    ],
}


@pytest.fixture
def on_cluster(alone: System, tmp_path: Path) -> System:
    """A user whose daemon has a sinfo."""
    program = tmp_path / "bin" / "sinfo"
    program.parent.mkdir()
    program.write_text(SINFO)
    program.chmod(0o755)
    alone.environ["PATH"] = f"{program.parent}:{alone.environ['PATH']}"
    alone.start_daemon()
    return alone


def generate(system: System, *words: object) -> Any:
    return system.torcctl("slurm", "generate", *words, json=True)


def test_a_file_is_expanded_as_for_create_and_nothing_is_stored(on_cluster: System) -> None:
    """SEMANTICS 3.2, 3.5: the widest level is of the expanded graph, with dependencies through files"""
    path = on_cluster.spec(SPEC)
    answer = generate(on_cluster, path)
    assert answer["requirements"] == [
        {"name": "default", "scheduler": "short", "jobs_per_node": 15, "jobs": 41, "is_named": False},
        {"name": "train", "scheduler": "gpu_gpu", "jobs_per_node": 4, "jobs": 40, "is_named": False},
    ]
    assert [(each["scheduler"], each["count"], each["jobs"]) for each in answer["schedule_nodes"]] == [
        ("short", 3, 41),
        ("gpu_gpu", 10, 40),
    ]
    assert on_cluster.torcctl("workflows", "list", json=True)["workflows"] == []

    generate(on_cluster, path, "-o", "out.json")
    assert [job["scheduler"] for job in json.loads((on_cluster.work / "out.json").read_text())["jobs"]] == [
        "short",
        "short",
        "gpu_gpu",
    ]
    workflow_id = on_cluster.torcctl("workflows", "create", "out.json", json=True)["workflow_id"]
    of_workflow = generate(on_cluster, "study")
    assert of_workflow == generate(on_cluster, workflow_id)
    assert (of_workflow["added"], of_workflow["slurm_schedulers"]) == ([], answer["slurm_schedulers"])
    assert [each["count"] for each in of_workflow["schedule_nodes"]] == [3, 10]
    on_cluster.torcctl("-k", workflow_id, "jobs", "disable", *(f"make{number}" for number in range(1, 31)))
    assert [each["count"] for each in generate(on_cluster, workflow_id)["schedule_nodes"]] == [1, 10]


def test_a_specification_that_is_wrong_is_refused_with_all_that_is(on_cluster: System) -> None:
    broken = {**SPEC, "jobs": [{"name": "a", "command": "true", "resource_requirements": "x", "scheduler": "y"}]}
    path = on_cluster.spec(broken)
    ran = on_cluster.torcctl("slurm", "generate", path, check=False)
    assert ran.code == 7
    assert "there are no resource requirements 'x'" in ran.err
    assert "there is no Slurm scheduler 'y'" in ran.err
    ran = on_cluster.torcctl("slurm", "generate", 4711, check=False)
    assert (ran.code, ran.err) == (3, "error: there is no workflow 4711\n")
    with pytest.raises(Refused, match="no variable that a process can be given"):
        on_cluster.call(ProposeSchedulers(workflow_id=on_cluster.create(SPEC), environment={"PATH": "\0"}))
    assert "there are: gpu, short" in on_cluster.torcctl("slurm", "generate", 1, "--partition", "x", check=False).err
