"""A daemon that is killed at any moment, or whose disk is full, leaves the state before or the state after.

SEMANTICS 5: all of an operation's effects are one transaction. The moments are random, from a fixed seed;
TORC_TEST_ROUNDS=N has every kind of crash tried N times.
"""

import os
import random
import resource
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paper_worker import PaperWorker
from real_system import PATIENCE_S, System, ask

from torcctl.specification import load_specification, split
from torcd.protocol.client import Connection, connect
from torcd.protocol.errors import Unavailable, Unreachable
from torcd.protocol.requests import (
    AppendUpload,
    CreateWorkflow,
    GetTask,
    GetUserData,
    Initialize,
    ListWorkflows,
    Reinit,
    UpdateUserData,
    WaitTask,
)

ROUNDS = int(os.environ.get("TORC_TEST_ROUNDS", "6"))
COUNTED = ("job", "job_state", "job_dependency", "file", "job_input", "job_output", "user_data", "event")


def wide(count: int) -> dict[str, Any]:
    """So many jobs with one input in common, an output each, and a job after all of them."""
    return {
        "name": "wide",
        "parameters": {"i": f"1:{count}"},
        "files": [{"name": "in", "path": "in.txt"}, {"name": "out{i}", "path": "out/{i}", "use_parameters": ["i"]}],
        "user_data": [{"name": "note", "data": 0}],
        "jobs": [
            {"name": "j{i}", "command": "make ${files.input.in} ${files.output.out{i}}", "use_parameters": ["i"]},
            {"name": "last", "command": "true", "input_file_regexes": ["out.*"]},
        ],
    }


def kill_after(system: System, seconds: float) -> None:
    """Kills the daemon in the middle of whatever it does then."""
    time.sleep(seconds)
    system.kill_daemon()


def check_database(system: System) -> None:
    assert system.sql("PRAGMA integrity_check") == [("ok",)]
    assert system.sql("PRAGMA foreign_key_check") == []
    assert system.sql("SELECT count(*) FROM task WHERE status IN ('queued', 'running')") == [(0,)]
    for workflow_id, last in system.sql("SELECT id, event_seq FROM workflow"):
        seqs = [seq for (seq,) in system.sql("SELECT seq FROM event WHERE workflow_id = ? ORDER BY seq", workflow_id)]
        assert seqs == list(range(1, last + 1))


def answered(connection: Connection, call_id: int) -> Any:
    """The answer to a call if it came before the daemon's end, else None."""
    try:
        return msgspec.json.decode(connection.finish(call_id, timeout_s=PATIENCE_S))
    except Unreachable:
        return None


