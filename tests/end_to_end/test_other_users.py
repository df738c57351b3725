"""What another user of the same machine can do: nothing (INTERFACE 4). Run as root, who becomes that user."""

import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from other_user import OTHER, VICTIM, as_user, become, fork, why_not
from real_system import PATIENCE_S, System
from remote_system import LOOPBACK, Remote, received_to_the_end

from torcctl.worker.connection import connect as connect_worker
from torcd.api.listener import open_unix_listener
from torcd.protocol import websocket
from torcd.protocol.address import Address, find_places, unix_url
from torcd.protocol.client import connect
from torcd.protocol.errors import Forbidden
from torcd.protocol.tls import client_context

pytestmark = pytest.mark.skipif((WHY := why_not()) is not None, reason=str(WHY))


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that everybody may look into, as many are: what is private has to see to that itself."""
    directory = Path(tempfile.mkdtemp(prefix="torc-home-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def victim(home: Path) -> Iterator[Remote]:
    """A user with a daemon that `torcctl` started, and with a workflow that has run."""
    system = System(home)
    (home / "state").mkdir(mode=0o755)
    system.environ["TORCD_LISTEN"] = LOOPBACK
    system.torcctl("daemon", "start")
    system.torcctl("run", system.spec({"name": "secret", "jobs": [{"name": "a", "command": "echo secret"}]}))
    yield Remote(system)
    system.close()


def outcome(work: Callable[[], Any]) -> str:
    """ "done", or the kind of error."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what the test wants to know
        return type(error).__name__
    return "done"


