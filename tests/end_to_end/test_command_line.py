"""Where options stand, how filters work, when somebody is asked (INTERFACE 2)."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from contract import Ran
from real_system import PATIENCE_S, System

# ---- options ----


def test_options_stand_before_the_noun_and_the_long_ones_also_after_it(system: System, ran: Ran) -> None:
    """INTERFACE 2 (global options)"""
    at = str(ran.workflow_id)
    wanted = system.torcctl("jobs", "list", at, json=True)
    for words in (
        ["-F", "json", "jobs", "list", at],
        ["--format", "json", "jobs", "list", at],
        ["--output-format=json", "-k", at, "jobs", "list"],
        ["--workflow-key", at, "-fjson", "jobs", "list"],
        ["--workflow-id", at, "-n", "-f", "json", "jobs", "list"],
        ["jobs", "list", "--format", "json", at],
        ["jobs", "list", "--workflow-key", at, "--no-prompts", "--format=json"],
        ["jobs", "list", "--url", system.url, at, "--format", "json"],
    ):
        assert system.torcctl(*words).json == wanted, words
    by_environment = system.torcctl("jobs", "list", env={"TORC_FORMAT": "json", "TORC_WORKFLOW_ID": at})
    assert by_environment.json == wanted
    assert system.torcctl("--version").out.startswith("torcctl ")


def test_f_json_after_a_list_is_a_usage_error_that_names_the_right_form(system: System, ran: Ran) -> None:
    """INTERFACE 2"""
    for words in (["jobs", "list"], ["jobs", "list", str(ran.workflow_id)], ["workflows", "list"]):
        failed = system.torcctl(*words, "-f", "json", check=False)
        assert failed.code == 2
        assert "torcctl -f json" in failed.err


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["status=failed"], ["bad"]),
        (["status=done"], ["bad", "good"]),
        (["return_code=0"], ["good"]),
        (["return_code=1"], ["bad"]),
        (["return_code=01"], ["bad"]),
        (["priority=5.0"], ["bad"]),
        (["status=canceled", "status_reason=upstream_failed"], ["after"]),
        (["status=done", "return_code=0"], ["good"]),
        (["name=nobody"], []),
    ],
)
def test_filters_are_anded_and_compare_numbers_as_numbers(
    system: System, ran: Ran, filters: list[str], names: list[str]
) -> None:
    """SEMANTICS 2 (older names); INTERFACE 2 (-f/--filter)"""
    words = [word for text in filters for word in ("-f", text)]
    listed = system.torcctl("jobs", "list", *words, ran.workflow_id, json=True)["jobs"]
    assert [job["name"] for job in listed] == names
    words = [f"--filter={text}" for text in filters]
    listed = system.torcctl("jobs", "list", ran.workflow_id, *words, json=True)["jobs"]
    assert [job["name"] for job in listed] == names


def test_the_workflow_may_be_left_out_when_there_is_only_one(alone: System) -> None:
    """INTERFACE 2 (<workflow>)"""
    assert alone.torcctl("jobs", "list", check=False).code == 3
    spec = alone.spec({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    alone.torcctl("workflows", "create", spec)
    assert len(alone.torcctl("jobs", "list", json=True)["jobs"]) == 1
    alone.torcctl("workflows", "create", spec)
    refused = alone.torcctl("-f", "json", "jobs", "list", check=False)
    assert refused.code == 7
    assert refused.json["error"]["data"]["candidates"] == [1, 2]
    assert "1  w" in refused.err
    assert "2  w" in refused.err

    def listed(*words: str, **env: str) -> int:
        owner: int = alone.torcctl(*words, json=True, env=env)["jobs"][0]["workflow_id"]
        return owner

    assert listed("jobs", "list", TORC_WORKFLOW_ID="2") == 2
    assert listed("-k", "1", "jobs", "list", TORC_WORKFLOW_ID="2") == 1
    assert listed("-k", "1", "jobs", "list", "2", TORC_WORKFLOW_ID="1") == 2


# ---- prompts and progress ----


def answer_on_terminal(system: System, words: list[str], answer: str) -> tuple[int, str]:
    """Runs a command on a terminal, types an answer to its prompt: exit code and all that was shown."""
    controller, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "torcctl", *words],
        cwd=system.work,
        env={**system.environ, "TERM": "dumb"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown, deadline, answered = b"", time.monotonic() + PATIENCE_S, False
    try:
        while True:
            ready, _, _ = select.select([controller], [], [], deadline - time.monotonic())
            assert ready, shown
            try:
                shown += os.read(controller, 4096)
            except OSError:  # EIO: the other side has closed the terminal
                break
            if not answered and shown.endswith((b"] ", b"id: ")):
                os.write(controller, answer.encode() + b"\n")
                answered = True
    finally:
        os.close(controller)
    return child.wait(PATIENCE_S), shown.decode()


def test_a_prompt_appears_only_on_a_terminal_and_no_changes_nothing(system: System) -> None:
    """INTERFACE 2 (prompts)"""
    workflow_id = str(system.create({"name": "w", "jobs": []}))
    words = ["workflows", "delete", workflow_id]
    code, shown = answer_on_terminal(system, words, "n")
    assert code == 7
    assert f"Delete workflow {workflow_id}" in shown
    assert system.torcctl("workflows", "get", workflow_id).code == 0
    code, shown = answer_on_terminal(system, words, "y")
    assert (code, "Deleted" in shown) == (0, True)

    again = str(system.create({"name": "w", "jobs": []}))
    code, shown = answer_on_terminal(system, ["-n", "workflows", "delete", again], "n")
    assert (code, "?" in shown) == (0, False)

    third = system.create({"name": "w", "jobs": []})
    deleted = system.torcctl("workflows", "delete", third, stdin="n\n")
    assert (deleted.err, deleted.code) == ("", 0)


def test_stdout_is_the_result_and_nothing_else(system: System, ran: Ran) -> None:
    """INTERFACE 2"""
    spec = system.spec({"name": "quiet", "jobs": [{"name": "a", "command": "echo noise; echo noise >&2"}]})
    run = system.torcctl("run", spec)
    assert re.fullmatch(r"Workflow \d+: 1 completed\n", run.out)
    assert "noise" not in run.err
    assert "\x1b" not in run.err
