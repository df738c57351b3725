"""Databases that earlier versions left behind: each was made by the daemon of its time, from a workflow that had run.

`tests/storage/released/version_N.sql.gz`: six jobs, among them one that failed, one that was edited, one whose command
names a script; three or four runs, a value that was changed; from version 2 on digests, and a reinit to take back.
"""

import gzip
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from real_system import System

from torcd.protocol.requests import UpdateJob
from torcd.storage.migrate import load_migrations

RELEASED = Path(__file__).parents[1] / "storage" / "released"
VERSIONS = [int(path.name.split(".")[0].rpartition("_")[2]) for path in RELEASED.glob("*.sql.gz")]
FILES = {"in.txt": "c\nb\na\n", "mid.txt": "c\nb\na\n", "out.txt": "a\nb\nc\n", "tool.sh": 'sort "$1" > "$2"\n'}


def test_the_schemas_up_to_the_last_that_was_released_have_a_sample() -> None:
    """A release needs one of the schema before its own, made by the daemon before it."""
    assert sorted(VERSIONS) == [1, 2, 3, 4]
    assert len(load_migrations()) > 4


def lay_out(system: System, version: int) -> None:
    """The database, and the files of its workflow."""
    system.database.parent.mkdir(parents=True)
    dump = gzip.decompress((RELEASED / f"version_{version}.sql.gz").read_bytes()).decode()
    with closing(sqlite3.connect(system.database)) as sql:
        sql.executescript(dump.replace("@DIRECTORY@", str(system.work)))
    for name, text in FILES.items():
        system.write(name, text)


def as_recorded(system: System) -> None:
    """Gives the files the times that the database remembers."""
    for path, mtime_ns in system.sql(
        "SELECT path, mtime_ns FROM file JOIN file_record ON file_id = id WHERE size >= 0"
    ):
        os.utime(path, ns=(mtime_ns, mtime_ns))


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_a_workflow_of_an_earlier_version_goes_on(alone: System, version: int) -> None:
    """ARCHITECTURE (user_version migrations); SEMANTICS 4, 5.6, 8.5"""
    lay_out(alone, version)
    if version > 1:
        assert alone.torcctl("workflows", "undo").out == "Put back 4 jobs by taking back task 8 (reinit)\n"
    else:
        alone.start_daemon()
    assert sorted(alone.statuses(1).values()) == ["canceled", *["completed"] * 4, "failed"]
    as_recorded(alone)
    assert alone.torcctl("workflows", "reinit").out == "Reset 0 jobs due to changed inputs\n"
    ((history,),) = alone.sql("SELECT count(*) FROM result")
    assert history >= 10

    alone.write("in.txt", "d\n")
    plan = alone.plan(1)
    assert [job["name"] for job in plan["jobs"]] == ["first", "second", "third", "fourth"]
    assert alone.torcctl("workflows", "reinit", "--detect", "content").out == "Reset 4 jobs due to changed inputs\n"
    third = alone.jobs(1)["third"]["id"]
    alone.call(UpdateJob(job_id=third, command="true"))
    assert alone.torcctl("run", 1).out == "Workflow 1: 6 completed\n"
    assert alone.read("out.txt") == "d\n"
    assert alone.sql("SELECT count(*) FROM result") == [(history + 4,)]

    (kept,) = (alone.database.parent / "backups").iterdir()
    with closing(sqlite3.connect(kept)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (version,)
        assert sql.execute("SELECT name FROM workflow").fetchall() == [("sample",)]


def test_a_migration_that_fails_leaves_the_old_database_and_says_what_to_do(alone: System) -> None:
    lay_out(alone, 2)
    with closing(sqlite3.connect(alone.database)) as sql:
        sql.execute("DROP INDEX script_by_workflow")  # which the next step wants to drop
        before = list(sql.iterdump())
    client = alone.torcctl("workflows", "list", check=False)
    assert client.code == 5
    assert "cannot be brought from schema version 2 to" in client.err
    assert "It was left as it is" in client.err
    assert "Traceback" not in client.err
    with closing(sqlite3.connect(alone.database)) as sql:
        assert list(sql.iterdump()) == before
        assert sql.execute("PRAGMA user_version").fetchone() == (2,)
