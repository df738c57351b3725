"""Updating workflows with real programs: what reruns, what is refused, crashes, two clients at once (SEMANTICS 5.7).

TORC_TEST_ROUNDS=N has every kind of crash tried N times.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from real_system import PATIENCE_S, System, ask, many_files

from torcctl.specification import load_specification, split
from torcd.protocol.client import Connection
from torcd.protocol.errors import Unreachable
from torcd.protocol.requests import AppendUpload, Initialize, Reinit, WaitTask
from torcd.protocol.rpc import SOFT_FRAME
from torcd.protocol.update import GetUpdate, UpdateWorkflow

ROUNDS = int(os.environ.get("TORC_TEST_ROUNDS", "6"))


def study(count: int = 3, **changes: Any) -> dict[str, Any]:
    """So many jobs that copy an input each, and one that joins the copies."""
    return {
        "name": "study",
        "parameters": {"i": f"1:{count}"},
        "files": [
            {"name": "in{i}", "path": "in{i}.txt", "use_parameters": ["i"]},
            {"name": "out{i}", "path": "out{i}.txt", "use_parameters": ["i"]},
            {"name": "all", "path": "all.txt"},
        ],
        "jobs": [
            {
                "name": "copy{i}",
                "command": "cat ${files.input.in{i}} > ${files.output.out{i}}",
                "use_parameters": ["i"],
            },
            {"name": "join", "command": "cat out*.txt > ${files.output.all}", "input_file_regexes": ["out.*"]},
        ],
        **changes,
    }


@pytest.fixture
def ran(system: System) -> tuple[System, int]:
    """The study, run to the end."""
    for number in range(1, 5):
        system.write(f"in{number}.txt", f"{number}\n")
    workflow_id = system.create(study())
    system.torcctl("run", workflow_id)
    return system, workflow_id


def test_a_workflow_that_grows_runs_what_is_new_and_what_depends_on_it(ran: tuple[System, int]) -> None:
    """SEMANTICS 4.2, 5.7"""
    system, workflow_id = ran
    spec = system.spec(study(4, description="with one more"))
    dry = system.torcctl("workflows", "update", workflow_id, "--spec", spec, "--dry-run", "--exit-code", check=False)
    assert (dry.code, dry.err) == (10, "")
    assert dry.out == (
        "Dry run: 1 job would be added, 1 changed\n"
        "  + copy4\n"
        "  ~ join (input_files)\n"
        "2 files would be added\n"
        "  + in4\n"
        "  + out4\n"
        "header would be changed: description, parameters\n"
    )
    assert sorted(system.jobs(workflow_id)) == ["copy1", "copy2", "copy3", "join"]
    done = system.torcctl("workflows", "update", workflow_id, "--spec", spec)
    assert done.out == (
        f"Updated workflow {workflow_id}: 1 job added, 1 changed\n"
        "2 files added\n"
        "header changed: description, parameters\n"
    )
    again = system.torcctl("workflows", "update", "--spec", spec, workflow_id)
    assert again.out == f"Workflow {workflow_id} is what the specification says already; nothing was changed\n"
    assert system.torcctl("workflows", "reinit", workflow_id).out == "Reset 1 job due to changed inputs\n"
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"copy1": 1, "copy2": 1, "copy3": 1, "copy4": 1, "join": 2}
    assert system.read("all.txt") == "1\n2\n3\n4\n"
    system.torcctl("workflows", "update", workflow_id, "--spec", system.spec(study()))
    system.torcctl("workflows", "reinit", workflow_id)
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"copy1": 1, "copy2": 1, "copy3": 1, "join": 3}


def test_programs_are_told_everything_in_one_document(ran: tuple[System, int]) -> None:
    """INTERFACE §2"""
    system, workflow_id = ran
    changed = study(2, user_data=[{"name": "limit", "data": 3}], resource_requirements=[{"name": "big"}])
    spec = system.spec(changed)
    dry = system.torcctl("workflows", "update", workflow_id, "--spec", spec, "--dry-run", json=True)
    assert (dry["dry_run"], dry["workflow_id"], dry["count"]) == (True, workflow_id, 7)
    assert [(each["name"], each["results"]) for each in dry["jobs"]["removed"]] == [("copy3", 1)]
    (join,) = dry["jobs"]["changed"]
    assert join["fields"] == [{"field": "input_files", "old": ["out1", "out2", "out3"], "new": ["out1", "out2"]}]
    assert [each["name"] for each in dry["files"]["removed"]] == ["in3", "out3"]
    assert dry["user_data"]["added"] == [{"id": None, "name": "limit"}]
    assert dry["header"] == [{"field": "parameters", "old": {"i": "1:3"}, "new": {"i": "1:2"}}]
    assert dry["results_removed"] == 1
    done = system.torcctl(
        "workflows", "update", workflow_id, "--spec", spec, "--expect", dry["plan_digest"], json=True
    )  # fmt: skip
    assert isinstance(done["user_data"]["added"][0]["id"], int)
    same = {"jobs", "files", "count", "header", "plan_digest", "counts", "results_removed", "warnings"}
    assert {name: done[name] for name in same} == {name: dry[name] for name in same}
    assert not done["dry_run"]
    listed = system.torcctl("results", "list", workflow_id, json=True)["results"]
    assert sorted(each["job_name"] for each in listed) == ["copy1", "copy2", "join"]
    events = system.torcctl("events", "list", workflow_id, json=True)["events"]
    assert events[-1]["kind"] == "workflow_updated"
    assert events[-1]["data"]["jobs"] == {"added": 0, "changed": 1, "removed": 1}


def test_an_update_that_drifted_is_a_conflict(ran: tuple[System, int]) -> None:
    """SEMANTICS 5.4"""
    system, workflow_id = ran
    spec = system.spec(study(4))
    digest = system.torcctl("workflows", "update", workflow_id, "--spec", spec, "--dry-run", json=True)["plan_digest"]
    system.spec(study(4, env={"A": "1"}))
    refused = system.torcctl("workflows", "update", workflow_id, "--spec", spec, "--expect", digest, check=False)
    assert refused.code == 4
    assert "not the expected one any more" in refused.err
    assert sorted(system.jobs(workflow_id)) == ["copy1", "copy2", "copy3", "join"]


def test_a_wrong_specification_changes_nothing_and_is_told_with_its_lines(ran: tuple[System, int]) -> None:
    """SEMANTICS 3.5: the errors of create"""
    system, workflow_id = ran
    before = dump(system, workflow_id)
    spec = system.write(
        "spec.yaml",
        "name: study\n"
        "jobs:\n"
        "  - name: a\n"
        "    command: 'true'\n"
        "    depends_on: [b]\n"
        "  - name: b\n"
        "    command: 'true'\n"
        "    depends_on: [a, copy9]\n",
    )
    refused = system.torcctl("workflows", "update", workflow_id, "--spec", spec, check=False)
    assert (refused.code, refused.out) == (7, "")
    assert refused.err == f"error: {spec}:8: jobs[1].depends_on[1]: there is no job 'copy9'\n"
    created = system.torcctl("workflows", "create", spec, "--dry-run", check=False)
    assert created.err == refused.err
    system.write("spec.yaml", "name: study\njobs:\n  - name: a\n    comand: x\n")
    failed = system.torcctl("-f", "json", "workflows", "update", workflow_id, "--spec", spec, check=False)
    assert failed.json["error"]["data"]["errors"][0]["line"] == 4
    assert dump(system, workflow_id) == before


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_workflow_that_does_not_exist_is_not_found(ran: tuple[System, int], options: list[str]) -> None:
    system, _ = ran
    spec = system.spec(study())
    missing = system.torcctl("workflows", "update", 99999, "--spec", spec, *options, check=False)
    assert missing.code == 3


# ---- what runs meanwhile ----


def gated(second: str = "true", third: str = "true") -> dict[str, Any]:
    """A job that waits at a gate, one after it, and one that has nothing to do with them."""
    return {
        "name": "gated",
        "jobs": [
            {"name": "waits", "command": "echo up > said; read line < gate; echo $line > went"},
            {"name": "after", "command": second, "depends_on": ["waits"]},
            {"name": "other", "command": third},
        ],
    }


def test_a_running_job_stands_in_the_way_only_of_its_own_change(system: System) -> None:
    """SEMANTICS 5.2"""
    gate, said = system.pipe("gate"), system.pipe("said")
    workflow_id = system.create(gated())
    run = system.spawn("run", workflow_id)
    assert said.read_line() == "up"
    document = gated()
    document["jobs"][0]["command"] = "true"
    refused = system.torcctl("workflows", "update", workflow_id, "--spec", system.spec(document), check=False)
    assert refused.code == 4
    assert "would change 1 job that run" in refused.err
    assert "waits (running)" in refused.err or "waits (pending)" in refused.err, "its start may not be told yet"
    document = gated(second="echo changed > after.txt")
    del document["jobs"][2]
    document["jobs"].append({"name": "new", "command": "true"})
    system.torcctl("workflows", "update", workflow_id, "--spec", system.spec(document))
    gate.write_line("on")
    run.communicate(timeout=PATIENCE_S)
    assert system.read("went") == "on\n"
    assert system.read("after.txt") == "changed\n"
    assert system.statuses(workflow_id) == {"waits": "completed", "after": "completed", "new": "uninitialized"}
    system.torcctl("run", workflow_id)
    assert system.attempts(workflow_id) == {"waits": 1, "after": 1, "new": 1}


def test_a_task_refuses_an_update_and_a_dry_run_warns_of_it(system: System) -> None:
    """SEMANTICS 5.4, 6.3"""
    workflow_id = system.create(many_files())
    spec = system.spec(many_files(priority=3))
    with system.held_scan(workflow_id) as release:
        task = system.call(Reinit(workflow_id=workflow_id))
        refused = system.torcctl("-f", "json", "workflows", "update", workflow_id, "--spec", spec, check=False)
        assert refused.code == 4
        data = refused.json["error"]["data"]
        assert (data["task_id"], data["operation"]) == (task["task_id"], "reinit")
        dry = system.torcctl("workflows", "update", workflow_id, "--spec", spec, "--dry-run")
        assert "~ maker (priority)" in dry.out
        assert f"task {task['task_id']} (reinit) is active" in dry.err
        release()
    system.call(WaitTask(task_id=task["task_id"]))
    assert "1 job changed" in system.torcctl("workflows", "update", workflow_id, "--spec", spec).out


def test_of_two_clients_at_once_one_finds_the_work_done(ran: tuple[System, int]) -> None:
    """SEMANTICS 5.7"""
    system, workflow_id = ran
    spec = system.spec(study(4))
    clients = [system.spawn("workflows", "update", workflow_id, "--spec", spec) for _ in range(3)]
    outs = [client.communicate(timeout=PATIENCE_S) for client in clients]
    assert [client.returncode for client in clients] == [0, 0, 0], outs
    assert sorted(out.split(":")[0] for out, _ in outs)[0] == f"Updated workflow {workflow_id}"
    assert sum(out.startswith("Updated") for out, _ in outs) == 1
    assert sorted(system.jobs(workflow_id)) == ["copy1", "copy2", "copy3", "copy4", "join"]


def test_of_two_clients_with_different_specifications_one_is_whole(ran: tuple[System, int]) -> None:
    system, workflow_id = ran
    system.spec(study(1, description="one"), "one.json")
    system.spec(study(4, description="four"), "four.json")
    clients = [
        system.spawn("workflows", "update", workflow_id, "--spec", f"{name}.json")
        for name in ("one", "four", "one", "four")
    ]
    for client in clients:
        _, err = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 0, err
    ((description,),) = system.sql("SELECT description FROM workflow WHERE id = ?", workflow_id)
    assert len(system.jobs(workflow_id)) == {"one": 2, "four": 5}[description]
    check_links(system, workflow_id)


# ---- many ----


def send_update(system: System, connection: Connection, workflow_id: int, spec: str) -> int:
    """Sends everything that updates a workflow; the id of the last call."""
    header, pieces = split(load_specification(system.work / spec).spec)
    for piece in pieces:
        connection.begin(AppendUpload(upload="u", piece=piece))
    return connection.begin(UpdateWorkflow(workflow_id=workflow_id, header=header, upload="u"))


def test_many_differences_come_in_pages_below_a_frame(system: System) -> None:
    """INTERFACE §4"""
    jobs = [{"name": f"j{number}", "command": f"echo {'x' * 400}"} for number in range(2500)]
    workflow_id = system.create({"name": "many", "jobs": jobs})
    for each in jobs:
        each["command"] = "echo short"
    system.spec({"name": "many", "jobs": jobs[100:]})
    connection = system.connect()
    raw = connection.finish(send_update(system, connection, workflow_id, "spec.json"), timeout_s=PATIENCE_S)
    pages = [msgspec.json.decode(raw, type=dict[str, Any])]
    assert len(raw) < SOFT_FRAME
    while pages[-1]["next_cursor"] is not None:
        raw = connection.call(GetUpdate(update=pages[0]["update"], cursor=pages[-1]["next_cursor"]))
        assert len(raw) < SOFT_FRAME
        pages.append(msgspec.json.decode(raw, type=dict[str, Any]))
    assert len(pages) > 2
    names = [(each["change"], each["name"]) for page in pages for each in page["differences"]]
    assert names == [
        *(("changed", f"j{number}") for number in range(100, 2500)),
        *(("removed", f"j{number}") for number in range(100)),
    ]
    system.spec({"name": "many", "jobs": jobs})
    dry = system.torcctl("workflows", "update", workflow_id, "--spec", "spec.json", "--dry-run", json=True)
    assert [each["name"] for each in dry["jobs"]["added"]] == [f"j{number}" for number in range(100)]


# ---- crashes ----

TABLES = (
    "job", "job_state", "job_definition", "job_dependency", "job_input", "job_output", "file", "file_record",
    "result", "event",
)  # fmt: skip


def dump(system: System, workflow_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a workflow."""
    rows = {table: system.sql(f"SELECT * FROM {table} WHERE workflow_id = ?", workflow_id) for table in TABLES}
    return {**rows, "workflow": system.sql("SELECT * FROM workflow WHERE id = ?", workflow_id)}