def test_files_directories_and_the_process_are_closed_to_him(victim: Remote) -> None:
    system = victim.system
    pid = victim.file.pid
    state, runtime = system.database.parent, system.socket.parent
    files = [
        state / name for name in ("connect.json", "tls.pem", "torc.db", "torc.db-wal", "torc.db.lock", "torcd.log")
    ]
    output = next((system.work / ".torc").rglob("*.o"))
    assert all(path.exists() for path in (*files, output))

    def attack() -> list[str]:
        found = []
        for path in (*files, output):
            found.append(outcome(lambda path=path: path.read_bytes()))
            found.append(outcome(lambda path=path: os.open(path, os.O_WRONLY)))
            found.append(outcome(path.unlink))
        for directory in (state, runtime, output.parent):
            found.append(outcome(lambda directory=directory: os.listdir(directory)))
            found.append(outcome((directory / "mine").touch))
            found.append(outcome(lambda directory=directory: directory.rename(directory.with_name("moved"))))
            found.append(outcome(lambda directory=directory: directory.chmod(0o777)))
        for name in ("environ", "mem", "maps"):
            found.append(outcome(lambda name=name: Path(f"/proc/{pid}/{name}").read_bytes()))
        found.append(outcome(lambda: os.listdir(f"/proc/{pid}/fd")))
        found.append(outcome(lambda: os.kill(pid, signal.SIGTERM)))
        found.append(outcome(lambda: connect(system.url)))
        return found

    found = as_user(OTHER, attack)
    assert set(found[:-1]) == {"PermissionError"}
    assert found[-1] == "Unreachable"
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_what_he_sees_of_the_process_has_no_secret(victim: Remote) -> None:
    token, pid = victim.file.token, victim.file.pid
    seen = as_user(OTHER, lambda: Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/status").read_text())
    assert "torcd" in seen
    assert token is not None
    assert token not in seen


def test_the_port_gives_him_nothing(victim: Remote) -> None:
    port = victim.file.port

    def attack() -> list[str]:
        answers = []
        for frame in (
            b'{"jsonrpc":"2.0","id":1,"method":"workflows.list","params":{}}',
            b'{"jsonrpc":"2.0","id":1,"method":"daemon.stop","params":{}}',
            b'{"jsonrpc":"2.0","id":1,"method":"session.hello","params":{"protocol":1,"client":"x","version":"1","token":"x"}}',
        ):
            plain = socket.create_connection(("127.0.0.1", port or 0), 10)
            with context.wrap_socket(plain) as stream:
                stream.sendall(websocket.encode_upgrade("x", "/v1", websocket.new_key()))
                assert stream.recv(4096).startswith(b"HTTP/1.1 101")
                stream.sendall(websocket.encode_frame(websocket.TEXT, frame))
                stream.sendall(websocket.encode_close(1000))
                answers.append(received_to_the_end(stream).decode(errors="replace"))
        return answers

    context = client_context()
    answers = as_user(OTHER, attack)
    assert len(answers) == 3, answers
    assert ["secret" in answer for answer in answers] == [False] * 3
    assert ["jsonrpc" in answer for answer in answers] == [False, False, True]
    assert '"code":401' in answers[2]
    assert victim.system.torcctl("daemon", "status", json=True)["pid"] == victim.file.pid


def test_a_socket_that_was_opened_by_mistake_still_asks_the_kernel_who_comes(alone: System) -> None:
    """INTERFACE 4 (SO_PEERCRED)"""
    alone.start_daemon()
    alone.socket.parent.chmod(0o777)
    alone.socket.chmod(0o777)

    def attack() -> str:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(10)
        stream.connect(str(alone.socket))
        try:
            stream.sendall(websocket.encode_upgrade("x", "/v1", websocket.new_key()))
        except ConnectionError:
            return ""
        return received_to_the_end(stream).decode()

    assert as_user(OTHER, attack) == ""
    assert f"connection of user {OTHER}" in alone.log.read_text()
    alone.socket.parent.chmod(0o700)
    assert alone.torcctl("workflows", "list", json=True) == {"workflows": []}


# ---- where he was first ----


class Trap:
    """Another user's process that listens on a Unix socket; what it hears ends in a file of his."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "torcd.sock"
        self._heard = directory / "heard"
        reader, writer = os.pipe()
        self._child = fork()
        if self._child == 0:
            try:
                become(OTHER)
                self._listen(writer)
            finally:
                os._exit(0)
        os.close(writer)
        assert os.read(reader, 1) == b"x"
        os.close(reader)

    def _listen(self, ready: int) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        self.path.chmod(0o777)
        listener.listen()
        os.write(ready, b"x")
        while True:
            stream, _ = listener.accept()
            stream.settimeout(10)
            data = received_to_the_end(stream)
            with self._heard.open("ab") as heard:
                heard.write(data + b"\n")

    def close(self) -> bytes:
        """Ends it; what it heard."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        return self._heard.read_bytes() if self._heard.exists() else b""


@pytest.fixture
def his_directory() -> Iterator[Path]:
    """A directory of the other user's, open to all."""
    directory = Path(tempfile.mkdtemp(prefix="torc-trap-", dir="/tmp"))
    os.chown(directory, OTHER, OTHER)
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def test_clients_do_not_speak_to_a_socket_of_his(alone: System, his_directory: Path) -> None:
    """He would else tell workers what to run, as this user."""
    trap = Trap(his_directory)
    refused = alone.torcctl("workflows", "list", check=False, env={"TORCD_SOCKET": str(trap.path), "TORC_TOKEN": "t"})
    assert refused.code == 1
    assert f"user {OTHER} listens there" in refused.err
    with pytest.raises(Forbidden):
        connect(unix_url(trap.path))

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            await connect_worker(nursery, Address(url=unix_url(trap.path)))

    with pytest.RaisesGroup(Forbidden, flatten_subgroups=True):
        trio.run(work)
    assert trap.close().strip() == b""
    assert alone.daemon_pids() == []


def test_a_daemon_does_not_listen_in_a_directory_of_his(alone: System, his_directory: Path) -> None:
    daemon = alone.spawn_daemon("--socket", str(his_directory / "torcd.sock"))
    out, _ = daemon.communicate(timeout=PATIENCE_S)
    assert daemon.returncode == 1
    assert b"belongs to another user" in out


@pytest.fixture
def default_directory() -> Iterator[Path]:
    """Where the socket of a user lies who has no XDG_RUNTIME_DIR: in /tmp, where anybody may have been first."""
    directory = find_places({"HOME": "/"}).socket.parent.with_name(f"torc-{VICTIM}")
    assert not os.path.lexists(directory)
    yield directory
    if directory.is_symlink() or directory.is_file():
        directory.unlink()
    shutil.rmtree(directory, ignore_errors=True)


def his(directory: Path) -> None:
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)


