"""Workers and clients on other hosts, as real programs (INTERFACE 1, 4)."""

import json
import os
import shutil
import signal
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from certificates import Impostor, make_foreign
from descriptors_seen import descriptors_of
from real_system import PATIENCE_S, System, ask
from remote_system import Remote, environment_of, received_to_the_end, words_of

from torcd.protocol.client import connect
from torcd.protocol.private_files import write_private
from torcd.protocol.requests import DaemonStatus

TWO_STEPS: dict[str, Any] = {
    "name": "two steps",
    "jobs": [
        {"name": "first", "command": "echo started > started; read go < gate"},
        {"name": "second", "command": "torcctl -f json workflows status > seen.json", "depends_on": ["first"]},
    ],
}
ONE_JOB: dict[str, Any] = {"name": "one", "jobs": [{"name": "a", "command": "true"}]}


@pytest.fixture
def remote(alone: System) -> Remote:
    """A user whose daemon is not started yet."""
    return Remote(alone)


@pytest.fixture(scope="module")
def listening(shared: System) -> Remote:
    """One daemon for the tests that do not harm it."""
    shared.stop_daemon()
    made = Remote(shared)
    made.start_daemon()
    return made


# ---- what there is of it ----


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="where Slurm is, it listens by default")
def test_nothing_listens_by_default_and_the_file_says_so(remote: Remote) -> None:
    """INTERFACE 1 (connection file); ADR 5"""
    daemon = remote.system.start_daemon()
    assert (remote.file.port, remote.file.token, remote.file.pid) == (None, None, daemon.pid)
    listing = Path(f"/proc/{daemon.pid}/net/tcp").read_text() + Path(f"/proc/{daemon.pid}/net/tcp6").read_text()
    opened = descriptors_of(daemon.pid).values()
    assert not any(f"socket:[{line.split()[9]}]" in opened for line in listing.splitlines() if ":" in line[:6])
    refused = remote.system.torcctl("daemon", "rotate-token", check=False)
    assert refused.code == 7
    assert "TORCD_LISTEN" in refused.err


