"""The commands that ask and show, from the command line to stdout."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cli_samples as samples
import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon, Session

from torcd.protocol.errors import Conflict, NotFound, TorcError

STATUS = {
    "workflow_id": 7,
    "run_id": 2,
    "total": 3,
    "counts": {"completed": 2, "failed": 1},
    "complete": True,
}


def test_a_list_is_put_together_from_its_pages(daemon: FakeDaemon, cli: Cli) -> None:
    pages = {
        0: {"jobs": [samples.job(1), samples.job(2)], "next_cursor": 2},
        2: {"jobs": [samples.job(3)], "next_cursor": None},
    }
    daemon.on("jobs.list", lambda params, session: pages[params.get("cursor", 0)])
    outcome = cli("-f", "json", "jobs", "list", "7")
    assert outcome.code == 0
    assert [job["job_key"] for job in outcome.json["jobs"]] == [1, 2, 3]
    assert list(outcome.json) == ["jobs"]


def test_an_empty_list_is_an_empty_array(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("results.list", {"results": [], "next_cursor": None})
    outcome = cli("-F", "json", "results", "list", "7")
    assert (outcome.code, outcome.json) == (0, {"results": []})


def test_fields_that_this_client_does_not_know_are_passed_on_to_programs(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.get", {**samples.workflow(7), "colour": "blue"})
    assert cli("-f", "json", "workflows", "get", "7").json["colour"] == "blue"


def test_a_table_without_a_terminal_is_never_cut(daemon: FakeDaemon, cli: Cli) -> None:
    command = "echo " + "x" * 500
    daemon.on("jobs.list", {"jobs": [samples.job(1, command=command)], "next_cursor": None})
    outcome = cli("jobs", "list", "7", COLUMNS="40")
    assert command in outcome.out
    assert len(outcome.out.splitlines()) == 2


def test_control_characters_do_not_reach_the_terminal(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.list", {"jobs": [samples.job(1, command="a\nb\x1b[2J ü")], "next_cursor": None})
    assert "a\\nb\\x1b[2J ü" in cli("jobs", "list", "7").out


def test_what_stands_above_a_column_is_a_filter_too(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("results.list", {"results": [], "next_cursor": None})
    daemon.on("workflows.list", samples.workflows())
    assert cli("results", "list", "7", "-f", "name=c1", "-f", "return code=1", "-f", "job_id=3").code == 0
    expected = [["job_name", "c1"], ["return_code", "1"], ["job_id", "3"]]
    assert daemon.requests("results.list")[0]["filters"] == expected
    assert cli("workflows", "list", "-f", "directory=/data").code == 0
    assert daemon.requests("workflows.list")[0]["filters"] == [["submission_directory", "/data"]]


def test_filters_go_to_the_daemon_and_the_workflow_may_stand_after_them(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.list", {"jobs": [], "next_cursor": None})
    assert cli("jobs", "list", "-f", "status=ready", "--filter", "name=a=b", "7").code == 0
    assert daemon.requests("jobs.list")[0]["filters"] == [["status", "ready"], ["name", "a=b"]]
    assert daemon.requests("jobs.list")[0]["workflow_id"] == 7


@pytest.mark.parametrize("argv", [("list", "-f", "json"), ("list", "7", "-f", "json")])
def test_a_format_after_a_list_is_a_usage_error_that_names_the_right_form(cli: Cli, argv: tuple[str, ...]) -> None:
    outcome = cli("jobs", *argv)
    assert outcome.code == 2
    assert "torcctl -f json" in outcome.err


@pytest.mark.parametrize("option", ["-k", "-n", "-F"])
def test_a_short_global_option_after_the_noun_is_a_usage_error_that_names_the_right_form(cli: Cli, option: str) -> None:
    outcome = cli("jobs", "list", option, "7")
    assert outcome.code == 2
    assert f"torcctl {option} " in outcome.err


@pytest.mark.parametrize(
    "argv", [[], ["workflows"], ["job", "list"], ["jobs", "lst"], ["jobs", "get"], ["tasks", "get", "x"]]
)
def test_a_wrong_command_line_exits_2_and_leaves_stdout_alone(daemon: FakeDaemon, cli: Cli, argv: list[str]) -> None:
    outcome = cli(*argv)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert daemon.calls == []


def test_what_cannot_be_sent_is_refused(cli: Cli) -> None:
    assert cli("-k", "7", "jobs", "get", "caf\udce9").code == 7


def test_status_is_shown_with_its_counts(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.status", STATUS)
    out = cli("workflows", "status", "7").out
    assert "completed: 2\n" in out
    assert "failed: 1\n" in out


# ---- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotFound("no job 9", noun="job", id=9), 3), (Conflict("a task is active", task=4), 4)],
)
def test_an_error_is_text_on_stderr_and_one_document_on_stdout(
    daemon: FakeDaemon, cli: Cli, error: TorcError, code: int
) -> None:
    daemon.on("jobs.get", error)
    outcome = cli("-f", "json", "jobs", "get", "9")
    assert outcome.code == code
    assert outcome.err == f"error: {error.message}\n"
    found = outcome.json["error"]
    assert (found["code"], found["name"], found["message"]) == (error.code, error.name, error.message)
    assert found["data"].items() >= error.data.items()


def test_a_usage_error_is_a_document_too(cli: Cli) -> None:
    outcome = cli("-f", "json", "jobs", "lst")
    assert outcome.code == 2
    assert outcome.json["error"]["name"] == "usage"


def test_without_a_daemon_at_the_users_address_nothing_is_started(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.stop()
    outcome = cli("workflows", "list")
    assert outcome.code == 5
    assert daemon.url in outcome.err


def test_a_query_survives_a_daemon_that_goes_away(daemon: FakeDaemon, cli: Cli) -> None:
    answers = iter([False, True])

    def status(params: dict[str, Any], session: Session) -> Any:
        if next(answers):
            return STATUS
        session.drop()
        return None

    daemon.on("workflows.status", status)
    assert cli("workflows", "status", "7").code == 0


def test_a_change_whose_answer_is_lost_is_not_repeated(daemon: FakeDaemon, cli: Cli) -> None:
    def cancel(params: dict[str, Any], session: Session) -> None:
        session.drop()

    daemon.on("workflows.cancel", cancel)
    outcome = cli("workflows", "cancel", "7")
    assert outcome.code == 5
    assert "unknown" in outcome.err
    assert len(daemon.requests("workflows.cancel")) == 1


def test_a_reader_that_stops_reading_is_no_error(daemon: FakeDaemon, cli: Cli, monkeypatch: Any) -> None:
    daemon.on("jobs.list", {"jobs": [samples.job(1)], "next_cursor": None})
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli("jobs", "list", "7").code == 141


def test_ctrl_c_exits_130(daemon: FakeDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torcctl.context.Context.show_rows", interrupted)
    assert cli("jobs", "list", "7").code == 130


@pytest.mark.parametrize("moment", ["torcctl.app", "torcctl.commands.jobs"])
def test_ctrl_c_while_modules_are_imported_is_told_by_the_exit_code_alone(daemon: FakeDaemon, moment: str) -> None:
    """INTERFACE 2 (Ctrl-C 130)"""
    program = f"""