def duration(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


# ---- create ----


def begin_create(system: System, connection: Connection, key: str) -> int:
    """Sends everything that creates a workflow; the id of the last call."""
    header, pieces = split(load_specification(system.work / "spec.json").spec)
    uploads = [AppendUpload(upload="u", piece=piece) for piece in pieces]
    for upload in uploads:
        connection.begin(upload)
    request = CreateWorkflow(header=header, upload="u", directory=str(system.work), user="me", request_key=key)
    return connection.begin(request)


def counts_of(system: System, workflow_id: int) -> dict[str, int]:
    return {
        table: system.sql(f"SELECT count(*) FROM {table} WHERE workflow_id = ?", workflow_id)[0][0] for table in COUNTED
    }


def test_a_workflow_is_created_whole_or_not_at_all(alone: System) -> None:
    """SEMANTICS 3.5"""
    luck = random.Random(1)
    alone.spec(wide(1000))
    alone.start_daemon()
    connection = alone.connect()
    whole_s = duration(lambda: answered(connection, begin_create(alone, connection, "first")))
    whole = counts_of(alone, 1)
    assert whole["job"] == 1001
    found = {1}
    for number in range(ROUNDS):
        connection = alone.connect()
        call_id = begin_create(alone, connection, f"round {number}")
        kill_after(alone, luck.uniform(0.3, 1.1) * whole_s)
        answer = answered(connection, call_id)
        alone.start_daemon()
        check_database(alone)
        workflows = {row["id"]: row for row in alone.call(ListWorkflows())["workflows"]}
        assert set(workflows) >= found
        new = set(workflows) - found
        assert len(new) <= 1
        if answer is not None:
            assert new == {answer["workflow_id"]}  # acknowledged: it must be there
        for workflow_id in new:
            assert counts_of(alone, workflow_id) == whole
            assert alone.plan(workflow_id, force=True)["count"] == 0  # it can be used
        for table in COUNTED:  # and of those that are not there nothing is left
            assert alone.sql(f"SELECT count(*) FROM {table}") == [(whole[table] * len(workflows),)]
        found |= new


def test_a_client_creates_one_workflow_through_a_crash(alone: System) -> None:
    """INTERFACE 1 (a client whose daemon vanishes); SEMANTICS 6.4"""
    luck = random.Random(2)
    spec = alone.spec(wide(1000))
    alone.start_daemon()
    whole_s = duration(lambda: alone.torcctl("workflows", "create", spec))
    for number in range(2, 5):
        client = alone.spawn("workflows", "create", spec)
        kill_after(alone, luck.uniform(0.4, 1.0) * whole_s)
        out, err = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 0, err
        assert out.startswith("Created workflow ")
        assert alone.sql("SELECT count(*) FROM workflow") == [(number,)]
        assert alone.torcctl("daemon", "stop").code == 0
        alone.start_daemon()


# ---- reinit ----


@pytest.fixture
def finished(alone: System) -> tuple[System, int]:
    """A wide workflow whose jobs are all completed, at run 1."""
    alone.write("in.txt", "0")
    for number in range(1, 601):
        alone.write(f"out/{number}", "")
    alone.start_daemon()
    workflow_id = alone.create(wide(600))
    connection = alone.connect()
    task = ask(connection, Initialize(workflow_id=workflow_id))
    assert ask(connection, WaitTask(task_id=task["task_id"]))["status"] == "succeeded"
    PaperWorker(connection, workflow_id).work()
    return alone, workflow_id


def snapshot(system: System, workflow_id: int) -> tuple[Any, ...]:
    """What a reinit changes."""
    return (
        system.sql("SELECT run_id FROM workflow WHERE id = ?", workflow_id)[0][0],
        dict(system.sql("SELECT status, count(*) FROM job_state WHERE workflow_id = ? GROUP BY status", workflow_id)),
        system.sql("SELECT max(size) FROM file_record WHERE workflow_id = ?", workflow_id)[0][0],
        system.sql("SELECT count(*) FROM event WHERE workflow_id = ? AND kind = 'operation'", workflow_id)[0][0],
    )


COMPLETED, READY, BLOCKED = 5, 2, 1


def test_a_reinit_has_all_of_its_effects_or_none(finished: tuple[System, int]) -> None:
    """SEMANTICS 5, 6.6"""
    system, workflow_id = finished
    luck = random.Random(3)
    outcomes: Counter[str] = Counter()
    kill_after_s = 0.0
    for number in range(1, ROUNDS + 2):
        system.write("in.txt", "x" * (number + 1))
        run_id, statuses, size, operations = before = snapshot(system, workflow_id)
        assert statuses == {COMPLETED: 601}
        connection = system.connect()
        began = time.perf_counter()
        call_id = connection.begin(Reinit(workflow_id=workflow_id, request_key=f"round {number}"))
        if number == 1:  # to know how long it takes
            task = answered(connection, call_id)
            ask(connection, WaitTask(task_id=task["task_id"]))
            kill_after_s = time.perf_counter() - began
            system.kill_daemon()
        else:
            kill_after(system, luck.uniform(0.5, 1.5) * kill_after_s)
            task = answered(connection, call_id)
        system.start_daemon()
        check_database(system)
        after = snapshot(system, workflow_id)
        rows = system.sql("SELECT id, status, error FROM task WHERE request_key = ?", f"round {number}")
        if task is not None:
            assert [row[0] for row in rows] == [task["task_id"]]
        if after == before:
            outcome = "none"
            assert [row[1] for row in rows] in ([], ["failed"])
            for _, _, error in rows:
                assert error == "daemon restarted while the task was in progress; nothing was changed"
        else:
            outcome = "all"
            assert after == (run_id + 1, {READY: 600, BLOCKED: 1}, number + 1, operations + 1)
            assert size <= number
            assert [row[1] for row in rows] == ["succeeded"]
            assert system.call(GetTask(task_id=rows[0][0]))["result"]["count"] == 601
        outcomes[outcome] += 1
        kill_after_s *= 0.5 if outcome == "all" else 1.5
        if outcome == "none":
            done = system.torcctl("workflows", "reinit", workflow_id)  # any command works
            assert done.out == "Reset 601 jobs due to changed inputs\n"
        PaperWorker(system.connect(), workflow_id).work()
    assert outcomes["all"] >= 1
    if ROUNDS >= 6:
        assert outcomes["none"] >= 1, "no crash came early enough to be of interest"


def test_a_client_that_waits_for_a_reinit_learns_what_became_of_it(finished: tuple[System, int]) -> None:
    """SEMANTICS 6.6; INTERFACE 1: a task that the restart failed is reported (exit 1), not repeated"""
    system, workflow_id = finished
    luck = random.Random(4)
    reinit_s = duration(lambda: system.torcctl("workflows", "reinit", workflow_id))
    for number in range(2, 6):
        system.write("in.txt", "x" * number)
        run_id = system.run_id(workflow_id)
        client = system.spawn("workflows", "reinit", workflow_id)
        kill_after(system, luck.uniform(0.5, 1) * reinit_s)
        out, err = client.communicate(timeout=PATIENCE_S)  # it has started another daemon
        system.torcctl("daemon", "start")  # unless it was done before
        if client.returncode == 0:
            assert out == "Reset 601 jobs due to changed inputs\n"
            assert system.run_id(workflow_id) == run_id + 1
            with connect(system.url) as connection:
                PaperWorker(connection, workflow_id).work()
        else:
            assert client.returncode == 1
            assert "daemon restarted while the task was in progress; nothing was changed" in err
            assert system.run_id(workflow_id) == run_id
        assert system.torcctl("daemon", "stop").code == 0
        system.start_daemon()


# ---- run ----


def test_what_a_worker_was_told_is_stored_is_stored(alone: System) -> None:
    """SEMANTICS 5.3, 8.4: acknowledged ends survive; repeated ones write no second result"""
    luck = random.Random(5)
    alone.write("in.txt", "")
    for number in range(1, 2001):
        alone.write(f"out/{number}", "")
    alone.start_daemon()
    workflow_id = alone.create(wide(2000))
    connection = alone.connect()
    ask(connection, WaitTask(task_id=ask(connection, Initialize(workflow_id=workflow_id))["task_id"]))
    worker = PaperWorker(connection, workflow_id)
    crashes = 0
    while not worker.is_complete:
        killer = threading.Timer(luck.uniform(0.0, 0.01), alone.daemon.kill)  # type: ignore[union-attr]  # started above
        spared = luck.randrange(12)  # of a hundred reports, however long they take
        try:
            while not worker.is_complete:
                if spared == 0 and crashes < ROUNDS:
                    killer.start()
                spared -= 1
                worker.report(most=20)
                worker.run_held()
        except Unreachable:
            killer.join()
            alone.kill_daemon()
            crashes += 1
            stored = set(alone.sql("SELECT job_id, attempt_id FROM result WHERE workflow_id = ?", workflow_id))
            assert stored >= worker.acknowledged
            assert stored <= set(worker.ran)
            alone.start_daemon()
            check_database(alone)
            assert worker.resume(alone.connect()) == []
        killer.cancel()
    assert worker.refused == []
    results = alone.sql("SELECT job_id, attempt_id, return_code FROM result WHERE workflow_id = ?", workflow_id)
    assert {(job, attempt): code for job, attempt, code in results} == worker.ran
    assert len(results) == len({job for job, _ in worker.ran}) == 2001
    assert set(alone.statuses(workflow_id).values()) == {"completed"}
    assert alone.plan(workflow_id)["count"] == 0
    assert crashes >= min(ROUNDS, 3)


def test_a_run_goes_on_through_crashes_and_runs_every_job_once(alone: System) -> None:
    """SEMANTICS 8.4; INTERFACE 1 (a client whose daemon vanishes)"""
    luck = random.Random(6)
    workflow_id = alone.create(
        {
            "name": "run",
            "parameters": {"i": "1:60"},
            "jobs": [
                {
                    "name": "a{i}",
                    "command": 'echo "$TORC_JOB_NAME $TORC_ATTEMPT_ID" >> ran.txt; sleep 0.05',
                    "use_parameters": ["i"],
                },
                {
                    "name": "b{i}",
                    "command": 'echo "$TORC_JOB_NAME $TORC_ATTEMPT_ID" >> ran.txt; sleep 0.05',
                    "use_parameters": ["i"],
                    "depends_on": ["a{i}"],
                },
            ],
        }
    )
    run = alone.spawn("run", workflow_id, "--max-parallel-jobs", 4)
    killed: set[int] = set()
    deadline = time.monotonic() + PATIENCE_S
    while not (alone.work / "ran.txt").exists():  # before that, a task or a start of the daemon may be what is killed
        assert run.poll() is None
        assert time.monotonic() < deadline
    while run.poll() is None and len(killed) < 4:
        assert time.monotonic() < deadline
        time.sleep(luck.uniform(0.15, 0.6))
        for pid in set(alone.daemon_pids()) - killed:
            os.kill(pid, 9)
            killed.add(pid)
    out, err = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, out) == (0, f"Workflow {workflow_id}: 120 completed\n"), err
    assert len(killed) >= 2
    lines = alone.read("ran.txt").splitlines()
    assert Counter(line.split()[0] for line in lines) == {f"{kind}{i}": 1 for kind in "ab" for i in range(1, 61)}
    attempts = {name: str(number) for name, number in alone.attempts(workflow_id).items()}
    assert dict(line.split() for line in lines) == attempts
    assert alone.sql("SELECT count(*), count(DISTINCT job_id) FROM result") == [(120, 120)]
    assert alone.torcctl("workflows", "reinit").out == "Reset 0 jobs due to changed inputs\n"


