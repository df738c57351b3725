"""Workers and daemon outlive each other: kills, leases, updates, and what sync-status makes of it (SEMANTICS 8.4)."""

import json
import os
import select
import signal
from pathlib import Path

import pytest
from real_system import PATIENCE_S, Pipe, System

from torcd.protocol.worker_requests import ListWorkers

UPDATED = """
import torcd
torcd.__version__ = "9.1.0"
import torcd.api.auth, torcd.storage.database as database, torcd.storage.migrate as migrate
torcd.api.auth.PROTOCOL = {protocol}
steps = migrate.load_migrations()
step = migrate.Migration(version=len(steps) + 1, name="next", sql="ALTER TABLE worker ADD COLUMN next TEXT;")
database.load_migrations = lambda: [*steps, step][: len(steps) + {has_step}]
from torcd.__main__ import main
main()
"""
"""A daemon of a later version, with another schema."""


def waiting_job(name: str = "a", **more: object) -> dict[str, object]:
    """A job that tells its pid, waits for a line and then notes its attempt."""
    return {"name": name, "command": "echo $$ > started; read x < gate; echo $TORC_ATTEMPT_ID >> ran.txt", **more}


@pytest.fixture
def pipes(alone: System) -> tuple[Pipe, Pipe]:
    return alone.pipe("started"), alone.pipe("gate")


