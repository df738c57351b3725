"""Workflows that are exported from real daemons and imported into them: in pipes, into copies, through crashes."""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paper_worker import PaperWorker
from real_system import PATIENCE_S, System, ask, many_files

from torcctl.document import load_document
from torcd.protocol.client import Connection
from torcd.protocol.errors import NotFound, Refused, TorcError, Unreachable
from torcd.protocol.pieces import cut
from torcd.protocol.requests import GetWorkflow, ListWorkflows, Reinit
from torcd.protocol.rpc import SOFT_FRAME, encode_call
from torcd.protocol.transfer_requests import AppendDocument, ExportWorkflow, GetExportPiece, ImportWorkflow

ROUNDS = int(os.environ.get("TORC_TEST_ROUNDS", "6"))

STUDY: dict[str, Any] = {
    "name": "study",
    "parameters": {"i": "1:3"},
    "files": [
        {"name": "in{i}", "path": "in{i}.txt", "use_parameters": ["i"]},
        {"name": "part{i}", "path": "parts/{i}.txt", "use_parameters": ["i"]},
        {"name": "all", "path": "all.txt"},
    ],
    "user_data": [{"name": "count"}],
    "jobs": [
        {
            "name": "work{i}",
            "command": "mkdir -p parts && sh sort.sh ${files.input.in{i}} > ${files.output.part{i}}",
            "use_parameters": ["i"],
        },
        {
            "name": "join",
            "command": "cat parts/*.txt > ${files.output.all}; "
            "torcctl user-data update ${user_data.output.count} --data $(wc -l < all.txt)",
            "input_file_regexes": ["part.*"],
        },
        {"name": "broken", "command": "exit 3", "depends_on": ["join"]},
        {"name": "never", "command": "true", "depends_on": ["broken"]},
    ],
}


def run_study(system: System) -> int:
    """A study that was run: most completed, one failed, one canceled."""
    for number in (1, 2, 3):
        system.write(f"in{number}.txt", f"{number}\nb\na\n")
    system.write("sort.sh", "sort $1")
    workflow_id = system.create(STUDY)
    assert system.torcctl("run", workflow_id, check=False).code == 1
    assert system.statuses(workflow_id) == {
        **dict.fromkeys(("work1", "work2", "work3", "join"), "completed"),
        "broken": "failed",
        "never": "canceled",
    }
    return workflow_id


def plan_of(system: System, workflow_id: int) -> list[Any]:
    """What a reinit would do, without ids."""
    plan = system.torcctl("workflows", "reinit", workflow_id, "--dry-run", json=True)
    return [
        [
            job["name"],
            job["from"],
            job["to"],
            [{k: v for k, v in each.items() if k != "root_id"} for each in job["reasons"]],
        ]
        for job in plan["jobs"]
    ]


def test_a_pipe_copies_a_workflow(system: System) -> None:
    """Text, and the same for programs; the copy stands where the original stands, and goes on by itself."""
    first = run_study(system)
    done = system.bash(f"set -o pipefail; torcctl workflows export {first} --results | torcctl workflows import -")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" with 6 jobs, 7 files, 1 user data, 1 script, 5 results\n")
    second = int(done.stdout.split()[2])
    assert done.stdout.startswith(f"Created workflow {second} ")
    told = json.loads(system.bash(f"torcctl workflows export {first} | torcctl -f json workflows import -").stdout)
    third = told["workflow_id"]
    assert told["counts"] == {"jobs": 6, "files": 7, "user_data": 1, "scripts": 1, "results": 0}
    assert (told["warnings"], told["run_id"], told["submission_directory"]) == ([], 1, str(system.work))

    for copied in (second, third):
        assert system.statuses(copied) == system.statuses(first)
        assert system.torcctl("-k", copied, "user-data", "get", "count", json=True)["data"] == 9
        assert plan_of(system, copied) == plan_of(system, first) == []
    codes = {
        row["job_name"]: row["return_code"] for row in system.torcctl("results", "list", second, json=True)["results"]
    }
    assert codes == {"work1": 0, "work2": 0, "work3": 0, "join": 0, "broken": 3}
    assert system.torcctl("results", "list", third, json=True)["results"] == []
    logs = system.torcctl("-k", second, "jobs", "logs", "broken", check=False)
    assert logs.code == 0, "they are where they were"

    system.write("in2.txt", "something else\n")
    system.write("sort.sh", "sort -r $1")
    changed = plan_of(system, first)
    assert [row[0] for row in changed] == ["work1", "work2", "work3", "join", "broken", "never"]
    assert plan_of(system, second) == plan_of(system, third) == changed
    system.torcctl("workflows", "reinit", second)
    assert system.torcctl("run", second, check=False).code == 1
    assert system.attempts(second) == {"work1": 2, "work2": 2, "work3": 2, "join": 2, "broken": 2, "never": 0}
    assert system.attempts(first) == {"work1": 1, "work2": 1, "work3": 1, "join": 1, "broken": 1, "never": 0}