# ---- a full disk ----


class FullDisk:
    """A daemon whose disk can be filled and emptied."""

    def __init__(self, system: System, ballast: Path | None) -> None:
        self.system = system
        self._ballast = ballast

    def fill(self) -> None:
        if self._ballast is None:
            self._limit(0)
            return
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def free(self) -> None:
        if self._ballast is None:
            self._limit(resource.RLIM_INFINITY)
        else:
            self._ballast.unlink()

    def _limit(self, size: int) -> None:
        assert self.system.daemon is not None
        resource.prlimit(self.system.daemon.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture(params=["a full file system", "a limit of file sizes"])
def disk(request: pytest.FixtureRequest, alone: System) -> Iterator[FullDisk]:
    """A running daemon; how its disk gets full depends on what this user may do."""
    state = alone.database.parent
    state.mkdir(parents=True)
    if request.param == "a limit of file sizes":
        alone.start_daemon()
        yield FullDisk(alone, None)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted")
    try:
        alone.start_daemon()
        yield FullDisk(alone, state / "ballast")
    finally:
        alone.close()
        subprocess.run(["umount", "-l", str(state)], check=True)


def test_a_full_disk_is_told_changes_nothing_and_heals(disk: FullDisk) -> None:
    """SEMANTICS 5; INTERFACE 4 (503)"""
    system = disk.system
    workflow_id = system.create({"name": "w", "user_data": [{"name": "note", "data": 0}], "jobs": []})
    connection = system.connect()
    note = 0

    def write_notes(*values: int) -> None:
        nonlocal note
        for value in values:
            ask(connection, UpdateUserData(workflow_id=workflow_id, name="note", data=[value, "x" * 50_000]))
            note = value

    write_notes(1)
    disk.fill()
    spec = system.spec(wide(2000))
    refused = system.torcctl("-f", "json", "workflows", "create", spec, check=False)
    assert refused.code == 1
    error = refused.json["error"]
    assert (error["code"], error["name"]) == (503, "unavailable")
    assert str(system.database) in error["message"]
    assert "nothing was changed" in error["message"]
    with pytest.raises(Unavailable, match="nothing was changed"):
        write_notes(*range(2, 500))

    assert len(system.torcctl("workflows", "list", json=True)["workflows"]) == 1  # reading goes on
    found = ask(connection, GetUserData(workflow_id=workflow_id, name="note"))
    assert found["data"][0] == note
    reinit = system.torcctl("workflows", "reinit", workflow_id, check=False)
    assert reinit.code in (0, 1)  # so small a change may find room where a large one did not
    run_id = system.run_id(workflow_id)
    assert run_id == (1 if reinit.code == 0 else 0)

    disk.free()
    write_notes(1000)
    assert system.torcctl("workflows", "create", spec, json=True)["counts"]["jobs"] == 2001
    assert system.torcctl("workflows", "reinit", workflow_id).out == "Reset 0 jobs due to changed inputs\n"
    system.kill_daemon()
    system.start_daemon()
    check_database(system)
    assert system.call(GetUserData(workflow_id=workflow_id, name="note"))["data"][0] == 1000
    assert system.run_id(workflow_id) == run_id + 1


def test_a_run_waits_for_space_and_tells_its_results_then(disk: FullDisk) -> None:
    """SEMANTICS 8.4"""
    system = disk.system
    started, gate = system.pipe("started"), system.pipe("gate")
    workflow_id = system.create(
        {
            "name": "w",
            "jobs": [
                {"name": "a", "command": "echo x > started; read x < gate; echo ran >> ran.txt"},
                {"name": "b", "command": "echo ran >> ran.txt", "depends_on": ["a"]},
            ],
        }
    )
    run = system.spawn("run", workflow_id)
    started.read_line()
    system.wait_for_status(workflow_id, "a", "running")
    disk.fill()
    gate.write_line()
    assert run.stderr is not None
    if disk._ballast is None:  # else a small commit may find room in the log that was written already
        line = run.stderr.readline()
        assert "torcd cannot take a report now" in line
        assert system.statuses(workflow_id) == {"a": "running", "b": "blocked"}
    disk.free()
    out, err = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, out) == (0, f"Workflow {workflow_id}: 2 completed\n"), err
    assert system.read("ran.txt") == "ran\nran\n"
    assert set(system.attempts(workflow_id).values()) == {1}
