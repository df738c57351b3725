"""`slurm generate`: what it asks the daemon for, how it tells of the answer, and the specification that it writes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_outcome import Cli
from cli_samples import workflow, workflows
from cli_server import FakeDaemon, Session

from torcctl.specification import load_specification
from torcd.protocol.errors import Refused, Unavailable

SPEC = """\
name: w
resource_requirements:
  - {name: small, num_cpus: 2, memory: 4g, runtime: PT1H}
  - {name: train, num_gpus: 1, runtime: PT1H}
jobs:
  - {name: a, command: "true", resource_requirements: small}
  - {name: b, command: "true", resource_requirements: train}
  - {name: c, command: "true"}
"""
SHORT = {"name": "short", "partition": "short", "nodes": 1, "walltime": "01:15:00"}
GPU = {"name": "gpu_gpu", "partition": "gpu", "nodes": 1, "walltime": "01:15:00", "gres": "gpu:4"}


def served(name: str | None, scheduler: str | None, jobs_per_node: int = 8, **more: object) -> dict[str, Any]:
    return {"name": name, "scheduler": scheduler, "jobs_per_node": jobs_per_node, "jobs": 1, "is_named": False, **more}


def asked(scheduler: str | None, count: int, jobs: int = 1) -> dict[str, Any]:
    return {"scheduler": scheduler, "count": count, "jobs": jobs}


def proposal(**more: object) -> dict[str, Any]:
    return {
        "slurm_schedulers": [SHORT, GPU],
        "added": ["short", "gpu_gpu"],
        "requirements": [served("small", "short"), served("train", "gpu_gpu", 4), served(None, "short", 16)],
        "schedule_nodes": [asked("short", 3, 2), asked("gpu_gpu", 1)],
        "warnings": [],
        **more,
    }


@pytest.fixture
def proposing(daemon: FakeDaemon, tmp_path: Path) -> FakeDaemon:
    """A daemon that has a proposal for the specification in w.yaml, and for workflow 7."""
    (tmp_path / "w.yaml").write_text(SPEC)
    daemon.on("uploads.append", {"upload": "u", "pieces": 1, "bytes": 1})
    daemon.on("slurm.propose_for_specification", proposal())
    daemon.on("slurm.propose", proposal())
    return daemon


def test_schedulers_are_printed_to_be_pasted(proposing: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    outcome = cli("hpc", "slurm", "generate", "w.yaml", "--account", "me", PATH="/opt/slurm/bin", SLURM_CONF="/s.conf")
    assert (outcome.code, outcome.err) == (0, "")
    assert yaml.safe_load(outcome.out) == {"slurm_schedulers": [SHORT, GPU]}
    assert outcome.out.splitlines()[-5:] == [
        '# jobs of "small": scheduler: "short", 8 at once on a node',
        '# jobs of "train": scheduler: "gpu_gpu", 4 at once on a node',
        '# jobs without resource_requirements: scheduler: "short", 16 at once on a node',
        "# torcctl slurm schedule-nodes -n 3 --scheduler short",
        "# torcctl slurm schedule-nodes -n 1 --scheduler gpu_gpu",
    ]
    (request,) = proposing.requests("slurm.propose_for_specification")
    assert (request["account"], request["partition"], request["single"]) == ("me", None, False)
    assert (request["directory"], request["header"]["name"]) == (str(tmp_path), "w")
    assert request["environment"] == {"PATH": "/opt/slurm/bin", "SLURM_CONF": "/s.conf"}
    assert len(proposing.requests("uploads.append")[0]["piece"]["jobs"]) == 3


def test_programs_are_given_all_and_the_commands(proposing: FakeDaemon, cli: Cli) -> None:
    answer = cli("-f", "json", "slurm", "generate", "w.yaml").json
    assert answer.pop("schedule_nodes")[0] == {
        **asked("short", 3, 2),
        "command": "torcctl slurm schedule-nodes -n 3 --scheduler short",
    }
    assert answer == {name: value for name, value in proposal().items() if name != "schedule_nodes"}


def test_with_one_scheduler_none_is_named(proposing: FakeDaemon, cli: Cli) -> None:
    only = proposal(slurm_schedulers=[SHORT], added=["short"], schedule_nodes=[asked("short", 2)])
    proposing.on("slurm.propose_for_specification", only)
    assert "\n# torcctl slurm schedule-nodes -n 2\n" in cli("slurm", "generate", "w.yaml").out


def test_schedulers_that_are_there_are_kept_and_told_apart(proposing: FakeDaemon, cli: Cli) -> None:
    proposing.on("slurm.propose_for_specification", proposal(added=["gpu_gpu"]))
    out = cli("slurm", "generate", "w.yaml").out
    assert out.startswith('# in place of the slurm_schedulers that are there; new: "gpu_gpu"\nslurm_schedulers:\n')
    assert yaml.safe_load(out) == {"slurm_schedulers": [SHORT, GPU]}
    assert '# jobs of "small": scheduler: "short" (there already), 8 at once on a node\n' in out


def test_when_none_is_to_be_added_that_is_said(proposing: FakeDaemon, cli: Cli) -> None:
    requirements = [served("small", "short", 0, is_named=True), served("train", None)]
    warnings = ["it does not run them"]
    nothing = proposal(added=[], requirements=requirements, schedule_nodes=[], warnings=warnings)
    proposing.on("slurm.propose", nothing)
    outcome = cli("slurm", "generate", "7")
    assert outcome.err == "warning: it does not run them\n"
    assert outcome.out.splitlines() == [
        "# its slurm_schedulers do: none is to be added",
        '# jobs of "small": scheduler: "short", which does not run them',
        '# jobs of "train": scheduler: the one without a name (there already), 8 at once on a node',
        "# no job waits to be run: there is nothing to submit",
    ]


def test_a_workflow_is_meant_by_its_id_or_its_name(proposing: FakeDaemon, cli: Cli) -> None:
    proposing.on("slurm.propose", proposal(schedule_nodes=[asked("short", 0, 2), asked("gpu_gpu", 1)]))
    out = cli("slurm", "generate", "7", "--single").out
    assert out.splitlines()[-3:] == [
        "# first: torcctl workflows update 7 --spec FILE",
        '# scheduler "short": the Slurm jobs that wait already are enough for its 2 jobs',
        "# torcctl slurm schedule-nodes -n 1 --scheduler gpu_gpu 7",
    ]
    proposing.on("workflows.list", workflows(workflow(3, is_archived=True), workflow(7)))
    assert cli("slurm", "generate", "the study").out == cli("slurm", "generate", "7").out
    assert [each["single"] for each in proposing.requests("slurm.propose")] == [True, False, False]
    assert proposing.requests("workflows.list")[0]["filters"] == [["name", "the study"]]
    proposing.on("workflows.list", workflows(workflow(7), workflow(8)))
    outcome = cli("slurm", "generate", "the study")
    assert (outcome.code, "by its id (7, 8)" in outcome.err) == (7, True)
    proposing.on("workflows.list", workflows())
    outcome = cli("slurm", "generate", "nope.yaml")
    assert (outcome.code, outcome.err) == (3, "error: there is neither a file nor a workflow 'nope.yaml'\n")


# ---- -o ---------------------------------------------------------------------------------------------------


def test_the_written_specification_has_the_schedulers_and_tells_each_job_which(
    proposing: FakeDaemon, cli: Cli, tmp_path: Path
) -> None:
    outcome = cli("slurm", "generate", "w.yaml", "-o", "out.yaml")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "Wrote out.yaml: 2 schedulers added, 3 jobs of the file told which one",
        "torcctl workflows create out.yaml",
        "torcctl slurm schedule-nodes -n 3 --scheduler short",
        "torcctl slurm schedule-nodes -n 1 --scheduler gpu_gpu",
    ]
    spec = load_specification(tmp_path / "out.yaml").spec
    assert [(job.name, job.scheduler) for job in spec.jobs] == [("a", "short"), ("b", "gpu_gpu"), ("c", "short")]
    assert [each.name for each in spec.slurm_schedulers] == ["short", "gpu_gpu"]
    assert (tmp_path / "w.yaml").read_text() == SPEC
    assert cli("-f", "json", "slurm", "generate", "w.yaml", "-o", "out.json").json["output"] == "out.json"
    assert load_specification(tmp_path / "out.json").spec == spec


def test_with_one_scheduler_the_jobs_stay_as_they_are(proposing: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    only = proposal(slurm_schedulers=[SHORT], added=["short"])
    proposing.on("slurm.propose_for_specification", only)
    assert cli("slurm", "generate", "w.yaml", "-o", "out.yaml").out.startswith("Wrote out.yaml: 1 scheduler added\n")
    assert load_specification(tmp_path / "out.yaml").spec.jobs == load_specification(tmp_path / "w.yaml").spec.jobs


def test_jobs_keep_the_scheduler_that_they_name_and_parameters_are_left_to_their_author(
    proposing: FakeDaemon, cli: Cli, tmp_path: Path
) -> None:
    """SEMANTICS 3.1: jobs without requirements have those called "default" """
    (tmp_path / "w.yaml").write_text("""\
