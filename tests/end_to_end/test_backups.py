"""`torcctl daemon backup` and `restore`, and what a daemon does with a database that is damaged."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from real_system import BIN, PATIENCE_S, System, ask

from torcd.protocol.errors import Unavailable
from torcd.protocol.requests import GetUserData, ListJobs, UpdateUserData

NOTE: dict[str, Any] = {
    "name": "one",
    "user_data": [{"name": "note", "data": 0}],
    "jobs": [{"name": "a", "command": "true"}],
}


def flip(path: Path, place: int, length: int = 1) -> None:
    """Damages bytes of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        data = file.read(length)
        file.seek(place)
        file.write(bytes(byte ^ 0xFF for byte in data))


def root_of(system: System, table: str) -> int:
    """Where the page begins from which a table's others are found."""
    ((page,),) = system.sql("SELECT rootpage FROM sqlite_schema WHERE name = ?", table)
    return int((page - 1) * 4096)


def set_note(system: System, data: object) -> None:
    ask(system.connect(), UpdateUserData(workflow_id=1, name="note", data=data))


def note(system: System) -> object:
    if not system.daemon_pids():
        system.start_daemon()
    return system.call(GetUserData(workflow_id=1, name="note"))["data"]


# ---- backup ----


def test_a_backup_during_a_run_holds_one_moment_of_it(alone: System) -> None:
    """Each job's status and result are one transaction, in the backup too."""
    alone.start_daemon()
    workflow_id = alone.create(
        {
            "name": "w",
            "parameters": {"i": "1:150"},
            "jobs": [
                {"name": "j{i}", "command": "true", "use_parameters": ["i"]},
                {"name": "held", "command": "until [ -e go ]; do sleep 0.01; done"},
            ],
        }
    )
    run = alone.spawn("run", workflow_id, "--max-parallel-jobs", 2)
    counts: list[int] = []
    while run.poll() is None:
        made = alone.torcctl("daemon", "backup", "copy.db", "--overwrite", json=True)
        with closing(sqlite3.connect(alone.work / "copy.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            ((completed,),) = copy.execute("SELECT count(*) FROM job_state WHERE status = 5").fetchall()
            assert copy.execute("SELECT count(*) FROM result").fetchall() == [(completed,)]
            counts.append(completed)
        if len(counts) == 4:
            alone.write("go", "")
    assert (run.wait(), counts[3] < 151) == (0, True), "the first four were made during the run"
    assert counts == sorted(counts)
    assert made == {
        "database": str(alone.database),
        "path": str(alone.work / "copy.db"),
        "size_bytes": (alone.work / "copy.db").stat().st_size,
        "duration_s": made["duration_s"],
    }
    assert (alone.work / "copy.db").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in alone.work.iterdir() if ".db" in path.name] == ["copy.db"]


def test_a_backup_goes_where_it_is_told_and_overwrites_nothing(system: System) -> None:
    dated = system.torcctl("daemon", "backup")
    assert dated.out.startswith(f"Backed up {system.database} to {system.database.parent}/backups/torc-2")
    assert dated.out.endswith(" s, checked\n")
    into = system.torcctl("daemon", "backup", ".", json=True)["path"]
    assert Path(into).parent == system.work
    refused = system.torcctl("daemon", "backup", into, check=False)
    assert (refused.code, refused.out) == (4, "")
    assert "exists already: choose another name, or say --overwrite" in refused.err
    assert system.torcctl("daemon", "backup", system.database, "--overwrite", check=False).code == 7
    nowhere = system.torcctl("daemon", "backup", "missing/x.db", check=False)
    assert nowhere.code == 7
    assert "its directory does not exist" in nowhere.err
    closed = system.torcctl("daemon", "backup", "/proc/x.db", check=False)
    assert closed.code in (1, 7)
    assert "Traceback" not in closed.err


# ---- restore ----


def test_no_module_of_the_directory_in_which_one_stands_is_run(alone: System) -> None:
    """Others may write there, as to /tmp."""
    alone.start_daemon()
    alone.create(NOTE)
    backup = alone.torcctl("daemon", "backup", "copy.db", json=True)["path"]
    alone.stop_daemon()
    for name in ("torcd", "msgspec", "argparse"):
        alone.write(f"{name}.py", "open('ran', 'w')")
    done = alone.bash(f"{BIN}/torcctl daemon restore copy.db")
    assert not (alone.work / "ran").exists()
    assert done.stdout.startswith(f"Restored {alone.database} from {backup}: 1 workflow, "), done.stderr


def test_a_restore_needs_the_daemon_to_be_stopped_and_keeps_what_was_there(alone: System) -> None:
    alone.start_daemon()
    alone.create(NOTE)
    set_note(alone, "then")
    backup = alone.torcctl("daemon", "backup", json=True)["path"]
    set_note(alone, "now")
    refused = alone.torcctl("daemon", "restore", backup, check=False)
    assert refused.code == 4
    assert "Nothing was restored. Stop it with `torcctl daemon stop`, then repeat the command" in refused.err
    assert note(alone) == "now"

    alone.kill_daemon()  # it leaves a log
    done = alone.torcctl("daemon", "restore", os.path.relpath(backup, alone.work))
    kept = done.out.splitlines()[1].removeprefix("What was there is kept as ")
    assert done.out.startswith(f"Restored {alone.database} from {backup}: 1 workflow, ")
    assert "torcctl workflows reinit" in done.err
    assert note(alone) == "then"

    assert alone.stop_daemon() == 0
    back = alone.torcctl("daemon", "restore", kept, json=True)
    assert (back["restored_from"], back["workflows"]) == (kept, 1)
    assert note(alone) == "now"

    alone.stop_daemon()
    useless = alone.torcctl("-f", "json", "daemon", "restore", alone.write("x", "no database"), check=False)
    assert (useless.code, useless.json["error"]["name"]) == (7, "refused")


def test_what_workers_hold_of_a_time_that_is_lost_is_refused_and_older_jobs_go_on(alone: System) -> None:
    """SEMANTICS 5.3, 8.4: never a second result; what ran at the backup and still does is taken up again"""
    alone.start_daemon()
    pipes = {name: alone.pipe(name) for name in ("told", "long", "short", "late")}
    wait = "echo $TORC_JOB_NAME > told; read x < "
    workflow_id = alone.create(
        {
            "name": "w",
            "jobs": [
                {"name": "long", "command": f"{wait} long"},
                {"name": "short", "command": f"{wait} short"},
                {"name": "late", "command": f"{wait} late; echo $TORC_ATTEMPT_ID >> ran", "depends_on": ["short"]},
            ],
        }
    )
    run = alone.spawn("run", workflow_id, "--max-parallel-jobs", 2, env={"TORC_NO_AUTOSTART": "1"})
    assert {pipes["told"].read_line(), pipes["told"].read_line()} == {"long", "short"}
    with alone.connect() as connection:
        while [job["status"] for job in ask(connection, ListJobs(workflow_id=workflow_id))["jobs"]].count(
            "running"
        ) < 2:
            connection.receive(timeout_s=0.01)
    backup = alone.torcctl("daemon", "backup", json=True)["path"]
    pipes["short"].write_line()
    assert pipes["told"].read_line() == "late"  # in the time that will be lost
    assert alone.stop_daemon() == 0
    alone.torcctl("daemon", "restore", backup)
    alone.start_daemon()

    deadline = time.monotonic() + PATIENCE_S
    while alone.statuses(workflow_id) != {"long": "running", "short": "terminated", "late": "canceled"}:
        assert time.monotonic() < deadline, alone.statuses(workflow_id)
    pipes["long"].write_line()
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert "is not accepted: superseded" in err
    assert alone.statuses(workflow_id)["long"] == "completed"
    assert alone.attempts(workflow_id) == {"long": 1, "short": 1, "late": 0}

    alone.torcctl("workflows", "restart", workflow_id)
    again = alone.spawn("run", workflow_id)
    assert pipes["told"].read_line() == "short"
    pipes["short"].write_line()
    assert pipes["told"].read_line() == "late"
    pipes["late"].write_line()
    out, err = again.communicate(timeout=PATIENCE_S)
    assert out == f"Workflow {workflow_id}: 3 completed\n", err
    attempts = alone.attempts(workflow_id)
    assert attempts == {"long": 1, "short": 2, "late": 2}, "the first attempt of late was in the time that is lost"
    assert alone.read("ran") == "2\n"
    results = alone.sql("SELECT job_id, attempt_id, count(*) FROM result GROUP BY 1, 2")
    assert [count for _, _, count in results] == [1] * 4


# ---- damage ----


def test_damage_at_the_start_is_told_to_whoever_wanted_the_daemon_and_a_backup_helps(alone: System) -> None:
    """Nothing is repaired silently, and the damaged file is kept."""
    alone.start_daemon()
    alone.create(NOTE)
    backup = alone.torcctl("daemon", "backup", json=True)["path"]
    alone.stop_daemon()
    flip(alone.database, 100, 60)
    damaged = alone.database.read_bytes()
    client = alone.torcctl("workflows", "list", check=False)
    assert client.code == 5
    assert "torcd was started but it exited with code 1" in client.err
    assert f"error: database {alone.database}: it is damaged" in client.err
    assert "restore a backup with `torcctl daemon restore FILE`" in client.err
    assert "Traceback" not in client.err
    (found, *_) = alone.torcctl("-f", "json", "doctor", check=False).json["checks"]
    assert (found["check"], found["verdict"]) == ("daemon", "problem")
    assert f"the last one could not start: database {alone.database}: it is damaged" in found["detail"]
    assert alone.database.read_bytes() == damaged
    itself = alone.torcctl("daemon", "restore", alone.database, check=False)
    assert itself.code == 7
    assert f"`sqlite3 {alone.database} .recover | sqlite3 NEW`" in itself.err
    kept = Path(alone.torcctl("daemon", "restore", backup, json=True)["kept"])
    assert kept.read_bytes() == damaged
    assert note(alone) == 0


def test_a_log_that_lost_its_end_is_told_and_what_is_left_can_be_gone_on_with(alone: System) -> None:
    alone.start_daemon()
    alone.create(NOTE)
    for number in range(20):
        set_note(alone, [number, "x" * 5000])
    alone.kill_daemon()
    log = alone.database.with_name("torc.db-wal")
    os.truncate(log, log.stat().st_size // 2)
    for _ in range(2):  # what was seen once is seen again
        client = alone.torcctl("workflows", "list", check=False)
        assert client.code == 5
        assert "its log torc.db-wal lost what was written last" in client.err
        assert f"are in {alone.database.parent / 'backups'}" in client.err
        assert f"`torcctl daemon restore {alone.database}`" in client.err
    alone.torcctl("daemon", "restore", alone.database)
    found = note(alone)
    assert isinstance(found, list)
    assert 0 < found[0] < 19


def test_damage_that_is_found_in_use_ends_writing_and_nothing_else(alone: System) -> None:
    """A daemon that goes on to write might damage more; what can be read, can."""
    alone.start_daemon()
    alone.create(NOTE)
    alone.stop_daemon()
    flip(alone.database, root_of(alone, "event"), 8)
    daemon = alone.start_daemon()
    deadline = time.monotonic() + PATIENCE_S
    while (status := alone.torcctl("daemon", "status", json=True))["database_check"] != "damaged":
        assert time.monotonic() < deadline, status
    assert "restore a backup with `torcctl daemon restore FILE`" in status["database_damage"]
    before = alone.database.read_bytes()
    with pytest.raises(Unavailable, match="it is damaged"):
        set_note(alone, "now")
    assert note(alone) == 0
    refused = alone.torcctl("run", 1, check=False)
    assert refused.code == 1
    assert "it is damaged" in refused.err
    events = alone.torcctl("events", "list", 1, check=False)
    assert events.code == 1
    assert "it is damaged" in events.err
    assert daemon.poll() is None
    assert alone.database.read_bytes() == before
    copy = alone.torcctl("daemon", "backup", "copy.db", check=False)
    assert copy.code == 1
    assert not (alone.work / "copy.db").exists()
    assert alone.stop_daemon() == 0
    assert "Traceback" not in alone.log.read_text()


def test_a_sound_database_is_said_to_be(system: System) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (status := system.torcctl("daemon", "status", json=True))["database_check"] == "running":
        assert time.monotonic() < deadline
    assert (status["database_check"], status["database_damage"]) == ("sound", None)
