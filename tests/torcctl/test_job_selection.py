"""The keys of `jobs reset-status`, and of every other command about many jobs."""

import io
import sys
from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session

from torcd.protocol.errors import NotFound

PLAN = samples.plan(samples.plan_job(4), operation="jobs reset-status", cause="on request")


@pytest.fixture
def reset(daemon: FakeDaemon) -> None:
    """A daemon that knows every job: a name's id is its length; ids are of workflow 9."""

    def find(params: dict[str, Any], session: Session) -> Any:
        found = [*params.get("ids", []), *(len(name) for name in params.get("names", []))]
        return {"workflow_id": params.get("workflow_id") or 9, "jobs": found}

    daemon.on("jobs.find", find)
    daemon.on("jobs.reset_status", {**samples.task(status="succeeded"), "subscription": None})
    daemon.on("tasks.wait", samples.task(result=PLAN))


def selected(daemon: FakeDaemon) -> tuple[int, list[int], str | None, int | None]:
    """What the operation was asked to reset."""
    (request,) = daemon.requests("jobs.reset_status")
    return request["workflow_id"], request.get("jobs", []), request.get("status"), request.get("return_code")


@pytest.mark.usefixtures("reset")
@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (("4", "5"), {"TORC_WORKFLOW_ID": "7"}, (9, [4, 5], None, None)),
        (("4", "04", "4"), {}, (9, [4], None, None)),
        (("abc", "4", "abcde"), {}, (9, [4, 3, 5], None, None)),
        (("abc",), {"TORC_WORKFLOW_ID": "7"}, (7, [3], None, None)),
        (("--workflow-id", "8", "abc", "4"), {"TORC_WORKFLOW_ID": "7"}, (8, [4, 3], None, None)),
        (("4", "--status", "failed"), {}, (9, [4], "failed", None)),
        (("--return-code", "1"), {"TORC_WORKFLOW_ID": "7"}, (7, [], None, 1)),
    ],
)
def test_ids_imply_their_workflow_and_names_are_those_of_the_selected_one(
    daemon: FakeDaemon, cli: Cli, argv: tuple[str, ...], environ: dict[str, str], expected: Any
) -> None:
    """INTERFACE 1: digits are an id"""
    assert cli("jobs", "reset-status", *argv, **environ).out == "Reset 1 job on request\n"
    assert selected(daemon) == expected


@pytest.mark.usefixtures("reset")
@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("--", "-dash"), (7, [5], None, None)),
        (("--", "-", "--force", "--"), (7, [1, 7, 2], None, None)),
        (("4", "--status", "failed", "--", "-x", "05"), (7, [4, 5, 2], "failed", None)),
        (("4", "--"), (7, [4], None, None)),
    ],
)
def test_behind_a_double_dash_every_word_is_a_key(
    daemon: FakeDaemon, cli: Cli, argv: tuple[str, ...], expected: Any
) -> None:
    assert cli("-k", "7", "jobs", "reset-status", *argv).code == 0
    assert selected(daemon) == expected


@pytest.mark.parametrize("verb", ["disable", "enable"])
def test_so_it_is_for_every_command_that_takes_many_keys(daemon: FakeDaemon, cli: Cli, verb: str) -> None:
    daemon.on("jobs.find", {"workflow_id": 7, "jobs": [4]})
    daemon.on(f"jobs.{verb}", {"workflow_id": 7, f"{verb}d": 1, "unchanged": 0, "jobs": [4]})
    assert cli("-k", "7", "jobs", verb, "--", "-dash").code == 0
    assert daemon.requests("jobs.find")[0]["names"] == ["-dash"]


@pytest.mark.usefixtures("reset")
def test_help_is_told_whatever_stands_behind_a_double_dash(cli: Cli) -> None:
    assert "Usage: torcctl" in cli("jobs", "reset-status", "--help", "--", "-dash").out


@pytest.mark.usefixtures("reset")
def test_a_dash_stands_for_the_keys_on_standard_input_one_a_line(
    daemon: FakeDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("5\n6\r\n\n\ttwo words\n4"))
    assert cli("jobs", "reset-status", "4", "-", "--status", "failed").code == 0
    assert selected(daemon) == (9, [4, 5, 6, 9], "failed", None)
    assert daemon.requests("jobs.find")[1]["names"] == ["two words"]