def ended(pid: int) -> bool:
    """Waits for the end of a process."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE_S)[0])
    finally:
        os.close(descriptor)


# ---- kills and leases ----


def test_sync_status_lets_go_of_a_worker_that_was_killed(alone: System, pipes: tuple[Pipe, Pipe]) -> None:
    """INTERFACE §2: text, JSON, dry run, exit codes"""
    started, gate = pipes
    alone.start_daemon("--lease", "600")
    workflow_id = alone.create({"name": "w", "jobs": [waiting_job()]})
    worker = alone.spawn("run", workflow_id)
    job = int(started.read_line())
    alone.wait_for_status(workflow_id, "a", "running")
    nothing = alone.torcctl("workflows", "sync-status", workflow_id, "--dry-run", "--exit-code")
    assert (nothing.code, nothing.out) == (0, "Dry run: 0 jobs of workers that are gone would be released\n")
    worker.kill()
    worker.wait(PATIENCE_S)
    assert ended(job), "its guardian takes the job along"
    preview = alone.torcctl("workflows", "sync-status", workflow_id, "--dry-run", "--exit-code", check=False)
    assert (preview.code, preview.out) == (10, "Dry run: 1 job of workers that are gone would be released\n  - a\n")
    assert alone.statuses(workflow_id) == {"a": "running"}
    synced = alone.torcctl("workflows", "sync-status", workflow_id, json=True)
    assert (synced["operation"], synced["dry_run"], synced["count"], synced["warnings"]) == (
        "sync-status",
        False,
        1,
        [],
    )
    (row,) = synced["jobs"]
    assert (row["name"], row["from"], row["to"], row["to_reason"]) == ("a", "running", "terminated", "worker_lost")
    assert row["reasons"][0] | {"hostname": ""} == {
        "kind": "worker_gone", "worker_id": 1, "hostname": "", "pid": worker.pid,
    }  # fmt: skip
    assert alone.jobs(workflow_id)["a"]["status_reason"] == "worker_lost"
    assert alone.torcctl("workflows", "sync-status", workflow_id).out == "Released 0 jobs of workers that are gone\n"
    alone.torcctl("workflows", "restart", workflow_id)
    gate.write_line()
    alone.torcctl("run", workflow_id)
    assert alone.read("ran.txt") == "2\n"


def test_a_job_of_a_worker_that_was_stopped_is_not_run_beside_it(alone: System, pipes: tuple[Pipe, Pipe]) -> None:
    """SEMANTICS 5.2, 8.4: beyond its lease, and through a restart of the daemon"""
    started, gate = pipes
    alone.start_daemon("--lease", "1")
    workflow_id = alone.create({"name": "w", "jobs": [waiting_job()]})
    stopped = alone.spawn("run", workflow_id, env={"TORC_NO_AUTOSTART": "1"})
    first = int(started.read_line())
    alone.wait_for_status(workflow_id, "a", "running")
    stopped.send_signal(signal.SIGSTOP)
    alone.kill_daemon()
    alone.start_daemon("--lease", "1")
    with alone.connect() as connection:
        while alone.statuses(workflow_id) != {"a": "terminated"}:  # the lease ends
            connection.receive(timeout_s=0.01)
    alone.torcctl("workflows", "restart", workflow_id)
    other = alone.spawn("run", workflow_id, env={"TORC_NO_AUTOSTART": "1"})
    with alone.connect() as connection:
        while len(alone.call(ListWorkers(workflow_id=workflow_id))["workers"]) < 2:
            connection.receive(timeout_s=0.01)
    synced = alone.torcctl("workflows", "sync-status", workflow_id)
    assert f"worker 1 (pid {stopped.pid} on" in synced.err
    assert "its process is alive; end it, or let it go on" in synced.err
    explained = alone.torcctl("jobs", "explain", alone.jobs(workflow_id)["a"]["id"])
    assert "its former attempt may still be alive" in explained.out
    alone.kill_daemon()  # it looks again
    alone.start_daemon("--lease", "1")
    os.kill(first, 0)
    assert alone.statuses(workflow_id) == {"a": "ready"}
    stopped.send_signal(signal.SIGCONT)
    assert ended(first)
    assert int(started.read_line()) != first
    gate.write_line()
    for run in (stopped, other):
        run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0
    assert alone.read("ran.txt") == "2\n"


def test_the_lease_can_be_set(alone: System) -> None:
    """SEMANTICS 8.4"""
    config = Path(alone.environ["XDG_CONFIG_HOME"]) / "torc" / "config.toml"
    config.parent.mkdir(parents=True)
    for text in ("lease = 0.5", 'lease = "soon"'):
        config.write_text(text)
        refused = alone.spawn_daemon()
        out, _ = refused.communicate(timeout=PATIENCE_S)
        assert refused.returncode == 1
        assert b"is no number of seconds from 1 to 604800 (torcd --lease, TORCD_LEASE or config.toml)" in out
    config.write_text("lease = 90")
    alone.start_daemon()


# ---- updates ----


def start_updated(system: System, *, protocol: int = 1, has_step: int = 1) -> None:
    system.start_daemon(words=("-c", UPDATED.format(protocol=protocol, has_step=has_step)))


def test_a_run_goes_on_through_an_update_of_the_daemon(alone: System, pipes: tuple[Pipe, Pipe]) -> None:
    """SEMANTICS 8.4: stop, a later version with another schema, start"""
    started, gate = pipes
    alone.start_daemon()
    jobs = [waiting_job(), {"name": "b", "command": "echo b >> ran.txt", "depends_on": ["a"]}]
    workflow_id = alone.create({"name": "w", "jobs": jobs})
    run = alone.spawn("run", workflow_id, "--format", "json", env={"TORC_NO_AUTOSTART": "1"})
    started.read_line()
    alone.wait_for_status(workflow_id, "a", "running")
    assert alone.stop_daemon() == 0
    start_updated(alone)
    assert alone.torcctl("daemon", "status", json=True)["version"] == "9.1.0"
    gate.write_line()
    out, err = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, json.loads(out)["counts"]) == (0, {"completed": 2}), err
    assert alone.read("ran.txt") == "1\nb\n"
    assert alone.sql("SELECT next FROM worker") == [(None,)]


def test_an_update_to_another_protocol_costs_no_result(alone: System, pipes: tuple[Pipe, Pipe]) -> None:
    """SEMANTICS 8.4: the worker is told, ends what runs, and leaves the results to one of the daemon's version"""
    started, gate = pipes
    alone.start_daemon()
    jobs = [waiting_job(), {"name": "b", "command": "echo b >> ran.txt", "depends_on": ["a"]}]
    workflow_id = alone.create({"name": "w", "jobs": jobs})
    run = alone.spawn("run", workflow_id, env={"TORC_NO_AUTOSTART": "1"})
    started.read_line()
    alone.wait_for_status(workflow_id, "a", "running")
    assert alone.stop_daemon() == 0
    start_updated(alone, protocol=2, has_step=0)
    assert run.stderr is not None
    while "What runs goes on to its end" not in (line := run.stderr.readline()):
        assert line
    assert "torcd 9.1.0 speaks protocol 2 and torcctl" in line
    gate.write_line()
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert "1 results could not be reported; they are in" in err
    left = alone.work / ".torc" / str(workflow_id) / "unreported_1.json"
    assert left.exists()
    assert alone.stop_daemon() == 0
    alone.start_daemon()  # of the version that torcctl has, which here is the former one
    alone.torcctl("run", workflow_id)
    assert not left.exists()
    assert alone.statuses(workflow_id) == {"a": "completed", "b": "completed"}
    assert alone.read("ran.txt") == "1\nb\n"