def test_the_files_are_private_and_go_with_an_orderly_stop(remote: Remote) -> None:
    """INTERFACE 1 (connection file: 0600)"""
    remote.start_daemon()
    key = remote.path.with_name("tls.pem")
    for path in (remote.path, key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    status = remote.system.torcctl("daemon", "status", json=True)
    assert (status["remote_url"], status["fingerprint"]) == (remote.url, remote.file.fingerprint)
    assert remote.system.stop_daemon() == 0
    assert not remote.path.exists()
    assert key.exists()


def test_the_token_is_nowhere_but_in_its_file(remote: Remote) -> None:
    """INTERFACE 1, 4: not in logs, argv, events, errors, environments"""
    system = remote.system
    daemon = remote.start_daemon(PYTHONDEVMODE="")
    token = remote.file.token
    assert token is not None
    workflow_id = system.create(
        {"name": "env", "jobs": [{"name": "a", "command": "env; tr '\\0' ' ' < /proc/$PPID/cmdline"}]}
    )
    worker = remote.torcctl("--log-level", "debug", "run", workflow_id)
    status = remote.torcctl("daemon", "status", json=True)
    wrong = remote.torcctl("workflows", "list", check=False, env={"TORC_URL": remote.url, "TORC_TOKEN": "wrong"})
    rotated = remote.torcctl("daemon", "rotate-token", json=True)
    events = system.torcctl("events", "list", workflow_id, json=True)
    said = json.dumps([worker, status, wrong, rotated, events]) + system.log.read_text()
    said += "".join(path.read_text() for path in (system.work / ".torc").rglob("*.[oe]"))
    assert "TORC_JOB_NAME=a" in said
    for secret in (token, remote.file.token or "?"):
        assert secret not in said
        assert secret.encode() not in words_of(daemon.pid) + environment_of(daemon.pid)
        assert secret.encode() not in system.database.read_bytes()


def test_a_killed_daemons_file_is_in_nobodys_way(remote: Remote) -> None:
    """INTERFACE 1: no stale file ever has to be removed by hand"""
    remote.start_daemon()
    before = remote.file
    remote.system.kill_daemon()
    assert remote.file == before
    assert remote.system.torcctl("workflows", "list", json=True) == {"workflows": []}  # starts one
    assert remote.file.pid == remote.system.only_daemon()


@pytest.mark.parametrize("state", ["expired", "open to others"])
def test_a_certificate_of_no_use_is_made_anew_at_the_start(remote: Remote, state: str) -> None:
    remote.start_daemon()
    before = remote.file.fingerprint
    remote.system.stop_daemon()
    key = remote.path.with_name("tls.pem")
    if state == "expired":
        write_private(key, make_foreign(days=-1))
    else:
        key.chmod(0o644)
    remote.start_daemon()
    assert remote.file.fingerprint != before
    assert "made anew" in remote.system.log.read_text()
    assert remote.torcctl("workflows", "list", json=True) == {"workflows": []}


# ---- a worker on another host ----


def test_a_worker_and_its_jobs_find_the_daemon_by_the_file(remote: Remote) -> None:
    """INTERFACE 1 (order); SEMANTICS 8.2"""
    system = remote.system
    remote.start_daemon()
    workflow_id = system.create(TWO_STEPS)
    started, gate = system.pipe("started"), system.pipe("gate")
    worker = remote.spawn("run", workflow_id)
    assert started.read_line() == "started"
    gate.write_line()
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0, err
    assert out == f"Workflow {workflow_id}: 2 completed\n"
    assert json.loads(system.read("seen.json"))["workflow_id"] == workflow_id
    (result,) = {row["hostname"] for row in system.torcctl("results", "list", workflow_id, json=True)["results"]}
    assert result == "node1"


def test_a_new_token_in_the_middle_of_a_run_loses_no_worker(remote: Remote) -> None:
    """SEMANTICS 8.4: it reads the file again; what runs goes on"""
    system = remote.system
    remote.start_daemon()
    workflow_id = system.create(TWO_STEPS)
    started, gate = system.pipe("started"), system.pipe("gate")
    worker = remote.spawn("run", workflow_id)
    assert started.read_line() == "started"
    former = remote.file.token
    answer = system.torcctl("daemon", "rotate-token", json=True)
    assert answer == {"rotated": True, "sessions_ended": 1, "connection_file": str(remote.path)}
    assert remote.file.token != former
    old = remote.torcctl("workflows", "list", check=False, env={"TORC_URL": remote.url, "TORC_TOKEN": former or ""})
    assert (old[0], "connection file" in old[2]) == (1, True)
    gate.write_line()
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert (worker.returncode, out) == (0, f"Workflow {workflow_id}: 2 completed\n"), err
    assert system.attempts(workflow_id) == {"first": 1, "second": 1}


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_daemon_that_comes_back_at_another_port_is_found_by_its_workers(remote: Remote, end: str) -> None:
    """SEMANTICS 8.4; and the worker starts none on its own host meanwhile"""
    system = remote.system
    remote.start_daemon()
    before = remote.file
    workflow_id = system.create(TWO_STEPS)
    started, gate = system.pipe("started"), system.pipe("gate")
    worker = remote.spawn("run", workflow_id)
    assert started.read_line() == "started"
    if end == "stopped":
        system.stop_daemon()
    else:
        system.kill_daemon()
    daemon = remote.start_daemon("127.0.0.2:0")
    after = remote.file
    assert (before.port, before.token) != (after.port, after.token)
    assert before.fingerprint == after.fingerprint
    gate.write_line()
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert (worker.returncode, out) == (0, f"Workflow {workflow_id}: 2 completed\n"), err
    assert system.attempts(workflow_id) == {"first": 1, "second": 1}
    assert system.daemon_pids() == [daemon.pid]


def test_commands_work_over_tls_as_they_do_here(remote: Remote) -> None:
    system = remote.system
    remote.start_daemon()
    spec = system.spec(ONE_JOB)
    created = remote.torcctl("workflows", "create", spec, json=True)
    for args in (["workflows", "get", created["workflow_id"]], ["jobs", "list", created["workflow_id"]]):
        assert remote.torcctl(*args, json=True) == system.torcctl(*args, json=True)
    watch = remote.spawn("events", "watch", created["workflow_id"], "--from-seq", 1)
    assert watch.stdout is not None
    assert watch.stdout.readline()
    assert remote.torcctl("daemon", "stop")[1] == "running: false\n"
    assert system.daemon is not None
    assert system.daemon.wait(PATIENCE_S) == 0


# ---- wrong fingerprints and tokens ----


def address(remote: Remote, **changes: str) -> dict[str, str]:
    file = remote.file
    return {
        "TORC_URL": remote.url,
        "TORC_TOKEN": file.token or "",
        "TORC_FINGERPRINT": file.fingerprint or "",
        "TORCD_CONNECTION_FILE": "/none",
        **changes,
    }


def test_an_address_can_be_given_without_the_file(listening: Remote) -> None:
    assert listening.torcctl("workflows", "list", json=True, env=address(listening)) == {"workflows": []}
    colons = (listening.file.fingerprint or "").upper()
    colons = ":".join(colons[place : place + 2] for place in range(0, 64, 2))
    listening.torcctl("workflows", "list", env=address(listening, TORC_FINGERPRINT=colons))


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"TORC_TOKEN": "wrong"}, 1, "the token is not this daemon's"),
        ({"TORC_TOKEN": ""}, 1, "a token is needed"),
        ({"TORC_FINGERPRINT": "0" * 64}, 5, "nothing was sent to it"),
        ({"TORC_FINGERPRINT": ""}, 7, "TORC_FINGERPRINT"),
        ({"TORC_FINGERPRINT": "nonsense"}, 7, "64 hexadecimal digits"),
    ],
)
def test_what_is_wrong_about_an_address_is_told(
    listening: Remote, changes: dict[str, str], code: int, said: str
) -> None:
    """INTERFACE 4 (pinned fingerprint, token)"""
    refused = listening.torcctl("workflows", "list", check=False, env=address(listening, **changes))
    assert refused[0] == code, refused
    assert said in refused[2]
    assert "Traceback" not in refused[2]


