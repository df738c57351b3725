"""A real daemon on a file system on which SQLite's write-ahead log is not safe: slower, and otherwise as ever."""

import sqlite3
from contextlib import closing

from real_system import PATIENCE_S, System

ELSEWHERE = """
from torcd.protocol import mounts
mounts._LOCAL = frozenset()
from torcd.__main__ import main
main()
"""
"""torcd, with every file system taken for a network one."""


def test_a_run_a_backup_and_a_crash_on_an_unsafe_file_system(alone: System) -> None:
    """SEMANTICS 8.4; one connection, with a rollback journal and without shared memory."""
    words = ("-c", ELSEWHERE)
    alone.start_daemon(words=words)
    assert "only one query at a time" in alone.log.read_text()
    workflow_id = alone.create(
        {
            "name": "w",
            "parameters": {"i": "1:20"},
            "files": [{"name": "out", "path": "out"}],
            "jobs": [
                {"name": "short{i}", "command": "true", "use_parameters": ["i"]},
                {"name": "held", "command": "echo x > started; read x < gate; echo $x >> out", "output_files": ["out"]},
                {"name": "last", "command": "test -s out", "input_files": ["out"]},
            ],
        }
    )  # fmt: skip
    started, gate = alone.pipe("started"), alone.pipe("gate")
    run = alone.spawn("run", workflow_id, "--max-parallel-jobs", 2, env={"TORC_NO_AUTOSTART": "1"})
    assert started.read_line() == "x"
    copy = alone.torcctl("daemon", "backup", "copy.db", json=True)["path"]
    with closing(sqlite3.connect(copy)) as made:
        assert made.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    files = {path.name for path in alone.database.parent.iterdir()}
    assert not files & {"torc.db-wal", "torc.db-shm"}

    alone.kill_daemon()
    gate.write_line()
    alone.start_daemon(words=words)
    out, err = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, out) == (0, f"Workflow {workflow_id}: 22 completed\n"), err
    assert set(alone.attempts(workflow_id).values()) == {1}
    assert len(alone.read("out").splitlines()) == 1
    assert alone.plan(workflow_id)["count"] == 0
    assert alone.stop_daemon() == 0
    assert alone.sql("PRAGMA integrity_check") == [("ok",)]
    assert alone.sql("SELECT count(*), count(DISTINCT job_id) FROM result") == [(22, 22)]
