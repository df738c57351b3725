"""Actions with a real daemon: commands at the start, the end and between, once and only once (SEMANTICS 2.7)."""

import json
import os
import time
from typing import Any

from real_system import PATIENCE_S, System


def note(text: str) -> str:
    """A command that leaves a line behind."""
    return f"echo {text} >> notes"


def steps(*actions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """a1 and a2, then b."""
    return {
        "name": "steps",
        "files": [{"name": "in", "path": "in.txt"}],
        "jobs": [
            {"name": "a1", "command": "true", "input_files": ["in"]},
            {"name": "a2", "command": "true"},
            {"name": "b", "command": note("b"), "depends_on": ["a1", "a2"]},
        ],
        "actions": list(actions),
        **more,
    }


def run_commands(trigger: str, *commands: str, **more: Any) -> dict[str, Any]:
    return {"trigger_type": trigger, "action_type": "run_commands", "commands": list(commands), **more}


def firings(system: System, workflow_id: int) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = system.torcctl("actions", "firings", workflow_id, json=True)["firings"]
    return listed


def ended(system: System, workflow_id: int, count: int) -> list[dict[str, Any]]:
    """All firings once so many have ended."""
    deadline = time.monotonic() + PATIENCE_S
    select = "SELECT count(*) FROM firing WHERE workflow_id = ? AND status NOT IN ('queued', 'running')"
    while system.sql(select, workflow_id) != [(count,)]:
        assert time.monotonic() < deadline, firings(system, workflow_id)
        time.sleep(0.02)
    return firings(system, workflow_id)


ALL = [
    run_commands("on_workflow_start", note("start")),
    run_commands("on_jobs_ready", note("ready"), jobs=["b"]),
    run_commands("on_jobs_complete", note("done"), job_name_regexes=["a."]),
    run_commands("on_workflow_complete", note("end")),
]


def test_actions_fire_once_at_their_moments_and_again_only_after_a_change(system: System) -> None:
    system.write("in.txt", "one")
    workflow_id = system.create(steps(*ALL))
    listed = system.torcctl("actions", "list", workflow_id, json=True)["actions"]
    assert [(each["number"], each["is_armed"], each["num_jobs"], each["status"]) for each in listed] == [
        (1, True, None, None), (2, True, 1, None), (3, True, 2, None), (4, True, None, None),
    ]  # fmt: skip
    system.torcctl("run", workflow_id)
    done = ended(system, workflow_id, 4)
    assert {each["status"] for each in done} == {"succeeded"}
    assert sorted(system.read("notes").split()) == ["b", "done", "end", "ready", "start"]
    # a reinit that changes nothing fires nothing, a run with nothing to do neither
    system.torcctl("workflows", "reinit", workflow_id)
    system.torcctl("run", workflow_id)
    assert len(firings(system, workflow_id)) == 4
    system.write("in.txt", "another")
    system.torcctl("workflows", "reinit", workflow_id)
    system.torcctl("run", workflow_id)
    ended(system, workflow_id, 8)
    assert sorted(system.read("notes").split()) == sorted(["b", "done", "end", "ready", "start"] * 2)
    table = system.torcctl("actions", "list", workflow_id).out
    assert "on_workflow_complete" in table


def test_commands_get_what_jobs_get_and_stop_at_the_first_that_fails(system: System) -> None:
    names = "$TORC_WORKFLOW_ID $TORC_RUN_ID $TORC_ACTION $COLOR; pwd; umask"
    action = run_commands("on_workflow_start", f"echo {names}", "echo trouble >&2; exit 3", "touch never")
    workflow_id = system.create(steps(action, env={"COLOR": "red"}))
    system.torcctl("workflows", "init", workflow_id, "--force")
    (fired,) = ended(system, workflow_id, 1)
    assert (fired["status"], fired["return_code"]) == ("failed", 3)
    assert fired["error"] == f"a command failed with return code 3: see {fired['stderr_path']}"
    with open(fired["stdout_path"]) as out, open(fired["stderr_path"]) as err:
        assert out.read() == f"{workflow_id} 1 1 red\n{system.work}\n{system.bash('umask').stdout}"
        assert err.read() == "trouble\ntorcd: command 2 of 3 failed with return code 3; the rest was not run\n"
    assert os.path.dirname(fired["stdout_path"]) == str(system.work / ".torc" / str(workflow_id))
    assert not (system.work / "never").exists()
    events = system.torcctl("events", "list", workflow_id, json=True)["events"]
    told = [event["data"] for event in events if event["kind"] == "action_ended"]
    assert [(each["status"], each["return_code"], each["number"]) for each in told] == [("failed", 3, 1)]


def test_a_command_may_use_torcctl(system: System) -> None:
    action = run_commands("on_workflow_complete", "torcctl -f json workflows status $TORC_WORKFLOW_ID > status")
    workflow_id = system.create({**steps(action), "files": [], "jobs": [{"name": "a", "command": "true"}]})
    system.torcctl("run", workflow_id)
    ended(system, workflow_id, 1)
    assert json.loads(system.read("status"))["complete"] is True


def test_what_was_under_way_when_the_daemon_was_killed_is_interrupted_and_not_repeated(alone: System) -> None:
    """At most once: commands that were begun run on to their end, and are never begun again."""
    alone.start_daemon()
    started, gate = alone.pipe("started"), alone.pipe("gate")
    action = run_commands("on_workflow_start", "echo $$ > started; read x < gate", note("ran"), "echo over > started")
    workflow_id = alone.create({**steps(action), "files": [], "jobs": [{"name": "a", "command": "true"}]})
    alone.torcctl("workflows", "init", workflow_id)
    started.read_line()
    alone.kill_daemon()
    alone.start_daemon()
    (fired,) = ended(alone, workflow_id, 1)
    assert fired["status"] == "interrupted"
    assert "not repeated" in fired["error"]
    events = alone.torcctl("events", "list", workflow_id, json=True)["events"]
    assert [each["data"]["status"] for each in events if each["kind"] == "action_ended"] == ["interrupted"]
    gate.write_line()
    assert started.read_line() == "over"
    alone.torcctl("run", workflow_id)
    assert alone.read("notes") == "ran\n"
    assert len(firings(alone, workflow_id)) == 1


def test_a_workflow_is_not_deleted_or_archived_under_a_command_that_runs(alone: System) -> None:
    alone.start_daemon()
    started, gate = alone.pipe("started"), alone.pipe("gate")
    action = run_commands("on_workflow_complete", "echo $$ > started; read x < gate")
    workflow_id = alone.create({**steps(action), "files": [], "jobs": [{"name": "a", "command": "true"}]})
    alone.torcctl("run", workflow_id)
    started.read_line()
    for verb in ("delete", "archive"):
        refused = alone.torcctl("-n", "workflows", verb, workflow_id, check=False)
        assert (refused.code, "1 action has not ended" in refused.err) == (4, True)
    gate.write_line()
    ended(alone, workflow_id, 1)
    alone.torcctl("-n", "workflows", "archive", workflow_id)
    alone.torcctl("-n", "workflows", "delete", workflow_id)
    assert alone.sql("SELECT (SELECT count(*) FROM action), (SELECT count(*) FROM firing)") == [(0, 0)]


def test_an_imported_workflow_does_not_do_again_what_was_done(system: System) -> None:
    system.write("in.txt", "one")
    workflow_id = system.create(steps(*ALL))
    system.torcctl("run", workflow_id)
    ended(system, workflow_id, 4)
    document = system.torcctl("workflows", "export", workflow_id).out
    assert json.loads(document)["state"]["unarmed_actions"] == [1, 2, 3, 4]
    system.write("copy.json", document)
    copy = system.torcctl("workflows", "import", "copy.json", json=True)["workflow_id"]
    system.torcctl("workflows", "reinit", copy)
    assert firings(system, copy) == []
    system.torcctl("-k", copy, "jobs", "reset-status", "b")
    system.torcctl("run", copy)
    assert [each["trigger_type"] for each in ended(system, copy, 3)] == [
        "on_workflow_start", "on_jobs_ready", "on_workflow_complete",
    ]  # fmt: skip
