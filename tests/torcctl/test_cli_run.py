"""`torcctl run` with a worker that only pretends."""

from pathlib import Path
from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon

import torcctl.worker
from torcctl.worker import WorkerOutcome
from torcd.protocol.address import Address
from torcd.protocol.errors import Conflict


class FakeWorker:
    """Stands in for `run_worker`."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.interrupted = False

    def __call__(self, **arguments: Any) -> WorkerOutcome:
        self.calls.append(arguments)
        arguments["on_progress"]({"completed": 1}, 2)
        return WorkerOutcome(complete=not self.interrupted, counts={}, interrupted=self.interrupted, stranded=False)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    fake = FakeWorker()
    monkeypatch.setattr(torcctl.worker, "run_worker", fake)
    return fake


def ready(daemon: FakeDaemon, **counts: int) -> None:
    """A workflow that can be prepared and ends with these counts."""
    status = {"workflow_id": 7, "run_id": 1, "total": sum(counts.values()), "counts": counts, "complete": True}
    daemon.on("workflows.prepare", samples.task(status="succeeded"))
    daemon.on("tasks.wait", samples.task())
    daemon.on("workflows.status", status)


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"completed": 2, "disabled": 1}, 0),
        ({}, 0),
        ({"completed": 2, "canceled": 1}, 1),
        ({"completed": 2, "ready": 1}, 1),
    ],
)
def test_a_run_is_good_when_every_job_is_completed_or_disabled(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, counts: dict[str, int], code: int
) -> None:
    ready(daemon, **counts)
    assert cli("run", "7").code == code
    assert len(worker.calls) == 1


@pytest.mark.parametrize("argv", [("run", "7", "--force"), ("workflows", "run", "7", "--force"), ("run", "7")])
def test_a_run_goes_on_without_missing_inputs_when_told_so(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, argv: tuple[str, ...]
) -> None:
    """SEMANTICS 5.1: `run` makes the checks of initialize"""
    ready(daemon, completed=1)
    assert cli(*argv).code == 0
    assert daemon.requests("workflows.prepare")[0].get("force", False) == ("--force" in argv)


def test_limits_reach_the_worker(daemon: FakeDaemon, cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    ready(daemon, completed=1)
    limits = ["--max-parallel-jobs=3", "--num-cpus=2", "--memory=2g", "--num-gpus=1", "--output-dir=logs"]
    assert cli("run", "7", *limits).code == 0
    (call,) = worker.calls
    assert (call["max_parallel_jobs"], call["num_cpus"], call["memory_bytes"]) == (3, 2, 2 << 30)
    assert (call["num_gpus"], call["output_dir"], call["workflow_id"]) == (1, Path("logs"), 7)
    assert call["address"] == call["reconnect"]() == Address(url=daemon.url)


@pytest.mark.parametrize("size", ["2x", "-1", "0", "1.5g", ""])
def test_a_bad_memory_size_is_refused_before_anything_starts(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, size: str
) -> None:
    assert cli("run", "7", f"--memory={size}").code == 7
    assert daemon.calls == []


def test_what_failed_is_told_on_stderr(daemon: FakeDaemon, cli: Cli, worker: FakeWorker) -> None:
    ready(daemon, completed=1, failed=12)
    failed = [samples.job(number, status="failed", return_code=3) for number in range(1, 11)]
    daemon.on("jobs.list", {"jobs": failed, "next_cursor": 10})
    daemon.on("results.list", {"results": [samples.result(1, stderr_path="/logs/1.e")], "next_cursor": None})
    outcome = cli("run", "7")
    assert outcome.code == 1
    assert outcome.out == "Workflow 7: 1 completed, 12 failed\n"
    assert "job-10  failed" in outcome.err
    assert "/logs/1.e" in outcome.err
    assert "2 more" in outcome.err
    assert daemon.requests("jobs.list")[0]["filters"] == [["status", "failed"]]


def test_programs_get_the_status(daemon: FakeDaemon, cli: Cli, worker: FakeWorker) -> None:
    ready(daemon, completed=2)
    assert cli("-f", "json", "run", "7").json["counts"] == {"completed": 2}


def test_an_operation_under_way_is_waited_for(daemon: FakeDaemon, cli: Cli, worker: FakeWorker) -> None:
    ready(daemon, completed=1)
    answers = iter([Conflict("task 5 is active", task_id=5), samples.task()])
    daemon.on("workflows.prepare", lambda params, session: next(answers))
    daemon.on("tasks.wait", samples.task(5))
    assert cli("run", "7").code == 0
    assert daemon.requests("tasks.wait")[0]["task_id"] == 5


def test_a_workflow_that_cannot_be_prepared_is_not_run(daemon: FakeDaemon, cli: Cli, worker: FakeWorker) -> None:
    """SEMANTICS 5.1"""
    ready(daemon)
    daemon.on("tasks.wait", samples.task(status="failed", error="input a is missing", error_code=422))
    assert cli("run", "7").code == 7
    assert worker.calls == []


def test_an_interrupted_run_exits_130(daemon: FakeDaemon, cli: Cli, worker: FakeWorker) -> None:
    ready(daemon, completed=1)
    worker.interrupted = True
    assert cli("workflows", "run", "7").code == 130


def test_a_specification_is_created_first_with_a_warning_about_its_twin(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, tmp_path: Path
) -> None:
    """SEMANTICS 3.7"""
    (tmp_path / "flow.yaml").write_text("name: demo\njobs: [{name: a, command: 'true'}]\n")
    here = str(tmp_path)
    daemon.on(
        "workflows.list",
        samples.workflows(
            samples.workflow(3, submission_directory="/elsewhere"),
            samples.workflow(4, submission_directory=here),
            samples.workflow(5, submission_directory=here, is_archived=True),
        ),
    )
    ready(daemon, completed=1)
    daemon.on("uploads.append", {})
    daemon.on("workflows.create", {**samples.workflow(9), "counts": {}, "dry_run": False})
    outcome = cli("run", "flow.yaml")
    assert outcome.code == 0
    assert worker.calls[0]["workflow_id"] == 9
    assert "warning: workflow 4 has the same name" in outcome.err
    assert "torcctl workflows reinit 4" in outcome.err


def test_a_specification_may_be_run_in_another_directory(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, tmp_path: Path
) -> None:
    """SEMANTICS 3.6"""
    (tmp_path / "flow.yaml").write_text("name: demo\njobs: [{name: a, command: 'true'}]\n")
    (tmp_path / "study").mkdir()
    ready(daemon, completed=1)
    daemon.on("workflows.list", samples.workflows())
    daemon.on("uploads.append", {})
    daemon.on("workflows.create", {**samples.workflow(7), "counts": {"jobs": 1}, "dry_run": False})
    assert cli("run", "flow.yaml", "--directory", "study").code == 0
    assert daemon.requests("workflows.create")[0]["directory"] == str(tmp_path / "study")
    assert cli("run", "7", "--directory", "study").code == 2
