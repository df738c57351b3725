"""`torcctl worker` with a worker that only pretends."""

import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon

import torcctl.worker
from torcctl.worker import WorkerOutcome
from torcd.protocol.address import Address
from torcd.protocol.connection_file import ConnectionFile, read_boot_id


class FakeWorker:
    """Stands in for `run_worker`."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.outcome = WorkerOutcome(complete=True, counts={"completed": 2}, interrupted=False, stranded=False)

    def __call__(self, **arguments: Any) -> WorkerOutcome:
        self.calls.append(arguments)
        arguments["on_progress"]({"completed": 1}, 2)
        return self.outcome


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    fake = FakeWorker()
    monkeypatch.setattr(torcctl.worker, "run_worker", fake)
    return fake


def test_a_worker_makes_nothing_ready_and_tells_how_it_ended(daemon: FakeDaemon, cli: Cli, worker: FakeWorker) -> None:
    outcome = cli("worker", "7")
    assert (outcome.code, outcome.out) == (0, "Worker ended: the workflow is complete. Workflow 7: 2 completed\n")
    assert daemon.requests("workflows.prepare") == []
    (call,) = worker.calls
    assert (call["workflow_id"], call["allocation_id"], call["time_limit_s"], call["linger_s"]) == (7, None, None, 0.0)
    assert call["address"] == call["reconnect"]() == Address(url=daemon.url)


@pytest.mark.parametrize(
    ("ends", "ended", "code"),
    [
        ({"complete": True}, "complete", 0),
        ({"stranded": True}, "nothing_fits", 0),
        ({"is_out_of_time": True}, "out_of_time", 0),
        ({"interrupted": True, "is_out_of_time": True}, "interrupted", 130),
    ],
)
def test_programs_are_told_why_a_worker_ended(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, ends: dict[str, bool], ended: str, code: int
) -> None:
    nothing = {"complete": False, "interrupted": False, "stranded": False, "counts": {"ready": 1}}
    worker.outcome = WorkerOutcome(**(nothing | ends))  # type: ignore[arg-type]  # fields by name
    outcome = cli("-f", "json", "worker", "7")
    assert outcome.code == code
    assert msgspec.json.decode(outcome.out) == {"workflow_id": 7, "ended": ended, "counts": {"ready": 1}}


def test_limits_reach_the_worker(daemon: FakeDaemon, cli: Cli, worker: FakeWorker) -> None:
    limits = ["--max-parallel-jobs=3", "--num-cpus=2", "--memory=2g", "--num-gpus=1", "--output-dir=logs"]
    more = ["--time-limit=01:30:00", "--grace=5", "--wait-for-new-jobs=60"]
    assert cli("worker", "7", *limits, *more).code == 0
    (call,) = worker.calls
    assert (call["max_parallel_jobs"], call["num_cpus"], call["memory_bytes"]) == (3, 2, 2 << 30)
    assert (call["num_gpus"], call["output_dir"]) == (1, Path("logs"))
    assert (call["time_limit_s"], call["grace_s"], call["linger_s"]) == (5400.0, 5.0, 60.0)


@pytest.mark.parametrize(
    ("option", "code", "told"),
    [
        ("--time-limit=soon", 7, "--time-limit: 'soon' is no time; write HH:MM:SS"),
        ("--grace=-1", 2, "--grace: -1 is no number of seconds"),
        ("--time-limit=0:01:40 --grace=90", 2, "--grace: 90 s of the 100 s of --time-limit leave no time for jobs"),
        ("--wait-for-new-jobs=nan", 2, "--wait-for-new-jobs: nan is no number of seconds"),
    ],
)
def test_what_is_no_time_is_refused(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, option: str, code: int, told: str
) -> None:
    outcome = cli("worker", "7", *option.split())
    assert outcome.code == code
    assert told in outcome.err
    assert worker.calls == []


def test_a_worker_starts_no_daemon(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    outcome = cli("worker", "7", TORC_URL="", XDG_RUNTIME_DIR=str(tmp_path / "none"), XDG_STATE_HOME=str(tmp_path))
    assert outcome.code == 5
    assert "start one with `torcctl daemon start`" in outcome.err
    assert worker.calls == []


# ---- in an allocation ----


def write_connection_file(daemon: FakeDaemon, path: Path) -> None:
    named = ConnectionFile(
        host=socket.gethostname(), boot_id=read_boot_id(), pid=os.getpid(), database="/d",
        socket=daemon.url.removeprefix("ws+unix://"),
    )  # fmt: skip
    path.write_bytes(msgspec.json.encode(named))
    path.chmod(0o600)


def test_a_worker_of_an_allocation_finds_the_daemon_of_its_connection_file_and_no_other(
    daemon: FakeDaemon, cli: Cli, worker: FakeWorker, tmp_path: Path
) -> None:
    """Its node may have a daemon of its own, with another workflow 7."""
    other = FakeDaemon(tmp_path / "other.sock")
    path = tmp_path / "connect.json"
    write_connection_file(daemon, path)
    try:
        outcome = cli(
            "worker", "7", TORC_ALLOCATION_ID="5", TORCD_CONNECTION_FILE=str(path), TORC_URL="",
            TORCD_SOCKET=str(tmp_path / "other.sock"),
        )  # fmt: skip
    finally:
        other.stop()
    assert outcome.code == 0
    (call,) = worker.calls
    assert (call["allocation_id"], call["address"]) == (5, Address(url=daemon.url))


def test_a_connection_file_that_is_not_there_is_named(
    cli: Cli, worker: FakeWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torcctl.commands.worker.PATIENCE_S", 0.0)
    path = tmp_path / "nowhere" / "connect.json"
    outcome = cli("worker", "7", TORC_ALLOCATION_ID="5", TORCD_CONNECTION_FILE=str(path), TORC_URL="")
    assert outcome.code == 5
    assert f"there is no connection file {path} on this host" in outcome.err
    assert "do not share" in outcome.err


def test_an_allocation_that_is_no_number_is_refused(cli: Cli, worker: FakeWorker) -> None:
    outcome = cli("worker", "7", TORC_ALLOCATION_ID="five")
    assert (outcome.code, worker.calls) == (2, [])
    assert "TORC_ALLOCATION_ID: 'five'" in outcome.err