def his_link(directory: Path) -> None:
    directory.symlink_to("/var/tmp")


def his_file(directory: Path) -> None:
    directory.touch()


@pytest.mark.parametrize("prepare", [his, his_link, his_file])
def test_the_directory_in_tmp_is_not_used_when_it_is_his(
    default_directory: Path, prepare: Callable[[Path], None]
) -> None:
    """Neither by the daemon nor by clients; and it is told which setting helps."""
    as_user(OTHER, lambda: prepare(default_directory))
    assert default_directory.lstat().st_uid == OTHER
    told = as_user(VICTIM, lambda: open_unix_listener(default_places().socket))
    assert told.startswith("Refused")
    assert "TORCD_SOCKET" in told
    assert as_user(VICTIM, lambda: connect(unix_url(default_places().socket))).startswith("NobodyAnswers")
    if prepare is his:
        default_directory.rmdir()
        default_directory.mkdir()
        os.chown(default_directory, OTHER, OTHER)
        default_directory.chmod(0o755)
        trap = Trap(default_directory)
        told = as_user(VICTIM, lambda: connect(unix_url(default_places().socket)))
        assert told.startswith("Forbidden")
        assert trap.close().strip() == b""


def default_places() -> Any:
    """Of the user who asks."""
    return find_places({"HOME": "/"})


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_the_directory_in_tmp_is_not_used_with_a_wrong_mode(default_directory: Path, mode: int) -> None:
    default_directory.mkdir()
    default_directory.chmod(mode)
    os.chown(default_directory, VICTIM, VICTIM)
    told = as_user(VICTIM, lambda: open_unix_listener(default_places().socket))
    assert "chmod 700" in told


def test_a_link_of_his_to_a_directory_of_ours_is_not_followed(default_directory: Path, tmp_path: Path) -> None:
    """He could point it elsewhere at any time."""
    ours = Path(tempfile.mkdtemp(prefix="torc-ours-", dir="/tmp"))
    os.chown(ours, VICTIM, VICTIM)
    try:
        as_user(OTHER, lambda: default_directory.symlink_to(ours))
        told = as_user(VICTIM, lambda: open_unix_listener(default_places().socket))
        assert "belongs to another user" in told
        assert list(ours.iterdir()) == []
    finally:
        shutil.rmtree(ours)


# ---- files that he made ----


def test_a_database_that_he_could_replace_is_not_opened(alone: System, his_directory: Path) -> None:
    """Its commands would run as this user."""
    for database, said in (
        (his_directory / "torc.db", "every user may write there"),
        (alone.work / "his.db", f"belongs to user {OTHER}"),
    ):
        if database.parent == alone.work:
            database.touch()
            os.chown(database, OTHER, OTHER)
        daemon = alone.spawn_daemon("--database", str(database))
        out, _ = daemon.communicate(timeout=PATIENCE_S)
        assert daemon.returncode == 1
        assert said in out.decode()
        assert b"Traceback" not in out


@pytest.mark.parametrize("name", ["connect.json", "tls.pem"])
def test_files_of_his_in_place_of_ours_are_not_believed(alone: System, name: str) -> None:
    remote = Remote(alone)
    remote.start_daemon()
    before = remote.file
    path = remote.path.with_name(name)
    os.chown(path, OTHER, OTHER)
    if name == "connect.json":
        refused = remote.torcctl("workflows", "list", check=False)
        assert (refused[0], f"belongs to user {OTHER}" in refused[2]) == (7, True)
    alone.stop_daemon()
    remote.start_daemon()
    assert path.stat().st_uid == os.getuid()
    assert remote.file.token != before.token
    assert (remote.file.fingerprint != before.fingerprint) == (name == "tls.pem")
