"""Updating workflows from changed specifications: what is sent, what is shown, repetition."""

from pathlib import Path
from typing import Any

import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session

from torcd.protocol.errors import Conflict, NotFound, Refused

SPEC = """\
name: demo
jobs:
  - name: first
    command: echo
  - name: second
    command: echo
    depends_on: [frist]
"""
ALREADY = "Workflow 7 is what the specification says already; nothing was changed"
NOTHING = {"added": 0, "changed": 0, "removed": 0}
FIELD = {"field": "command", "old": "a", "new": "b"}
DIFFERENCES: list[dict[str, Any]] = [
    {"section": "jobs", "change": "added", "id": None, "name": "new_job"},
    {"section": "jobs", "change": "changed", "id": 2, "name": "work_2", "fields": [FIELD, {**FIELD, "field": "env"}]},
    {"section": "jobs", "change": "removed", "id": 3, "name": "old", "results": 0},
    {"section": "jobs", "change": "removed", "id": 4, "name": "older", "results": 1},
    {"section": "jobs", "change": "removed", "id": 5, "name": "oldest\n", "results": 12},
    {"section": "files", "change": "changed", "id": 6, "name": "input", "fields": [{**FIELD, "field": "path"}]},
    {"section": "user_data", "change": "removed", "id": 7, "name": "limit"},
]


