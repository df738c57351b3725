"""Creating workflows from specifications: upload, errors with their lines, repetition."""

import json
from pathlib import Path
from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session

from torcctl import create
from torcd.protocol.errors import Refused

CREATED = {**samples.workflow(7), "counts": {"jobs": 2}, "dry_run": False}
SPEC = """\
name: demo
jobs:
  - name: first
    command: echo
  - name: second
    command: echo
    depends_on: [frist]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "flow.yaml"
    path.write_text(SPEC)
    return path


def accept(daemon: FakeDaemon) -> None:
    daemon.on("uploads.append", {"pieces": 1})
    daemon.on("workflows.create", CREATED)
    daemon.on("workflows.list", samples.workflows())


def test_a_specification_is_uploaded_and_created_in_the_current_directory(
    daemon: FakeDaemon, cli: Cli, spec: Path
) -> None:
    """SEMANTICS 3.6"""
    accept(daemon)
    outcome = cli("workflows", "create", spec.name)
    assert (outcome.code, outcome.out) == (0, "Created workflow 7 with 2 jobs\n")
    (piece,) = daemon.requests("uploads.append")
    (request,) = daemon.requests("workflows.create")
    assert [job["name"] for job in piece["piece"]["jobs"]] == ["first", "second"]
    assert request["upload"] == piece["upload"]
    assert request["header"] == {"name": "demo"}
    assert request["directory"] == str(spec.parent)
    assert request["request_key"]


def test_standard_input_is_a_dash(daemon: FakeDaemon, cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(daemon)
    with spec.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert cli("workflows", "create", "-").code == 0
    assert cli("workflows", "create", "--nothing-like-it").code == 2


def test_programs_get_the_workflow(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    accept(daemon)
    (spec.parent / "sub").mkdir()
    created = cli("-f", "json", "workflows", "create", str(spec), "--directory", "sub").json
    assert (created["workflow_id"], created["counts"]) == (7, {"jobs": 2})
    assert daemon.requests("workflows.create")[0]["directory"] == str(spec.parent / "sub")


def test_many_pieces_arrive_in_order(
    daemon: FakeDaemon, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "PIECE_BYTES", 200)
    accept(daemon)
    jobs = [{"name": f"j{number}", "command": "true"} for number in range(50)]
    (tmp_path / "big.json").write_text(json.dumps({"name": "big", "jobs": jobs}))
    assert cli("workflows", "create", "big.json").code == 0
    pieces = daemon.requests("uploads.append")
    assert len(pieces) > create.PIECES_IN_FLIGHT
    assert [job["name"] for piece in pieces for job in piece["piece"]["jobs"]] == [job["name"] for job in jobs]


def test_errors_of_the_daemon_get_the_lines_of_the_file(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    """SEMANTICS 3.5"""
    accept(daemon)
    part = {"path": "jobs[1].depends_on[0]", "field": "depends_on", "value": "frist", "message": "no job 'frist'"}
    daemon.on("workflows.create", Refused("one error", errors=[part], count=1))
    outcome = cli("-f", "json", "workflows", "create", spec.name)
    assert outcome.code == 7
    assert outcome.err == "error: flow.yaml:7: jobs[1].depends_on[0]: no job 'frist'\n"
    (found,) = outcome.json["error"]["data"]["errors"]
    assert (found["file"], found["line"]) == ("flow.yaml", 7)


def test_a_dry_run_creates_nothing_and_counts(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    accept(daemon)
    counts = {"jobs": 2, "files": 1, "user_data": 1, "scripts": 0}
    daemon.on("workflows.create", {"counts": counts, "dry_run": True})
    outcome = cli("workflows", "create", str(spec), "--dry-run")
    told = "Dry run: a workflow would be created with 2 jobs, 1 file, 1 user data, 0 scripts\n"
    assert (outcome.out, outcome.err) == (told, "")
    assert daemon.requests("workflows.create")[0]["dry_run"]


def test_after_a_lost_answer_all_is_sent_again_under_the_same_key(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    """SEMANTICS 6.4"""
    accept(daemon)
    keys: list[str] = []

    def answer(params: dict[str, Any], session: Session) -> Any:
        keys.append(params["request_key"])
        if len(keys) == 1:
            session.drop()
        return CREATED

    daemon.on("workflows.create", answer)
    assert cli("workflows", "create", str(spec)).code == 0
    assert len(set(keys)) == 1
    assert len(daemon.requests("uploads.append")) == 2


def test_a_file_that_cannot_be_read_is_refused_before_the_daemon_is_asked(daemon: FakeDaemon, cli: Cli) -> None:
    assert cli("workflows", "create", "none.yaml").code == 7
    assert daemon.calls == []


def test_a_workflow_without_jobs_is_created_with_a_warning(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    accept(daemon)
    daemon.on("workflows.create", {**CREATED, "counts": {"jobs": 0}})
    outcome = cli("workflows", "create", spec.name)
    assert (outcome.code, outcome.out) == (0, "Created workflow 7 with 0 jobs\n")
    assert outcome.err == "warning: flow.yaml has no jobs: there is nothing to run\n"