def test_a_copy_of_the_directory_has_a_workflow_of_its_own(system: System, tmp_path: Path) -> None:
    """Nothing is stale in a faithful copy, and what is changed there is changed there alone."""
    system.work = tmp_path / "original"
    system.work.mkdir()
    first = run_study(system)
    system.torcctl("workflows", "export", first, "--output", "study.json")
    shutil.copytree(system.work, tmp_path / "copy")  # with times, as `cp -p`
    created = system.torcctl(
        "workflows", "import", "study.json", "--directory", tmp_path / "copy", json=True, cwd=system.work
    )
    second = created["workflow_id"]
    assert created["submission_directory"] == str(tmp_path / "copy")
    assert plan_of(system, second) == []
    changed = tmp_path / "copy" / "in1.txt"
    changed.write_text("new\n")
    assert [row[0] for row in plan_of(system, second)] == ["work1", "join", "broken", "never"]
    assert plan_of(system, first) == []
    system.torcctl("workflows", "reinit", second)
    system.torcctl("run", second, check=False)
    assert (tmp_path / "copy" / "parts" / "1.txt").read_text() == "new\n"
    assert system.read("parts/1.txt") == "1\na\nb\n"


def test_another_database_takes_it_over(alone: System, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two users, or two machines with one disk."""
    other = System(tmp_path_factory.mktemp("other"))
    try:
        first = run_study(alone)
        alone.torcctl("workflows", "export", first, "--output", "study.json")
        other.create({"name": "x", "jobs": [{"name": f"x{n}", "command": "true"} for n in range(9)]})
        created = other.torcctl("workflows", "import", alone.work / "study.json", json=True)
        assert created["workflow_id"] == 2
        assert plan_of(other, 2) == []
        assert other.torcctl("events", "list", 2, json=True)["events"][0]["data"]["imported"] is True
        other.torcctl("workflows", "reset-status", 2, "--failed-only", "--reinitialize")
        other.torcctl("run", 2, check=False)
        assert other.attempts(2)["broken"] == 2
        assert alone.attempts(first)["broken"] == 1
    finally:
        other.close()


def test_an_export_asks_nobody_for_leave(alone: System) -> None:
    """While a task scans and jobs are under way: it is a query, and changes nothing."""
    alone.start_daemon()
    workflow_id = alone.create(many_files(2100))
    other_id = alone.create({"name": "w", "jobs": [{"name": "a", "command": "true"}, {"name": "b", "command": "true"}]})
    alone.torcctl("workflows", "init", other_id)
    worker = PaperWorker(alone.connect(), other_id)
    worker.report(most=1)
    connection = alone.connect()
    with alone.held_scan(workflow_id) as release:
        task = ask(connection, Reinit(workflow_id=workflow_id))
        before = alone.sql("SELECT count(*), max(seq) FROM event")
        exported = alone.torcctl("workflows", "export", workflow_id, json=True)
        live = alone.torcctl("workflows", "export", other_id, json=True)
        assert alone.sql("SELECT count(*), max(seq) FROM event") == before
        release()
    assert alone.torcctl("tasks", "wait", task["task_id"], check=False).code == 0
    assert len(exported["files"]) == 2100
    assert sorted(job["status"] for job in live["jobs"]) == ["pending", "ready"]
    path = alone.write("live.json", json.dumps(live))
    ran = alone.torcctl("workflows", "import", path)
    assert ran.err == ("warning: 1 job was pending or running; no worker holds them here, so it is uninitialized now\n")
    copied = int(ran.out.split()[2])
    assert sorted(alone.statuses(copied).values()) == ["ready", "uninitialized"]
    alone.torcctl("run", copied)
    assert set(alone.statuses(copied).values()) == {"completed"}


def test_an_archived_workflow_is_exported(system: System) -> None:
    """SEMANTICS 5.5: reading works."""
    workflow_id = system.create({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    system.torcctl("workflows", "archive", workflow_id)
    done = system.bash(f"torcctl workflows export {workflow_id} | torcctl workflows import -")
    assert done.stderr == "warning: the exported workflow was archived; this one is not\n"
    copied = int(done.stdout.split()[2])
    system.torcctl("run", copied)
    assert system.statuses(copied) == {"a": "completed"}


# ---- the wire ----


def test_no_message_is_large_however_large_a_job_is(system: System) -> None:
    """INTERFACE 4: both sides send less than 1 MiB."""
    count = 14_000
    workflow_id = system.create(
        {
            "name": "wide",
            "parameters": {"i": f"1:{count}"},
            "files": [
                {"name": 'a "quoted" file with a long name {i}' + "\\" * 20, "path": "{i}", "use_parameters": ["i"]}
            ],
            "jobs": [{"name": "gather", "command": "cat f/*", "input_file_regexes": ['a "quoted".*']}],
        }
    )
    connection = system.connect()
    texts: list[str] = []
    raw = connection.call(ExportWorkflow(workflow_id=workflow_id))
    while True:
        assert len(bytes(raw)) < SOFT_FRAME
        answer = msgspec.json.decode(raw)
        texts.append(answer["text"])
        if answer["next_cursor"] is None:
            break
        raw = connection.call(GetExportPiece(export=answer["export"], cursor=answer["next_cursor"]))
    path = system.write("wide.json", "".join(texts))
    (gather,) = json.loads("".join(texts))["jobs"]
    assert len(json.dumps(gather)) > SOFT_FRAME
    for piece in cut(load_document(path).lines()):
        assert len(encode_call(1, AppendDocument(upload="u", piece=piece))) < SOFT_FRAME
    created = system.torcctl("workflows", "import", path, json=True)
    assert created["counts"]["files"] == count
    with pytest.raises(NotFound):
        connection.call(GetExportPiece(export=answer["export"], cursor=0))


HEAD = (
    json.dumps(
        {
            "format": "torc-workflow",
            "version": 1,
            "name": "x",
            "directory": "/tmp",
            "state": {"run_id": 0, "version_counter": 0},
        }
    )
    + "\n"
)
GARBAGE = [
    [],
    [""],
    ["\n\n\n"],
    ["{}"],
    ["{" * 1000],
    ['"jobs"\n{}\n'],
    ['{"format":"torc-workflow","version":1}\n'],
    [HEAD],
    [HEAD[:-9]],
    [HEAD, '"jobs"\n{"name":"a","command":"true"}\n'],
    [HEAD, '"jobs"\n', "[" * 200_000],
]


@pytest.mark.parametrize("pieces", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused_and_leaves_nothing(system: System, pieces: list[str]) -> None:
    """Past torcctl, which would not have sent it."""
    connection = system.connect()
    before = system.call(ListWorkflows())
    for piece in pieces:
        ask(connection, AppendDocument(upload="u", piece=piece))
    with pytest.raises((Refused, NotFound)):
        ask(connection, ImportWorkflow(upload="u", user="me"))
    with pytest.raises(NotFound):
        ask(connection, ImportWorkflow(upload="u", user="me"))
    assert system.call(ListWorkflows()) == before


# ---- crashes ----


def wide(count: int, directory: Path) -> dict[str, Any]:
    """A document with so many jobs, all of which have run."""
    return {
        "format": "torc-workflow",
        "version": 1,
        "directory": str(directory),
        "name": "wide",
        "state": {"run_id": 1, "version_counter": count},
        "files": [
            {"name": f"f{n}", "path": f"f/{n}", "record": {"version": n, "mtime_ns": n, "size": n}}
            for n in range(count)
        ],
        "user_data": [{"name": "d", "versions": [{"version": n, "data": n} for n in range(50)]}],
        "jobs": [
            {
                "name": f"j{n}", "command": "true", "input_files": [f"f{n}"], "status": "completed", "attempt_id": 1,
                "run_id": 1, "started_at_version": n, "definition_version": 1,
                "earlier_definitions": [{"version": 0, "command": "false"}],
            }
            for n in range(count)
        ],
        "results": [
            {
                "job": f"j{n}", "attempt_id": 1, "run_id": 1, "status": "completed", "return_code": 0,
                "ended_at_ms": 1, "exec_time_s": 1,
            }
            for n in range(count)
        ],
    }  # fmt: skip


COUNTED = (
    "job", "job_state", "job_definition", "file", "file_record", "job_input", "user_data_version", "result", "event",
)  # fmt: skip


def begin_import(path: Path, connection: Connection, key: str) -> int:
    """Sends everything that imports a document; the id of the last call."""
    for piece in cut(load_document(path).lines()):
        connection.begin(AppendDocument(upload="u", piece=piece))
    return connection.begin(ImportWorkflow(upload="u", user="me", request_key=key))


def counts_of(system: System, workflow_id: int) -> dict[str, int]:
    return {
        table: system.sql(f"SELECT count(*) FROM {table} WHERE workflow_id = ?", workflow_id)[0][0] for table in COUNTED
    }


@pytest.fixture
def crashing(alone: System) -> Iterator[System]:
    alone.write("wide.json", json.dumps(wide(1500, alone.work)))
    alone.start_daemon()
    yield alone
    assert alone.sql("PRAGMA integrity_check") == [("ok",)]


def test_a_workflow_is_imported_whole_or_not_at_all(crashing: System) -> None:
    """A daemon that is killed at any moment; the request that is repeated then makes no second one (SEMANTICS 6.4)."""
    luck = random.Random(7)
    path = crashing.work / "wide.json"
    connection = crashing.connect()
    began = time.perf_counter()
    msgspec.json.decode(connection.finish(begin_import(path, connection, "first"), timeout_s=PATIENCE_S))
    whole_s = time.perf_counter() - began
    whole = counts_of(crashing, 1)
    assert (whole["job"], whole["result"], whole["job_definition"]) == (1500, 1500, 3000)
    for number in range(ROUNDS):
        connection = crashing.connect()
        call_id = begin_import(path, connection, f"round {number}")
        time.sleep(luck.uniform(0.1, 1.1) * whole_s)
        crashing.kill_daemon()
        answer = None
        with suppress(Unreachable):  # killed before it had answered
            answer = msgspec.json.decode(connection.finish(call_id, timeout_s=PATIENCE_S))
        crashing.start_daemon()
        found = [row["id"] for row in crashing.call(ListWorkflows())["workflows"]]
        assert len(found) in ((number + 2,) if answer else (number + 1, number + 2))
        for table in COUNTED:  # and of those that are not there nothing is left
            assert crashing.sql(f"SELECT count(*) FROM {table}") == [(whole[table] * len(found),)]
        connection = crashing.connect()
        again = msgspec.json.decode(
            connection.finish(begin_import(path, connection, f"round {number}"), timeout_s=PATIENCE_S)
        )
        assert answer is None or again == answer
        assert counts_of(crashing, again["workflow_id"]) == whole
        assert len(crashing.call(ListWorkflows())["workflows"]) == number + 2


def test_a_client_imports_one_workflow_through_a_crash(crashing: System) -> None:
    """INTERFACE 1 (a client whose daemon vanishes)"""
    luck = random.Random(8)
    began = time.perf_counter()
    crashing.torcctl("workflows", "import", "wide.json")
    whole_s = time.perf_counter() - began
    for number in range(2, 4):
        client = crashing.spawn("workflows", "import", "wide.json")
        time.sleep(luck.uniform(0.3, 1.0) * whole_s)
        crashing.kill_daemon()
        out, err = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 0, err
        assert out.startswith("Created workflow ")
        assert crashing.sql("SELECT count(*) FROM workflow") == [(number,)]
        assert crashing.torcctl("daemon", "stop").code == 0
        crashing.start_daemon()


def test_a_client_exports_a_whole_document_through_a_crash(crashing: System) -> None:
    """Whatever is printed, or left in a file, is all of it."""
    luck = random.Random(9)
    crashing.torcctl("workflows", "import", "wide.json")
    began = time.perf_counter()
    whole = crashing.torcctl("workflows", "export", 1, "--results", json=True)
    whole_s = time.perf_counter() - began
    for number in range(2):
        target = ["--output", f"{number}.json"] if number else []
        client = crashing.spawn("workflows", "export", 1, "--results", *target)
        time.sleep(luck.uniform(0.3, 0.9) * whole_s)
        crashing.kill_daemon()
        out, err = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 0, err
        document = json.loads(crashing.read(f"{number}.json") if number else out)
        assert {**document, "source": None} == {**whole, "source": None}
        crashing.torcctl("daemon", "stop")
        crashing.start_daemon()
    assert not list(crashing.work.glob(".torc-*"))


def test_what_is_asked_of_an_unknown_workflow(system: System) -> None:
    assert system.torcctl("workflows", "export", 999_999, check=False).code == 3
    refused = system.torcctl("-f", "json", "workflows", "export", 999_999, check=False)
    assert refused.json["error"]["data"]["noun"] == "workflow"
    with pytest.raises(TorcError):
        system.call(GetWorkflow(workflow_id=999_999))