def answer(*differences: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a daemon answers; counts follow from the differences."""
    counts = {name: dict(NOTHING) for name in ("jobs", "files", "user_data", "resource_requirements")}
    for each in differences:
        counts[each["section"]][each["change"]] += 1
    fields = {
        "workflow_id": 7, "dry_run": False, "count": len(differences), "plan_digest": "abc", "counts": counts,
        "results_removed": 0, "header": [], "warnings": [], "differences": list(differences), "next_cursor": None,
        "update": "update 1",
    }  # fmt: skip
    return {**fields, **changes}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "flow.yaml"
    path.write_text(SPEC)
    return path


def accept(daemon: FakeDaemon, reply: Any) -> None:
    daemon.on("uploads.append", {"pieces": 1})
    daemon.on("workflows.update", reply)


def test_a_dry_run_lists_what_would_change(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    """SEMANTICS 5.7"""
    header = [{"field": "description", "old": None, "new": "x"}, {"field": "env", "old": {}, "new": {"A": "1"}}]
    accept(daemon, answer(*DIFFERENCES, dry_run=True, header=header, count=9))
    outcome = cli("workflows", "update", "7", "--spec", spec.name, "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "Dry run: 1 job would be added, 1 changed, 3 removed\n"
        "  + new_job\n"
        "  ~ work_2 (command, env)\n"
        "  - old\n"
        "  - older (with 1 result)\n"
        "  - oldest\\n (with 12 results)\n"
        "1 file would be changed\n"
        "  ~ input (path)\n"
        "1 user data would be removed\n"
        "  - limit\n"
        "header would be changed: description, env\n"
    )
    (request,) = daemon.requests("workflows.update")
    (piece,) = daemon.requests("uploads.append")
    assert [job["name"] for job in piece["piece"]["jobs"]] == ["first", "second"]
    assert request == {
        "workflow_id": 7, "header": {"name": "demo"}, "upload": piece["upload"], "dry_run": True, "expect": None
    }  # fmt: skip


def test_an_update_says_what_it_changed(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    accept(daemon, answer(*DIFFERENCES, header=[FIELD]))
    outcome = cli("-k", "7", "workflows", "update", "--spec", spec.name, "--expect", "abc")
    assert outcome.out == (
        "Updated workflow 7: 1 job added, 1 changed, 3 removed\n"
        "1 file changed\n"
        "1 user data removed\n"
        "header changed: command\n"
    )
    assert daemon.requests("workflows.update")[0]["expect"] == "abc"


@pytest.mark.parametrize(("dry_run", "sentence"), [(True, "Dry run: nothing would be changed"), (False, ALREADY)])
def test_nothing_is_said_to_be_nothing(daemon: FakeDaemon, cli: Cli, spec: Path, dry_run: bool, sentence: str) -> None:
    accept(daemon, answer(dry_run=dry_run))
    outcome = cli("workflows", "update", "7", "--spec", spec.name, *(["--dry-run", "--exit-code"] if dry_run else []))
    assert (outcome.code, outcome.out) == (0, sentence + "\n")


def test_what_changes_first_begins_the_sentence(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    accept(daemon, answer(header=[FIELD], count=1))
    assert cli("workflows", "update", "7", "--spec", spec.name).out == "Updated workflow 7: header changed: command\n"
    many = [{"section": "files", "change": "added", "id": number, "name": "f", "path": "/f"} for number in range(2)]
    accept(daemon, answer(*many))
    assert cli("workflows", "update", "7", "--spec", spec.name).out == "Updated workflow 7: 2 files added\n"


def test_programs_get_one_document(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    """INTERFACE §2"""
    accept(daemon, answer(*DIFFERENCES, dry_run=True, warnings=["task 3 (reinit) is active"], results_removed=13))
    outcome = cli("-f", "json", "workflows", "update", "7", "--spec", spec.name, "--dry-run")
    document = outcome.json
    assert list(document) == [
        "workflow_id", "dry_run", "count", "plan_digest", "counts", "jobs", "files", "user_data",
        "resource_requirements", "header", "results_removed", "warnings",
    ]  # fmt: skip
    assert document["jobs"]["added"] == [{"id": None, "name": "new_job"}]
    assert document["jobs"]["changed"][0]["fields"][0] == FIELD
    assert [each["name"] for each in document["jobs"]["removed"]] == ["old", "older", "oldest\n"]
    assert document["resource_requirements"] == {"added": [], "changed": [], "removed": []}
    assert outcome.err == "warning: task 3 (reinit) is active\n"


def test_with_exit_code_a_dry_run_that_changes_something_exits_10(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    """INTERFACE §2"""
    accept(daemon, answer(header=[FIELD], count=1, dry_run=True))
    assert cli("workflows", "update", "7", "--spec", spec.name, "--dry-run", "--exit-code").code == 10
    assert cli("workflows", "update", "7", "--spec", spec.name, "--exit-code").code == 2


def test_pages_are_put_together(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    def page(params: dict[str, Any], session: Session) -> Any:
        assert params["update"] == "update 1"
        cursor = params["cursor"]
        return {"differences": DIFFERENCES[cursor : cursor + 2], "next_cursor": cursor + 2 if cursor < 5 else None}

    accept(daemon, {**answer(*DIFFERENCES), "differences": DIFFERENCES[:2], "next_cursor": 2})
    daemon.on("workflows.update_page", page)
    document = cli("-f", "json", "workflows", "update", "7", "--spec", spec.name).json
    assert sum(len(document[section][change]) for section in answer()["counts"] for change in NOTHING) == 7
    assert cli("workflows", "update", "7", "--spec", spec.name).code == 0
    assert len(daemon.requests("workflows.update_page")) == 3, "a sentence needs no list"


def test_errors_of_the_daemon_get_the_lines_of_the_file(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    """SEMANTICS 3.5"""
    part = {"path": "jobs[1].depends_on[0]", "field": "depends_on", "value": "frist", "message": "no job 'frist'"}
    accept(daemon, Refused("one error", errors=[part], count=1))
    outcome = cli("-f", "json", "workflows", "update", "7", "--spec", spec.name)
    assert (outcome.code, outcome.err) == (7, "error: flow.yaml:7: jobs[1].depends_on[0]: no job 'frist'\n")
    (found,) = outcome.json["error"]["data"]["errors"]
    assert (found["file"], found["line"]) == ("flow.yaml", 7)


@pytest.mark.parametrize(("error", "code"), [(Conflict("a task is active"), 4), (NotFound("no workflow 7"), 3)])
def test_refusals_exit_as_everywhere(daemon: FakeDaemon, cli: Cli, spec: Path, error: Exception, code: int) -> None:
    accept(daemon, error)
    outcome = cli("workflows", "update", "7", "--spec", spec.name)
    assert (outcome.code, outcome.out, outcome.err) == (code, "", f"error: {error}\n")


def test_after_a_lost_answer_all_is_sent_again(daemon: FakeDaemon, cli: Cli, spec: Path) -> None:
    """SEMANTICS 5.7: what was done already is no difference any more"""
    calls: list[str] = []

    def reply(params: dict[str, Any], session: Session) -> Any:
        calls.append(params["upload"])
        if len(calls) == 1:
            session.drop()
        return answer()

    accept(daemon, reply)
    assert cli("workflows", "update", "7", "--spec", spec.name).out == ALREADY + "\n"
    assert len(set(calls)) == 2
    assert len(daemon.requests("uploads.append")) == 2


def test_a_specification_is_needed(daemon: FakeDaemon, cli: Cli) -> None:
    assert cli("workflows", "update", "7").code == 2
    assert cli("workflows", "update", "7", "--spec", "none.yaml").code == 7
    assert daemon.calls == []