def test_a_token_from_the_file_goes_to_the_daemon_of_the_file_only(listening: Remote) -> None:
    """A fingerprint that was given and is another one's: the token of the file is not for that daemon."""
    environ = address(listening, TORC_TOKEN="", TORC_FINGERPRINT="0" * 64)
    del environ["TORCD_CONNECTION_FILE"]
    refused = listening.torcctl("workflows", "list", check=False, env=environ)
    assert refused[0] == 5
    environ["TORC_FINGERPRINT"] = ""
    assert listening.torcctl("workflows", "list", json=True, env=environ) == {"workflows": []}


def test_nothing_is_said_to_an_impostor_at_the_daemons_port(remote: Remote) -> None:
    """The daemon was killed and another program took its port: it hears no token (INTERFACE 4)"""
    remote.start_daemon()
    port = remote.file.port
    assert port is not None
    remote.system.kill_daemon()
    with Impostor(port, remote.system.work / "impostor.pem") as impostor:
        refused = remote.torcctl("workflows", "list", check=False)
        assert refused[0] == 5
        assert "another" in refused[2] or "not the daemon" in refused[2]
        assert "torcctl daemon start" in refused[2]
        assert impostor.heard == b""
        assert impostor.visits > 0


# ---- what strangers do to it ----


NOISES = [
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"x" * 200_000,
    b"\x16\x03\x01\x40\x00" + b"\x01" * 16_384,
]


@pytest.mark.parametrize("number", range(len(NOISES)))
@pytest.mark.parametrize("stage", ["tcp", "tls"])
def test_noise_on_the_port_harms_nobody(listening: Remote, stage: str, number: int) -> None:
    """INTERFACE 4 (limits with clear errors)"""
    noisy = listening.open_plain() if stage == "tcp" else listening.open_tls()
    with noisy:
        with suppress(ConnectionError, OSError):
            noisy.sendall(NOISES[number])
        file = listening.file
        with connect(listening.url, token=file.token, fingerprint=file.fingerprint) as connection:
            assert ask(connection, DaemonStatus())["pid"] == file.pid
        assert listening.system.call(DaemonStatus())["pid"] == file.pid
        log = listening.system.log.read_text()
        assert "Traceback" not in log
        assert "xxxx" not in log


def test_half_open_connections_keep_nobody_out(remote: Remote) -> None:
    """INTERFACE 4 (idle time before hello): more of them than are listened to at a time"""
    remote.start_daemon()
    held = []
    try:
        for _ in range(100):
            stream = remote.open_plain()
            held.append(stream)
            stream.sendall(b"\x16\x03\x01")  # half of a TLS record's head
        assert remote.torcctl("workflows", "list", json=True) == {"workflows": []}
        assert remote.system.torcctl("workflows", "list", json=True) == {"workflows": []}
        assert received_to_the_end(held[0]) == b"", "it was given two seconds"
    finally:
        for stream in held:
            stream.close()
    log = remote.system.log.read_text()
    assert "Traceback" not in log
    assert "WARNING" not in log


# ---- the daemon of another host ----