name: w
resource_requirements: [{name: default}, {name: r1}, {name: r2, num_gpus: 1}]
slurm_schedulers: [{name: own}]
jobs:
  - {name: a, command: "true"}
  - {name: b, command: "true", scheduler: own}
  - {name: "c{i}", command: "true", resource_requirements: "r{i}", parameters: {i: "1:2"}}
""")
    requirements = [
        served("default", "short"),
        served("default", "own", is_named=True),
        served("r1", "short"),
        served("r2", "gpu_gpu"),
    ]
    schedulers = [{"name": "own", "nodes": 1, "walltime": "01:00:00"}, SHORT, GPU]
    answer = proposal(slurm_schedulers=schedulers, requirements=requirements)
    proposing.on("slurm.propose_for_specification", answer)
    outcome = cli("slurm", "generate", "w.yaml", "-o", "out.yaml")
    assert outcome.err == "warning: 1 job of the file got no scheduler ('c{i}'): name it by hand\n"
    assert [job.scheduler for job in load_specification(tmp_path / "out.yaml").spec.jobs] == ["short", "own", None]


def test_no_file_is_replaced_and_a_workflow_is_none(proposing: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    outcome = cli("slurm", "generate", "w.yaml", "-o", "w.yaml")
    assert (outcome.code, "w.yaml exists, and is not replaced" in outcome.err) == (7, True)
    (tmp_path / "gone.yaml").symlink_to("nowhere.yaml")
    assert "exists" in cli("slurm", "generate", "w.yaml", "-o", "gone.yaml").err
    assert "ends with .yaml, .yml or .json" in cli("slurm", "generate", "w.yaml", "-o", "out.toml").err
    assert "workflow 7 is no file" in cli("slurm", "generate", "7", "-o", "out.yaml").err
    assert proposing.calls == []
    assert "cannot be written: No such file" in cli("slurm", "generate", "w.yaml", "-o", "no/out.yaml").err


# ---- errors -----------------------------------------------------------------------------------------------


def test_what_is_wrong_in_the_file_is_told_with_its_line(proposing: FakeDaemon, cli: Cli) -> None:
    part = {"path": "resource_requirements[0].memory", "field": "memory", "value": "15", "message": "no memory size"}
    proposing.on("slurm.propose_for_specification", Refused("it is wrong", errors=[part], count=1))
    outcome = cli("slurm", "generate", "w.yaml", "-o", "out.yaml")
    assert (outcome.code, outcome.err) == (7, "error: w.yaml:3: resource_requirements[0].memory: no memory size\n")
    assert not Path("out.yaml").exists()


def test_the_words_of_the_scheduler_are_handed_on(proposing: FakeDaemon, cli: Cli) -> None:
    proposing.on("slurm.propose", Unavailable("sinfo: Unable to contact slurm controller"))
    outcome = cli("slurm", "generate", "7")
    assert (outcome.code, outcome.err) == (1, "error: sinfo: Unable to contact slurm controller\n")


def test_an_answer_that_gets_lost_is_asked_for_again(proposing: FakeDaemon, cli: Cli) -> None:
    calls: list[str] = []

    def answer(params: dict[str, Any], session: Session) -> dict[str, Any]:
        calls.append(params["upload"])
        if len(calls) == 1:
            session.drop()
        return proposal()

    proposing.on("slurm.propose_for_specification", answer)
    assert cli("slurm", "generate", "w.yaml").code == 0
    assert len(set(calls)) == 2, "an upload ends with its session"
