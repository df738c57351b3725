"""A disk that fails under a run: nothing is acknowledged that is not stored, and all goes on when it works again."""

import errno
import time
from typing import Any

import pytest
from faulty_disk import ALL, FaultyDisk
from real_system import PATIENCE_S, System, ask
from test_crashes import check_database

from torcd.protocol.errors import Unavailable
from torcd.protocol.requests import UpdateUserData

FAULTS: list[tuple[str, dict[str, int], str]] = [
    ("a", {"syncs": ALL}, "the disk reported an error in the middle of a commit"),
    ("b", {"writes": ALL, "error": errno.ENOSPC}, "the disk is full; nothing was changed"),
    ("c", {"writes": ALL}, "the disk reports an error; nothing was changed"),
]


def test_a_run_goes_on_when_the_disk_works_again_without_a_restart(alone: System) -> None:
    """SEMANTICS 5.3, 8.4: workers keep what could not be stored and repeat it; every job runs once"""
    disk = FaultyDisk(alone.work)
    daemon = alone.start_daemon(env=disk.environ)
    started, gate = alone.pipe("started"), alone.pipe("gate")
    names = [name for name, _, _ in FAULTS]
    jobs: list[dict[str, Any]] = [
        {"name": name, "command": "echo x > started; read x < gate; echo $TORC_JOB_NAME >> ran.txt"} for name in names
    ]
    for before, job in zip(names, jobs[1:], strict=False):
        job["depends_on"] = [before]
    workflow_id = alone.create({"name": "w", "user_data": [{"name": "note", "data": 0}], "jobs": jobs})
    run = alone.spawn("run", workflow_id)
    for name, fault, text in FAULTS:
        started.read_line()
        alone.wait_for_status(workflow_id, name, "running")
        disk.fail(**fault)
        gate.write_line()
        with pytest.raises(Unavailable, match=text):  # what a user asks for meanwhile is refused clearly
            ask(alone.connect(), UpdateUserData(workflow_id=workflow_id, name="note", data="x" * 50_000))
        deadline = time.monotonic() + PATIENCE_S
        while len(alone.read("ran.txt").split() if (alone.work / "ran.txt").exists() else []) <= names.index(name):
            assert time.monotonic() < deadline
        assert alone.statuses(workflow_id)[name] == "running", "its end is not stored"
        disk.heal()
        alone.wait_for_status(workflow_id, name, "completed")
    out, err = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, out) == (0, f"Workflow {workflow_id}: 3 completed\n"), err
    assert alone.read("ran.txt") == "a\nb\nc\n"
    assert set(alone.attempts(workflow_id).values()) == {1}
    assert alone.sql("SELECT count(*), count(DISTINCT job_id) FROM result") == [(3, 3)]
    assert daemon.poll() is None
    alone.kill_daemon()
    alone.start_daemon()
    check_database(alone)
    assert set(alone.statuses(workflow_id).values()) == {"completed"}
    assert "Traceback" not in alone.log.read_text()
