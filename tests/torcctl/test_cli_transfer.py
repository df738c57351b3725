"""Exporting and importing at the command line: whole documents or none, in files, pipes and after lost connections."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session

from torcd.protocol.errors import Refused
from torcd.protocol.pieces import PIECE_BYTES, cut

PIECES = ['{\n  "format": "torc-workflow",\n  "na', 'me": "größer"\n', "}\n"]
TEXT = "".join(PIECES)
DOCUMENT = Path(__file__).parents[1] / "documents" / "version_1.json"
CREATED = {**samples.workflow(7), "counts": {"jobs": 13, "results": 3}, "warnings": ["2 jobs …"], "dry_run": False}


def answer(cursor: int) -> dict[str, Any]:
    following = cursor + 1 if cursor + 1 < len(PIECES) else None
    return {"export": "export 1", "text": PIECES[cursor], "next_cursor": following}


@pytest.fixture
def exporter(daemon: FakeDaemon) -> FakeDaemon:
    daemon.on("workflows.export", answer(0))
    daemon.on("exports.piece", lambda params, session: answer(params["cursor"]))
    return daemon


@pytest.fixture
def importer(daemon: FakeDaemon) -> FakeDaemon:
    daemon.on("uploads.append_document", {"pieces": 1})
    daemon.on("workflows.import", CREATED)
    return daemon


def here(tmp_path: Path, **changes: Any) -> Path:
    """The sample, in a directory that exists."""
    document = {**json.loads(DOCUMENT.read_text()), "directory": str(tmp_path), **changes}
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def received(daemon: FakeDaemon) -> list[Any]:
    """The lines that were sent, decoded."""
    text = "".join(request["piece"] for request in daemon.requests("uploads.append_document"))
    return [json.loads(line) for line in text.splitlines()]


# ---- export ----


@pytest.mark.parametrize("options", [(), ("-f", "json")])
def test_stdout_is_the_document_and_nothing_else(exporter: FakeDaemon, cli: Cli, options: tuple[str, ...]) -> None:
    outcome = cli(*options, "workflows", "export", "7", "--results")
    assert (outcome.code, outcome.out, outcome.err) == (0, TEXT, "")
    assert exporter.requests("workflows.export") == [{"workflow_id": 7, "results": True}]
    assert [request["cursor"] for request in exporter.requests("exports.piece")] == [1, 2]


def test_a_file_appears_when_the_document_is_complete(exporter: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    def check(params: dict[str, Any], session: Session) -> Any:
        assert not (tmp_path / "w.json").exists()
        return answer(params["cursor"])

    exporter.on("exports.piece", check)
    before = set(os.listdir(tmp_path))
    outcome = cli("workflows", "export", "7", "--output", "w.json")
    assert (outcome.code, outcome.out) == (0, "Exported workflow 7 to w.json\n")
    assert (tmp_path / "w.json").read_text() == TEXT
    assert set(os.listdir(tmp_path)) - before == {"w.json"}
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "w.json").stat().st_mode) == 0o666 & ~umask


def test_programs_are_told_where_it_is(exporter: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    told = cli("-f", "json", "workflows", "export", "7", "--output", "w.json").json
    assert told == {"workflow_id": 7, "output": str(tmp_path / "w.json"), "bytes": len(TEXT.encode())}


def test_a_file_that_exists_is_replaced_only_by_force(exporter: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text("precious")
    outcome = cli("workflows", "export", "7", "--output", "w.json")
    assert (outcome.code, outcome.err) == (7, "error: w.json exists: --force replaces it\n")
    assert (tmp_path / "w.json").read_text() == "precious"
    assert exporter.calls == [], "the daemon was not even asked"
    (tmp_path / "link").symlink_to("w.json")
    assert cli("workflows", "export", "7", "--output", "link", "--force").code == 0
    assert (tmp_path / "w.json").read_text() == TEXT
    assert (tmp_path / "link").is_symlink()


def test_what_cannot_be_written_is_refused(exporter: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for target in ("directory", "pipe", "/dev/null"):
        outcome = cli("workflows", "export", "7", "--output", target, "--force")
        assert outcome.code == 7, target
        assert "not a regular file" in outcome.err
    outcome = cli("workflows", "export", "7", "--output", "nowhere/w.json")
    assert (outcome.code, outcome.err) == (7, "error: nowhere/w.json cannot be written: No such file or directory\n")


def test_after_a_failure_nothing_is_left(exporter: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    exporter.on("exports.piece", Refused("no"))
    before = set(os.listdir(tmp_path))
    assert cli("workflows", "export", "7", "--output", "w.json").code == 7
    assert set(os.listdir(tmp_path)) == before
    outcome = cli("workflows", "export", "7")
    assert (outcome.code, outcome.out) == (7, "")


@pytest.mark.parametrize("target", [(), ("--output", "w.json")])
def test_a_connection_that_is_lost_makes_it_begin_anew(
    exporter: FakeDaemon, cli: Cli, tmp_path: Path, target: tuple[str, ...]
) -> None:
    """Each document is of one snapshot, and one session."""
    lost: list[int] = []

    def answer_once_lost(params: dict[str, Any], session: Session) -> Any:
        if not lost:
            lost.append(params["cursor"])
            session.drop()
        return answer(params["cursor"])

    exporter.on("exports.piece", answer_once_lost)
    outcome = cli("workflows", "export", "7", *target)
    assert outcome.code == 0
    assert (outcome.out if not target else (tmp_path / "w.json").read_text()) == TEXT
    assert len(exporter.requests("workflows.export")) == 2


# ---- import ----


def test_a_document_is_sent_as_lines(importer: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    path = here(tmp_path)
    outcome = cli("workflows", "import", path.name)
    assert (outcome.code, outcome.out) == (0, "Created workflow 7 with 13 jobs, 3 results\n")
    assert outcome.err == "warning: 2 jobs …\n"
    document = json.loads(path.read_text())
    head, *rest = received(importer)
    assert head["name"] == "study"
    assert [line for line in rest if isinstance(line, str)] == ["files", "scripts", "user_data", "jobs", "results"]
    assert rest[rest.index("jobs") + 1 : rest.index("results")] == document["jobs"]
    (request,) = importer.requests("workflows.import")
    assert request["upload"] == importer.requests("uploads.append_document")[0]["upload"]
    assert request["request_key"]
    assert "directory" not in request or request["directory"] is None


def test_programs_get_the_workflow_with_counts_and_warnings(importer: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = here(tmp_path, directory="/nowhere at all")
    created = cli("-f", "json", "workflows", "import", str(path), "--directory", "sub").json
    assert created == CREATED
    assert importer.requests("workflows.import")[0]["directory"] == str(tmp_path / "sub")


def test_standard_input_is_a_dash(
    importer: FakeDaemon, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with here(tmp_path).open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert cli("workflows", "import", "-").code == 0
    assert received(importer)[0]["name"] == "study"


def test_an_option_that_does_not_exist_is_not_taken_for_a_file(daemon: FakeDaemon, cli: Cli) -> None:
    outcome = cli("workflows", "import", "--directroy")
    assert (outcome.code, daemon.calls) == (2, [])
    assert "Unknown option: --directroy" in outcome.err


def test_a_directory_that_is_not_there_is_refused_at_once(importer: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    path = here(tmp_path, directory="/nowhere at all")
    outcome = cli("workflows", "import", str(path))
    assert outcome.code == 7
    assert "there is no directory /nowhere at all: it is where the jobs run; see --directory" in outcome.err
    assert importer.calls == []


def test_errors_of_the_daemon_get_the_lines_of_the_document(importer: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    path = here(tmp_path)
    part = {"path": "jobs[1].status", "field": "status", "value": "x", "message": "no status 'x'"}
    other = {"path": "name", "field": "name", "value": "", "message": "empty"}
    importer.on("workflows.import", Refused("errors", errors=[part, other], count=30))
    outcome = cli("-f", "json", "workflows", "import", path.name)
    assert outcome.code == 7
    where = [line.split(":")[0] for line in path.read_text().split('"jobs"')[0].splitlines()]
    assert outcome.err.splitlines()[0] == "error: the document has 30 errors:"
    errors = outcome.json["error"]["data"]["errors"]
    assert [error["file"] for error in errors] == [path.name] * 2
    lines = path.read_text().splitlines()
    assert '"status": "completed"' in lines[errors[0]["line"] - 1]
    assert errors[0]["line"] > len(where)
    assert '"name": "study"' in lines[errors[1]["line"] - 1]
    assert outcome.err.splitlines()[-1] == "… and 28 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("  \n ", "it is empty"),
        ("[1]", "it is not an object"),
        ("name: study\n", "not JSON"),
        ('{"jobs": {}}', "jobs is not a list"),
        ('{"a": 1,\n"b": [1, 2}', "not JSON"),
        ('{"a": "\\ud800"}', "not JSON"),
        ('{"a": ' + "[" * 100_000, "nested"),
        ('{"a": NaN}', "not JSON"),
        ("{} {}", "not JSON"),
    ],
)
def test_what_is_no_document_is_refused_before_the_daemon_is_asked(
    daemon: FakeDaemon, cli: Cli, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "bad.json").write_text(text)
    outcome = cli("workflows", "import", "bad.json")
    assert outcome.code == 7
    assert outcome.err.startswith("error: bad.json")
    assert f"no exported workflow: {message}" in outcome.err
    assert daemon.calls == []


def test_a_file_that_is_not_text_is_refused(daemon: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b'{"a": "\xff"}')
    assert "bad.json:1: not UTF-8" in cli("workflows", "import", "bad.json").err
    assert cli("workflows", "import", "none.json").code == 7
    assert daemon.calls == []


def test_after_a_lost_answer_all_is_sent_again_under_the_same_key(
    importer: FakeDaemon, cli: Cli, tmp_path: Path
) -> None:
    """SEMANTICS 6.4"""
    keys: list[str] = []

    def answer(params: dict[str, Any], session: Session) -> Any:
        keys.append(params["request_key"])
        if len(keys) == 1:
            session.drop()
        return CREATED

    importer.on("workflows.import", answer)
    assert cli("workflows", "import", str(here(tmp_path))).code == 0
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(importer.requests("uploads.append_document")) == 2


# ---- pieces ----


def test_no_piece_is_too_long_and_none_ends_within_a_character() -> None:
    texts = ["é" * 7, "", "文" * 100, "x", "\U0001f600" * 9]
    for limit in range(4, 40):
        pieces = list(cut((text.encode() for text in texts), limit))
        assert "".join(pieces) == "".join(texts)
        assert max(len(piece.encode()) for piece in pieces) <= limit
    assert 2 * PIECE_BYTES < 1024**2, "also when every character has to be escaped"
    assert list(cut([])) == []