@pytest.mark.parametrize(("argv", "stdin"), [((), ""), (("-",), ""), (("-",), " \n")])
def test_no_key_at_all_is_a_warning_and_nothing_is_asked(
    daemon: FakeDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], stdin: str
) -> None:
    """SEMANTICS §5: an empty shell expansion, or an empty input"""
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    outcome = cli("-f", "json", "jobs", "reset-status", *argv)
    assert (outcome.code, outcome.json) == (0, {"task": None})
    assert outcome.err == "warning: no job was named: nothing was changed\n"
    assert daemon.calls == []


def test_a_dry_run_without_any_key_is_an_empty_plan_for_programs(cli: Cli) -> None:
    plan = cli("-f", "json", "jobs", "reset-status", "--dry-run").json
    assert (plan["operation"], plan["dry_run"], plan["count"], plan["jobs"]) == ("jobs reset-status", True, 0, [])


@pytest.mark.usefixtures("reset")
def test_thousands_of_keys_are_looked_up_in_a_few_requests(daemon: FakeDaemon, cli: Cli) -> None:
    keys = [str(number) for number in range(1, 12_001)]
    assert cli("jobs", "reset-status", *keys).code == 0
    asked = daemon.requests("jobs.find")
    assert [len(request["ids"]) for request in asked] == [5000, 5000, 2000]
    assert [request.get("workflow_id") for request in asked] == [None, 9, 9]
    assert selected(daemon)[1] == list(range(1, 12_001))


@pytest.mark.usefixtures("reset")
def test_what_does_not_exist_refuses_all(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS §5: all or nothing"""
    daemon.on("jobs.find", NotFound("there is no job 5", noun="job", id=5))
    assert cli("jobs", "reset-status", "4", "5").code == 3
    assert daemon.requests("jobs.reset_status") == []


def test_with_k_digits_that_are_no_id_there_may_be_a_name(daemon: FakeDaemon, cli: Cli) -> None:
    def find(params: dict[str, Any], session: Session) -> Any:
        if lost := [number for number in params.get("ids", []) if number != 5]:
            raise NotFound(f"job {lost[0]} is in workflow 12", noun="job", id=lost[0], ids=lost)
        names = {"007": 70, "123": 71}
        if unknown := [name for name in params.get("names", []) if name not in names]:
            raise NotFound(f"workflow 7 has no job named {unknown}", ids=unknown)
        return {"workflow_id": 7, "jobs": [*params.get("ids", []), *(names[name] for name in params.get("names", []))]}

    daemon.on("jobs.find", find)
    daemon.on("jobs.disable", {"workflow_id": 7, "disabled": 3, "unchanged": 0, "jobs": [5, 70, 71]})
    assert cli("-k", "7", "jobs", "disable", "5", "123", "007").code == 0
    assert sorted(daemon.requests("jobs.disable")[0]["jobs"]) == [5, 70, 71]
    assert "job 9 is in workflow 12" in cli("-k", "7", "jobs", "disable", "5", "9").err
    assert cli("jobs", "disable", "123").code == 3, "without -k an id is an id"


def test_so_it_is_for_commands_about_one_job(daemon: FakeDaemon, cli: Cli) -> None:
    jobs = {123: samples.job(123, workflow_id=12), 71: samples.job(71, name="123")}
    daemon.on("jobs.get", lambda params, session: jobs[params["job_id"]])
    daemon.on("jobs.list", {"jobs": [jobs[71]], "next_cursor": None})
    assert cli("-f", "json", "-k", "7", "jobs", "get", "123").json["id"] == 71
    assert cli("-f", "json", "jobs", "get", "123").json["id"] == 123
    daemon.on("jobs.list", {"jobs": [], "next_cursor": None})
    assert "job 123 is in workflow 12, not in workflow 7" in cli("-k", "7", "jobs", "get", "123").err


@pytest.mark.parametrize("token", ["--stauts", "-4", "-x"])
def test_a_key_that_begins_with_a_dash_is_an_unknown_option(daemon: FakeDaemon, cli: Cli, token: str) -> None:
    outcome = cli("jobs", "reset-status", "4", token)
    assert (outcome.code, outcome.out) == (2, "")
    assert token in outcome.err
    assert daemon.calls == []


def test_a_global_option_behind_the_keys_is_told_its_place(cli: Cli) -> None:
    assert "stands before the noun: torcctl -k …" in cli("jobs", "reset-status", "5", "-k", "3").err


def test_input_that_is_closed_or_no_text_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), "utf-8"))
    assert cli("jobs", "reset-status", "-").code == 7
    monkeypatch.setattr(sys, "stdin", None)
    assert cli("jobs", "reset-status", "-").code == 2
