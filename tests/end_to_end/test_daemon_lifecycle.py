"""The daemon as a process: how it starts, who may reach it, what it bears, how it ends (INTERFACE §1, §4)."""

import json
import os
import random
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from descriptors_seen import descriptors_of
from real_system import PATIENCE_S, System, ask, many_files

from torcd.protocol import PROTOCOL, websocket
from torcd.protocol.requests import DaemonStatus, ListWorkflows
from torcd.protocol.rpc import MAX_FRAME

ONE_JOB: dict[str, Any] = {"name": "one", "jobs": [{"name": "a", "command": "true"}]}


def failed_start(system: System, *args: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of a torcd that cannot start."""
    daemon = system.spawn_daemon(*args, env=env)
    out, _ = daemon.communicate(timeout=PATIENCE_S)
    return daemon.returncode, out.decode()


# ---- start ----


def test_clients_that_start_at_once_end_with_one_daemon(alone: System) -> None:
    """INTERFACE 1 (autostart)"""
    clients = [alone.spawn("-f", "json", "daemon", "start") for _ in range(2)]
    clients += [alone.spawn("-f", "json", "workflows", "list") for _ in range(2)]
    answers = []
    for client in clients:
        out, err = client.communicate(timeout=PATIENCE_S)
        assert (client.returncode, err) == (0, "")
        answers.append(json.loads(out))
    pid = answers[0]["pid"]
    assert [answer["pid"] for answer in answers[:2]] == [pid, pid]
    assert answers[2:] == [{"workflows": []}] * 2
    assert alone.only_daemon() == pid
    assert alone.torcctl("daemon", "status", json=True)["pid"] == pid


def test_the_started_daemon_takes_nothing_of_its_starter_along(alone: System) -> None:
    """INTERFACE 1 (autostart): own session, / as cwd, no inherited descriptor"""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    start = subprocess.Popen(
        ["torcctl", "daemon", "start"],
        cwd=alone.work,
        env=alone.environ,
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = start.communicate(timeout=PATIENCE_S)  # ends although the daemon lives: it does not hold the pipe
    assert start.returncode == 0, out
    os.close(writer)
    assert os.read(reader, 1) == b""  # nobody holds the other end any more
    os.close(reader)
    (pid,) = alone.daemon_pids()
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert os.getsid(pid) == pid
    links = descriptors_of(pid)
    assert (links[0], links[1], links[2]) == ("/dev/null", str(alone.log), str(alone.log))
    assert str(alone.work) not in " ".join(links.values())


def test_a_client_whose_directory_was_removed_starts_a_daemon_too(alone: System) -> None:
    done = alone.bash("mkdir gone && cd gone && rmdir ../gone && torcctl workflows list --format json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"workflows": []})


def test_a_long_path_of_the_socket_is_told(alone: System) -> None:
    path = f"{alone.work}/{'long' * 30}.sock"
    code, out = failed_start(alone, "--socket", path)
    assert code == 1
    assert "TORCD_SOCKET" in out
    client = alone.torcctl("workflows", "list", check=False, env={"TORCD_SOCKET": path})
    assert client.code == 5
    assert "TORCD_SOCKET" in client.err


# ---- who may reach it, and one daemon for one database ----


def test_the_socket_is_for_its_owner_only(system: System) -> None:
    """INTERFACE 4 (Unix socket)"""
    found = system.socket.lstat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert stat.S_IMODE(system.socket.parent.stat().st_mode) == 0o700
    for path in system.database.parent.iterdir():
        assert path.name == "torcd.log" or stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_directory_open_to_others_is_refused_for_the_socket(alone: System) -> None:
    """INTERFACE 4 (Unix socket)"""
    directory = alone.socket.parent / "open"
    directory.mkdir()
    directory.chmod(0o755)
    code, out = failed_start(alone, "--socket", str(directory / "torcd.sock"))
    assert code == 1
    assert "chmod 700" in out


def test_a_second_daemon_for_the_same_database_exits_75(system: System) -> None:
    """INTERFACE 1 (kernel lock)"""
    before = system.socket.lstat()
    code, out = failed_start(system)
    assert code == 75
    assert "torcctl daemon stop" in out
    code, _ = failed_start(system, "--socket", str(system.socket.parent / "other.sock"))
    assert code == 75
    assert system.socket.lstat() == before
    assert system.call(DaemonStatus())["running"] is True


def test_a_daemon_for_another_database_does_not_take_the_socket(system: System) -> None:
    code, out = failed_start(system, "--database", str(system.work / "other.db"))
    assert code == 1
    assert str(system.socket) in out
    assert system.call(DaemonStatus())["database"] == str(system.database)


def test_what_a_killed_daemon_leaves_behind_needs_no_care(alone: System) -> None:
    """INTERFACE 1: no stale pid, lock or socket file ever has to be removed by hand"""
    alone.start_daemon()
    workflow_id = alone.create(ONE_JOB)
    alone.kill_daemon()
    assert alone.socket.exists()
    assert alone.database.with_name("torc.db.lock").exists()
    assert alone.torcctl("workflows", "get", workflow_id, json=True)["name"] == "one"  # starts one
    (pid,) = alone.daemon_pids()
    assert alone.torcctl("daemon", "status", json=True)["pid"] == pid


def test_a_client_that_comes_while_the_daemon_ends_gets_the_next_one(alone: System) -> None:
    """INTERFACE 1 (autostart)"""
    old = alone.start_daemon()
    alone.connect()  # a client that does not take part in the closing keeps it for two seconds
    workflow_id = alone.create(ONE_JOB)
    old.terminate()
    clients = [alone.spawn("workflows", "get", workflow_id) for _ in range(3)]
    for client in clients:
        _, err = client.communicate(timeout=PATIENCE_S)
        assert (client.returncode, err) == (0, "")
    assert old.wait(PATIENCE_S) == 0
    assert alone.only_daemon() == alone.call(DaemonStatus())["pid"]


# ---- where it cannot start ----


@pytest.mark.parametrize("directory", ["a file", "/proc"])
def test_a_state_directory_that_cannot_be_written_is_told(alone: System, directory: str) -> None:
    """Both to who starts torcd and to who only wanted a list."""
    if directory == "a file":
        directory = str(alone.write("file", ""))
    database = f"{directory}/torc/torc.db"
    code, out = failed_start(alone, env={"TORCD_DATABASE": database})
    assert code == 1
    assert f"{database}.lock" in out
    assert "Traceback" not in out
    client = alone.torcctl("workflows", "list", check=False, env={"TORCD_DATABASE": database})
    assert client.code == 5
    assert directory in client.err
    assert "Traceback" not in client.err


def test_a_lock_that_cannot_be_taken_is_told(alone: System) -> None:
    """INTERFACE 1 (kernel lock)"""
    lock = alone.database.with_name("torc.db.lock")
    lock.parent.mkdir(parents=True)
    lock.symlink_to("/etc/passwd")
    code, out = failed_start(alone)
    assert code == 1
    assert str(lock) in out
    assert "Traceback" not in out


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(alone: System) -> None:
    """ARCHITECTURE (storage: user_version)"""
    alone.start_daemon()
    alone.stop_daemon()
    with sqlite3.connect(alone.database) as db:
        db.execute("PRAGMA user_version = 4711")
    db.close()
    before = alone.database.read_bytes()
    code, out = failed_start(alone)
    assert code == 1
    assert "4711" in out
    assert "Upgrade torcd" in out
    client = alone.torcctl("workflows", "list", check=False)
    assert client.code == 5
    assert "Upgrade torcd" in client.err  # it shows what the daemon said before it ended
    assert alone.database.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database, but long enough to be looked at " * 50, b"SQLite format 3\0" * 9])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(alone: System, content: bytes) -> None:
    alone.database.parent.mkdir(parents=True)
    alone.database.write_bytes(content)
    code, out = failed_start(alone)
    assert code == 1
    assert str(alone.database) in out
    assert "Traceback" not in out
    assert alone.database.read_bytes() == content


def test_a_database_of_another_program_is_refused(alone: System) -> None:
    alone.database.parent.mkdir(parents=True)
    with sqlite3.connect(alone.database) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    code, out = failed_start(alone)
    assert code == 1
    assert "another program" in out


def test_a_start_that_failed_after_the_database_was_opened_is_not_taken_for_a_kill(alone: System) -> None:
    alone.start_daemon()
    alone.stop_daemon()
    for _ in range(2):
        code, out = failed_start(alone, "--listen", "nonsense")
        assert code == 1
        assert "'nonsense' is neither auto, off nor HOST:PORT" in out
        assert "killed" not in out


# ---- how it ends ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(alone: System, number: signal.Signals) -> None:
    """INTERFACE 1 (SIGTERM)"""
    daemon = alone.start_daemon()
    workflow_id = alone.create(ONE_JOB)
    watch = alone.spawn("--no-autostart", "events", "watch", workflow_id, "--from-seq", 1)
    assert watch.stdout is not None
    watch.stdout.readline()  # the session of a client that waits does not hold it up
    daemon.send_signal(number)
    assert daemon.wait(PATIENCE_S) == 0
    assert not alone.socket.exists()
    assert alone.database.with_name("torc.db-wal").exists() is False
    assert "Traceback" not in alone.log.read_text()


def test_a_service_manager_that_has_gone_holds_nothing_up(alone: System) -> None:
    alone.start_daemon()  # who waited for READY=1 does not listen any more
    assert alone.stop_daemon() == 0
    assert "could not be told STOPPING=1" in alone.log.read_text()


def test_a_stop_while_a_task_scans_waits_for_nothing_and_the_task_is_failed(alone: System) -> None:
    """SEMANTICS 6.6; INTERFACE 1 (SIGTERM)"""
    alone.start_daemon()
    workflow_id = alone.create(many_files())
    with alone.held_scan(workflow_id):
        task = alone.torcctl("workflows", "reinit", workflow_id, "--async", json=True)
        waiting = alone.spawn("tasks", "wait", task["task_id"])
        assert alone.stop_daemon() == 0
        _, err = waiting.communicate(timeout=PATIENCE_S)  # it starts a daemon and asks that one
    assert waiting.returncode == 1
    assert "daemon restarted while the task was in progress; nothing was changed" in err
    ended = alone.torcctl("tasks", "get", task["task_id"], json=True)
    assert ended["status"] == "failed"
    assert ended["error"] == "daemon restarted while the task was in progress; nothing was changed"
    assert alone.run_id(workflow_id) == 0


# ---- what it bears ----


class Wire:
    """A socket to the daemon on which anything may be said."""

    def __init__(self, system: System) -> None:
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stream.settimeout(PATIENCE_S)
        self.stream.connect(str(system.socket))
        self._receiver = websocket.Receiver(MAX_FRAME)
        self._messages = self._receiver.messages()

    def upgrade(self) -> None:
        self.stream.sendall(websocket.encode_upgrade("localhost", "/v1", websocket.new_key()))
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.stream.recv(1)
        assert head.startswith(b"HTTP/1.1 101")

    def say(self, text: bytes) -> None:
        self.stream.sendall(websocket.encode_frame(websocket.TEXT, text))

    def hear(self) -> websocket.Message | None:
        """The next message; None when the daemon closed the socket."""
        while (message := next(self._messages, None)) is None:
            self._messages = self._receiver.messages()
            try:
                data = self.stream.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._receiver.feed(data)
        return message

    def ask(self, document: object) -> dict[str, Any]:
        """The answer to a document."""
        self.say(document if isinstance(document, bytes) else json.dumps(document).encode())
        message = self.hear()
        assert message is not None
        assert message.opcode == websocket.TEXT, message
        answer: dict[str, Any] = json.loads(message.payload)
        return answer

    def call(self, method: str, **params: object) -> dict[str, Any]:
        return self.ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    def greet(self) -> None:
        self.upgrade()
        assert "result" in self.call("session.hello", protocol=PROTOCOL, client="test", version="1")


@pytest.fixture
def wire(system: System) -> Any:
    """A session that has said hello."""
    made = Wire(system)
    made.greet()
    yield made
    made.stream.close()


def noises() -> list[bytes]:
    """What no client sends: before the handshake, and after it."""
    luck = random.Random(11)
    half = websocket.encode_frame(websocket.TEXT, b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.status"}')
    return [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: localhost\r\n",
        b"x" * 200_000,
        luck.randbytes(5000),
        half[:9],
        half[:2],
        bytes([0x81, 0x80 | 127]) + struct.pack(">Q", 1 << 62),
        bytes([0x81, 0x80 | 127]) + struct.pack(">Q", MAX_FRAME + 1) + b"mask" + b"x" * 100_000,
        bytes([0x83, 0x80]) + b"mask",
        bytes([0x89, 0xFE, 0xFF, 0xFF]) + b"mask" + b"p" * 70_000,
        websocket.encode_frame(websocket.TEXT, b"\xff\xfe\xfd"),
    ]


@pytest.mark.parametrize("number", range(len(noises())))
@pytest.mark.parametrize("stage", ["before the handshake", "before hello", "after hello"])
def test_noise_on_the_socket_harms_nobody_else(system: System, stage: str, number: int) -> None:
    """INTERFACE 4 (limits with clear errors)"""
    friend = system.connect()
    pid = ask(friend, DaemonStatus())["pid"]
    noisy = Wire(system)
    if stage == "before hello":
        noisy.upgrade()
    elif stage == "after hello":
        noisy.greet()
    noise = noises()[number]
    with suppress(BrokenPipeError, ConnectionResetError):  # hanging up is as good an answer as any
        noisy.stream.sendall(noise)
    assert ask(friend, ListWorkflows(limit=1))["workflows"] == []
    noisy.stream.close()
    assert ask(friend, DaemonStatus())["pid"] == pid
    assert "Traceback" not in system.log.read_text()


def test_a_frame_above_the_limit_is_refused_by_its_number(system: System, wire: Wire) -> None:
    """INTERFACE 4 (16 MiB)"""
    with suppress(BrokenPipeError, ConnectionResetError):
        wire.say(b'"' + b"x" * MAX_FRAME + b'"')
    message = wire.hear()
    if message is not None:  # else it reset the connection while we were still sending
        assert message.opcode == websocket.CLOSE
        assert websocket.decode_close(message.payload)[0] == 1009
    assert system.call(DaemonStatus())["running"] is True


def test_a_long_frame_below_the_limit_is_read(wire: Wire) -> None:
    """INTERFACE 4 (16 MiB)"""
    answer = wire.call("workflows.list", filters=[["name", "x" * (MAX_FRAME - 500)]])
    assert answer["result"]["workflows"] == []


def test_nothing_is_answered_before_hello(system: System) -> None:
    """INTERFACE 4"""
    wire = Wire(system)
    wire.upgrade()
    refused = wire.call("daemon.status")
    assert refused["error"]["code"] == 401
    assert "result" in wire.call("session.hello", protocol=PROTOCOL, client="test", version="1")
    assert wire.call("daemon.status")["result"]["running"] is True
    wire.stream.close()


def test_another_protocol_is_refused_with_the_side_to_update(system: System) -> None:
    """INTERFACE 4 (session.hello)"""
    for protocol, side in ((PROTOCOL + 1, "update torcd"), (PROTOCOL - 1, "update torcctl")):
        wire = Wire(system)
        wire.upgrade()
        refused = wire.call("session.hello", protocol=protocol, client="torcctl", version="9")
        assert refused["error"]["code"] == 401
        assert side in refused["error"]["message"]
        wire.stream.close()


@pytest.mark.parametrize(
    ("method", "params", "path"),
    [
        ("workflows.get", {"workflow_id": "1"}, "$.workflow_id"),
        ("workflows.get", {"workflow_id": 1.5}, "$.workflow_id"),
        ("workflows.get", {"workflow_id": None}, "$.workflow_id"),
        ("workflows.get", {}, "$"),
        ("workflows.get", {"workflow_id": 1, "more": 2}, "$"),
        ("workflows.reinit", {"workflow_id": 1, "detect": "smell"}, "$.detect"),
        ("workflows.reinit", {"workflow_id": 1, "force": "yes"}, "$.force"),
        ("jobs.list", {"workflow_id": 1, "filters": [["a"]]}, "$.filters[0]"),
        ("jobs.list", {"workflow_id": 1, "limit": 0}, "$.limit"),
        ("jobs.list", {"workflow_id": 1, "limit": 10**9}, "$.limit"),
        ("workers.report", {"worker_id": 1, "ended": [{"job_id": 1}]}, "$.ended[0]"),
        ("user_data.get", {}, "$"),
        ("files.get", {"name": "f"}, "$"),
        ("jobs.find", {"names": ["a"]}, "$.workflow_id"),
        ("workflows.get", {"workflow_id": 1 << 80}, "$.workflow_id"),
        ("workflows.get", {"workflow_id": 1 << 63}, "$.workflow_id"),
        ("workflows.get", {"workflow_id": -(1 << 63)}, "$.workflow_id"),
        ("jobs.list", {"workflow_id": 1, "cursor": -1}, "$.cursor"),
        ("jobs.reset_status", {"workflow_id": 1, "jobs": [1 << 63]}, "$.jobs[0]"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_path(
    system: System, wire: Wire, method: str, params: dict[str, object], path: str
) -> None:
    """INTERFACE 4 (−32602 with the path of the field)"""
    answer = wire.call(method, **params)
    if "error" not in answer and params.get("cursor") == -1:
        return  # reading from before the first row is reading from the first row
    error = answer["error"]
    assert error["code"] in (-32602, 404), error  # an id that no object can have may simply not exist
    if error["code"] == -32602:
        assert error["data"]["path"] == path
    assert "Traceback" not in system.log.read_text()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "daemon.status"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.nonsense"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', -32600),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "daemon.status"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.status", "params": []}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.status", "params": 1}', -32602),
        (b"[" * 100_000, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "user_data.update", "params": {"name": "a", "workflow_id": 1,'
         b' "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", -32700),
    ],
)  # fmt: skip
def test_a_frame_that_is_no_request_is_answered_with_what_is_wrong(
    system: System, wire: Wire, document: bytes, code: int
) -> None:
    """INTERFACE 4 (JSON-RPC 2.0)"""
    answer = wire.ask(document)
    assert answer["error"]["code"] == code
    assert answer["id"] in (None, 1)
    assert wire.call("daemon.status")["result"]["running"] is True  # the session goes on
    assert "Traceback" not in system.log.read_text()


def test_a_request_of_an_unknown_workflow_is_not_found_for_every_method(wire: Wire) -> None:
    """INTERFACE 4 (404)"""
    one = {"workflow_id": 4711}
    calls: list[tuple[str, dict[str, object]]] = [
        (f"workflows.{verb}", one)
        for verb in ("get", "status", "cancel", "delete", "initialize", "reinit", "restart", "reset_status", "prepare")
    ]
    calls += [(f"workflows.{verb}", one) for verb in ("archive", "unarchive")]
    calls += [(f"jobs.{verb}", one) for verb in ("find", "disable", "enable")]
    calls += [(f"workflows.{verb}", {**one, "dry_run": True}) for verb in ("reinit", "restart", "initialize")]
    calls += [(f"{noun}.list", one) for noun in ("jobs", "files", "user_data", "results", "tasks", "events", "workers")]
    calls += [("jobs.reset_status", {**one, "jobs": [1]}), ("events.subscribe", one)]
    worker = {"hostname": "h", "pid": 1, "num_cpus": 1, "memory_bytes": 1}
    calls += [("workers.register", {**one, **worker}), ("workers.report", {"worker_id": 4711})]
    calls += [("jobs.get", {"job_id": 4711}), ("jobs.update", {"job_id": 4711, "priority": 1})]
    calls += [(f"tasks.{verb}", {"task_id": 4711}) for verb in ("get", "plan", "wait", "cancel")]
    calls += [("results.get", {"result_id": 4711}), ("workflows.preview", {"preview": "4711"})]
    calls += [
        ("files.get", {"file_id": 4711}),
        ("files.get", {**one, "name": "f"}),
        ("workers.get", {"worker_id": 4711}),
    ]
    calls += [("files.history", {**one, "file_id": 1}), ("user_data.history", {**one, "user_data_id": 1})]
    for method, params in calls:
        assert wire.call(method, **params)["error"]["code"] == 404, method