def check_links(system: System, workflow_id: int) -> None:
    """Fails when a row names a job or a file that is not there."""
    for table, column, target in (
        ("job_state", "job_id", "job"), ("job_input", "job_id", "job"), ("job_output", "job_id", "job"),
        ("job_dependency", "upstream_id", "job"), ("result", "job_id", "job"), ("job_input", "file_id", "file"),
        ("job_output", "file_id", "file"), ("file_record", "file_id", "file"),
    ):  # fmt: skip
        sql = f"SELECT count(*) FROM {table} WHERE workflow_id = ? AND {column} NOT IN (SELECT id FROM {target})"
        assert system.sql(sql, workflow_id) == [(0,)], (table, column)


def wide(count: int, command: str) -> dict[str, Any]:
    """So many jobs after one another's input, whose commands are all the same."""
    return {
        "name": "wide",
        "files": [{"name": f"out{number}", "path": f"out/{number}"} for number in range(count)],
        "jobs": [
            {"name": f"j{number}", "command": command, "output_files": [f"out{number}"]} for number in range(count)
        ],
    }


def kill_after(system: System, seconds: float) -> None:
    """Kills the daemon in the middle of whatever it does then."""
    time.sleep(seconds)
    system.kill_daemon()


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def test_an_update_has_all_of_its_effects_or_none(alone: System) -> None:
    """SEMANTICS 5: one transaction"""
    alone.start_daemon()
    workflow_id = alone.create(wide(600, "first"))
    with alone.connect() as connection:
        ask(connection, WaitTask(task_id=ask(connection, Initialize(workflow_id=workflow_id))["task_id"]))
    outcomes = []
    alone.spec(wide(500, "round 0"))
    connection = alone.connect()
    whole_s = timed(lambda: connection.finish(send_update(alone, connection, workflow_id, "spec.json")))
    for number in range(1, ROUNDS + 1):
        count, command = 500 + 100 * (number % 2), f"round {number}"
        alone.spec(wide(count, command))
        before = dump(alone, workflow_id)
        connection = alone.connect()
        call_id = send_update(alone, connection, workflow_id, "spec.json")
        kill_after(alone, 1.2 * (number - 1) / ROUNDS * whole_s)
        try:
            answer = msgspec.json.decode(connection.finish(call_id, timeout_s=PATIENCE_S))
        except Unreachable:
            answer = None
        alone.start_daemon()
        assert alone.sql("PRAGMA integrity_check") == [("ok",)]
        check_links(alone, workflow_id)
        is_undone = dump(alone, workflow_id) == before
        outcomes.append("none" if is_undone else "all")
        if is_undone:
            assert answer is None, "what was acknowledged is there"
            done = alone.torcctl("workflows", "update", workflow_id, "--spec", "spec.json")
            assert done.out.startswith("Updated")
        jobs = alone.jobs(workflow_id)
        assert {job["command"] for job in jobs.values()} == {command}
        assert len(jobs) == count
    if ROUNDS >= 6:
        assert "none" in outcomes, "no crash came early enough to be of interest"


def test_a_client_updates_once_through_a_crash(alone: System) -> None:
    """INTERFACE 1 (a client whose daemon vanishes)"""
    luck = random.Random(12)
    alone.start_daemon()
    workflow_id = alone.create(wide(600, "first"))
    alone.spec(wide(600, "second"))
    whole_s = timed(lambda: alone.torcctl("workflows", "update", workflow_id, "--spec", "spec.json"))
    for number in range(2):
        alone.spec(wide(600, f"round {number}"))
        client = alone.spawn("workflows", "update", workflow_id, "--spec", "spec.json")
        kill_after(alone, luck.uniform(0.3, 0.9) * whole_s)
        _, err = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 0, err
        alone.torcctl("daemon", "start")
        assert {job["command"] for job in alone.jobs(workflow_id).values()} == {f"round {number}"}
        assert alone.sql("SELECT count(*) FROM event WHERE kind = 'workflow_updated'") == [(number + 2,)]
        assert alone.torcctl("daemon", "stop").code == 0
        alone.start_daemon()