def test_a_silent_daemon_elsewhere_is_told_and_none_is_started_beside_it(remote: Remote) -> None:
    """INTERFACE 1 (order): its lock may not reach this host"""
    daemon = remote.start_daemon()
    os.kill(daemon.pid, signal.SIGSTOP)
    started = time.monotonic()
    refused = remote.torcctl("workflows", "list", check=False)
    assert time.monotonic() - started < 30
    assert refused[0] == 5
    for said in (remote.file.host, str(remote.path), "torcctl daemon start"):
        assert said in refused[2]
    assert remote.system.daemon_pids() == [daemon.pid]
    os.kill(daemon.pid, signal.SIGCONT)
    assert remote.torcctl("workflows", "list", json=True) == {"workflows": []}


def test_a_daemon_elsewhere_that_does_not_listen_is_told(remote: Remote) -> None:
    daemon = remote.system.start_daemon("--listen", "off")
    refused = remote.torcctl("workflows", "list", check=False)
    assert refused[0] == 5
    assert "TORCD_LISTEN" in refused[2]
    assert remote.system.daemon_pids() == [daemon.pid]


def test_one_that_died_elsewhere_is_replaced_when_that_is_asked_for(remote: Remote) -> None:
    """INTERFACE 1: no stale file ever has to be removed by hand"""
    remote.start_daemon()
    remote.system.kill_daemon()
    code, out, err = remote.torcctl("daemon", "start")
    assert code == 0
    assert "cannot be reached" in err
    assert "running: true" in out
    assert remote.file.pid == remote.system.only_daemon()


def test_a_second_daemon_for_the_database_does_not_start_although_the_lock_does_not_reach(remote: Remote) -> None:
    """As on a file system whose locks hold on one host only: the daemon that the file names answers."""
    daemon = remote.start_daemon()
    lock = remote.system.database.with_name("torc.db.lock")
    lock.unlink()  # a new file has a new lock
    second = remote.spawn_program("torcd", "node1")
    _, err = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 75, err
    assert f"runs on host {remote.file.host}" in err
    assert remote.file.pid == daemon.pid
    assert remote.torcctl("daemon", "start")[0] == 0  # finds the first one
    assert remote.system.daemon_pids() == [daemon.pid]


def test_a_daemon_with_another_database_leaves_the_file_alone(remote: Remote) -> None:
    daemon = remote.start_daemon()
    second = {
        "TORCD_DATABASE": str(remote.system.work / "other" / "other.db"),
        "TORCD_SOCKET": str(remote.system.socket.with_name("second.sock")),
    }
    system = remote.system
    refused = system.spawn_daemon("--listen", ":0", env=second)
    out, _ = refused.communicate(timeout=PATIENCE_S)
    assert (refused.returncode, b"TORCD_CONNECTION_FILE" in out) == (1, True)
    other = system.torcctl("daemon", "status", check=False, env=second)
    assert other.code == 5, "the file's daemon has another database"
    assert json.loads(system.torcctl("-f", "json", "daemon", "start", env=second).out)["pid"] != daemon.pid
    assert remote.file.pid == daemon.pid
    assert system.torcctl("daemon", "stop", env=second).code == 0
    assert remote.file.pid == daemon.pid


def test_a_session_with_another_runtime_directory_finds_the_daemon(remote: Remote) -> None:
    """As one without XDG_RUNTIME_DIR: the file names the socket."""
    daemon = remote.system.start_daemon()
    status = remote.system.torcctl("daemon", "status", json=True, env={"TORCD_SOCKET": remote.environ["TORCD_SOCKET"]})
    assert status["pid"] == daemon.pid


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_file_that_others_can_read_is_not_believed(remote: Remote, mode: int) -> None:
    """INTERFACE 1 (0600)"""
    remote.start_daemon()
    remote.path.chmod(mode)
    refused = remote.torcctl("workflows", "list", check=False)
    assert refused[0] == 7
    assert f"{mode:04o}" in refused[2]


# ---- the listener ----


def test_a_port_that_is_taken_ends_the_start_with_a_sentence(remote: Remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        daemon = remote.system.spawn_daemon("--listen", f"127.0.0.1:{listener.getsockname()[1]}")
        out, _ = daemon.communicate(timeout=PATIENCE_S)
    assert daemon.returncode == 1
    assert b"TORCD_LISTEN" in out
    assert b"Traceback" not in out


def test_plain_websockets_are_for_loopback_only(listening: Remote) -> None:
    """INTERFACE 4: the daemon itself speaks TLS even there"""
    refused = listening.torcctl("--url", "ws://example.org:1", "workflows", "list", check=False)
    assert (refused[0], "loopback only" in refused[2]) == (7, True)
    plain = listening.torcctl("--url", f"ws://127.0.0.1:{listening.file.port}", "workflows", "list", check=False)
    assert plain[0] == 5