import os, signal, sys
from torcctl.__main__ import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {moment!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = ["jobs", "list", "7"]
main()
"""
    environ = {**os.environ, "TORC_URL": daemon.url}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


# ---- which workflow ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "environ", "chosen"),
    [
        (("-k", "2", "jobs", "list", "1"), {"TORC_WORKFLOW_ID": "3"}, 1),
        (("-k", "2", "jobs", "list"), {"TORC_WORKFLOW_ID": "3"}, 2),
        (("jobs", "list", "--workflow-id", "2"), {"TORC_WORKFLOW_ID": "3"}, 2),
        (("jobs", "list"), {"TORC_WORKFLOW_ID": "3"}, 3),
        (("jobs", "list"), {}, 7),
    ],
)
def test_the_workflow_is_the_argument_then_k_then_the_environment_then_the_only_one(
    daemon: FakeDaemon, cli: Cli, argv: tuple[str, ...], environ: dict[str, str], chosen: int
) -> None:
    daemon.on("workflows.list", samples.workflows(samples.workflow(6, is_archived=True), samples.workflow(7)))
    daemon.on("jobs.list", {"jobs": [], "next_cursor": None})
    assert cli(*argv, **environ).code == 0
    assert daemon.requests("jobs.list")[0]["workflow_id"] == chosen


def test_without_a_terminal_several_workflows_are_refused_with_the_candidates(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.list", samples.workflows(samples.workflow(1), samples.workflow(2)))
    outcome = cli("-f", "json", "jobs", "list")
    assert outcome.code == 7
    assert outcome.json["error"]["data"]["candidates"] == [1, 2]
    assert "flow-2" in outcome.err


def test_on_a_terminal_several_workflows_are_asked_about(
    daemon: FakeDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.on("workflows.list", samples.workflows(samples.workflow(1), samples.workflow(2)))
    daemon.on("jobs.list", {"jobs": [], "next_cursor": None})
    monkeypatch.setattr("torcctl.context.Context.may_prompt", True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("9\n2\n"))
    outcome = cli("jobs", "list")
    assert daemon.requests("jobs.list")[0]["workflow_id"] == 2
    assert "flow-1" in outcome.err


def test_no_workflow_at_all_is_not_found(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.list", samples.workflows())
    assert cli("jobs", "list").code == 3


def test_an_object_of_another_workflow_than_k_names_is_not_found(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.get", samples.job(4, workflow_id=7))
    daemon.on("jobs.list", {"jobs": [], "next_cursor": None})
    daemon.on("results.get", samples.result(5, workflow_id=7))
    daemon.on("tasks.get", samples.task(6))
    for argv in (("jobs", "update", "4", "--command", "x"), ("results", "get", "5"), ("tasks", "get", "6")):
        assert cli("-k", "8", *argv).code == 3
    assert daemon.requests("jobs.update") == []


def test_a_no_to_a_question_changes_nothing(daemon: FakeDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torcctl.context.Context.may_prompt", True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert cli("workflows", "delete", "7").code == 7
    assert daemon.requests("workflows.delete") == []


# ---- single commands ---------------------------------------------------------------------------------------


def test_a_cancel_that_finds_every_job_ended_says_so(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.cancel", {"workflow_id": 7, "canceled": 0})
    assert cli("workflows", "cancel", "7").out == "Workflow 7: no job was left to cancel\n"
    daemon.on("workflows.cancel", {"workflow_id": 7, "canceled": 2})
    assert cli("workflows", "cancel", "7").out == "Canceled workflow 7\n"


@pytest.mark.parametrize(
    ("counts", "complete", "state"),
    [
        ({"completed": 4}, True, "complete"),
        ({"completed": 3, "canceled": 1}, True, "canceled"),
        ({"running": 1}, False, "canceled"),
    ],
)
def test_the_state_of_a_workflow_is_canceled_when_a_job_is(
    daemon: FakeDaemon, cli: Cli, *, counts: dict[str, int], complete: bool, state: str
) -> None:
    fields = {"workflow_id": 7, "run_id": 1, "total": 4, "counts": counts, "complete": complete, "active_task": None}
    daemon.on("workflows.status", {**fields, "is_canceled": True, "is_archived": False})
    assert f"state: {state}\n" in cli("workflows", "status", "7").out


def test_an_update_sends_only_what_was_given(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.update", samples.job(4))
    assert cli("jobs", "update", "4", "--command", "echo --format", "--no-supports-termination").code == 0
    expected = {"job_id": 4, "command": "echo --format", "supports_termination": False}
    assert daemon.requests("jobs.update") == [expected]
    assert cli("jobs", "update", "4").code == 2


def test_a_job_to_be_edited_may_be_named(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("jobs.list", {"jobs": [samples.job(4, name="fit")], "next_cursor": None})
    daemon.on("jobs.update", samples.job(4))
    assert cli("-k", "7", "jobs", "update", "fit", "--priority", "2").code == 0
    assert daemon.requests("jobs.update") == [{"job_id": 4, "priority": 2}]


def test_user_data_are_named_in_the_selected_workflow_or_by_id(daemon: FakeDaemon, cli: Cli) -> None:
    value = {"id": 3, "user_data_key": 3, "workflow_id": 7, "name": "lr", "data": 1, "is_set": True}
    daemon.on("user_data.update", {**value, "is_ephemeral": False, "version": 2})
    assert cli("-k", "7", "user-data", "update", "lr", "--data", '{"a": [1]}').code == 0
    assert cli("user-data", "update", "3", "--data", "0.5", TORC_JOB_ID="4", TORC_ATTEMPT_ID="2").code == 0
    by_name, by_id = daemon.requests("user_data.update")
    assert (by_name["workflow_id"], by_name["name"], by_name["data"]) == (7, "lr", {"a": [1]})
    assert (by_id["user_data_id"], by_id["job_id"], by_id["attempt_id"]) == (3, 4, 2)


def test_a_value_that_is_not_json_is_refused(cli: Cli) -> None:
    assert cli("user-data", "update", "3", "--data", "{").code == 7


def test_the_latest_attempts_logs_are_printed(daemon: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    for name in ("1.o", "1.e", "2.o", "2.e"):
        (tmp_path / name).write_text(f"<{name}>")

    def attempt(number: int) -> Any:
        base = str(tmp_path / str(number))
        return samples.result(number, attempt_id=number, stdout_path=f"{base}.o", stderr_path=f"{base}.e")

    daemon.on("jobs.list", {"jobs": [samples.job(1)], "next_cursor": None})
    daemon.on("results.list", {"results": [attempt(2), attempt(1)], "next_cursor": None})
    assert cli("-k", "7", "jobs", "logs", "job-1").out == "<2.o><2.e>"


def test_logs_are_followed_until_the_attempt_ends(daemon: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    logs = tmp_path / ".torc" / "7"
    logs.mkdir(parents=True)
    (logs / "job_1_1.o").write_text("one ")
    daemon.on("workflows.get", samples.workflow(7, submission_directory=str(tmp_path)))

    def subscribe(params: dict[str, Any], session: Session) -> Any:
        session.notify("event", subscription=1, event=samples.event(1))
        return {"subscription": 1}

    looks = iter([samples.job(1, status="running"), samples.job(1)])

    def get_job(params: dict[str, Any], session: Session) -> Any:
        found = next(looks)
        if found["status"] == "completed":
            (logs / "job_1_1.e").write_text("two")
        return found

    daemon.on("events.subscribe", subscribe)
    daemon.on("jobs.get", get_job)
    assert cli("jobs", "logs", "1", "-f").out == "one two"


def test_watching_goes_on_after_the_last_event_when_the_daemon_went_away(daemon: FakeDaemon, cli: Cli) -> None:
    """SEMANTICS 7.1"""

    def subscribe(params: dict[str, Any], session: Session) -> Any:
        after = params["from_seq"]
        session.notify("event", subscription=1, event=samples.event(after + 1))
        if after == 2:
            session.notify("event", subscription=1, event=samples.event(4))
            session.notify("ended", subscription=1, reason="deleted")
        else:
            session.drop_after_answer()
        return {"subscription": 1}

    daemon.on("events.subscribe", subscribe)
    outcome = cli("-f", "json", "events", "watch", "7", "--from-seq", "2")
    assert outcome.code == 0
    assert [line.split('"seq":')[1].split(",")[0] for line in outcome.out.splitlines()] == ["2", "3", "4"]


def test_the_schema_has_every_method(cli: Cli) -> None:
    schema = cli("schema").json
    assert schema["methods"]["workflows.reinit"]["params"] == {"$ref": "#/$defs/Reinit"}
    assert "Plan" in schema["answers"]
    assert "event" in schema["notifications"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_the_commands(cli: Cli, shell: str) -> None:
    assert "reset-job-status" in cli("completions", shell).out


# ---- the token ----


@pytest.mark.parametrize(("ended", "sessions"), [(0, "0 sessions"), (1, "1 session"), (2, "2 sessions")])
def test_a_new_token_is_told_and_never_shown(daemon: FakeDaemon, cli: Cli, ended: int, sessions: str) -> None:
    answer = {"rotated": True, "sessions_ended": ended, "connection_file": "/h/connect.json"}
    daemon.on("daemon.rotate_token", answer)
    assert cli("daemon", "rotate-token").out == f"The token was replaced; {sessions} from other hosts ended\n"
    assert cli("-f", "json", "daemon", "rotate-token").json == answer


def test_no_daemon_is_started_to_have_its_token_replaced(cli: Cli, tmp_path: Path) -> None:
    assert cli("daemon", "rotate-token", TORC_URL="", TORCD_SOCKET=str(tmp_path / "none.sock")).code == 5
    assert not (tmp_path / ".local").exists()


# ---- wrong command lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("workflows status 1 2", "there is no place for '2'; see torcctl workflows status --help"),
        ("workflows lst", "torcctl workflows has no 'lst'; did you mean 'list'?; it has: create, update, list,"),
        ("hpc slurm sinfo", "torcctl slurm has no 'sinfo'; it has: schedule-nodes"),
        ("tasks wait abc", 'unable to convert "abc" into a whole number'),
        ("tasks wait 1 --timeout soon", 'unable to convert "soon" into a number'),
        ('jobs update 3 --env {"A":1}', "every value is a text in quotes"),
        ("jobs update 3 --env A=1", "this is no JSON"),
    ],
)
def test_what_is_wrong_is_told_in_words_of_this_program(cli: Cli, words: str, told: str) -> None:
    outcome = cli(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err
    assert "$" not in outcome.err


@pytest.mark.parametrize(
    "words",
    ["workflows get", "jobs get", "jobs update --priority 1", "jobs reset-status", "files get", "user-data get",
     "results get", "workers get", "allocations get", "slurm cancel", "tasks get", "tasks wait", "tasks cancel", "run"],
)  # fmt: skip
def test_a_number_that_no_id_can_be_is_not_found(daemon: FakeDaemon, cli: Cli, words: str) -> None:
    """INTERFACE §2: exit 3"""
    number = str(2**64)
    outcome = cli(*words.split(), number)
    assert (outcome.code, daemon.calls) == (3, [])
    assert number in outcome.err
