"""The order in which the daemon is looked for, and what stands against starting one (INTERFACE 1; ADR 5)."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from certificates import Impostor
from cli_server import FakeDaemon

from torcctl import autostart, finding
from torcctl.finding import Elsewhere, Silent, complete_address, find
from torcd.protocol.address import Places, find_places, unix_url
from torcd.protocol.client import NobodyAnswers
from torcd.protocol.connection_file import ConnectionFile, read_boot_id
from torcd.protocol.errors import Refused
from torcd.protocol.private_files import write_private


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A user's places, without anything in them."""
    (tmp_path / "state" / "torc").mkdir(parents=True)
    environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_RUNTIME_DIR": str(tmp_path)}
    (tmp_path / "torc").mkdir()
    return find_places(environ)


Name = Callable[..., ConnectionFile]


@pytest.fixture
def name(places: Places) -> Name:
    """Writes the connection file of a daemon of this process; what is given is otherwise."""

    def write(**fields: object) -> ConnectionFile:
        own: dict[str, object] = {
            "host": socket.gethostname(),
            "boot_id": read_boot_id(),
            "pid": os.getpid(),
            "database": str(places.database),
            "socket": str(places.socket),
        }
        if "port" in fields:
            own |= {"addresses": ["127.0.0.1"], "token": "secret", "fingerprint": "0" * 64}
        file = msgspec.convert({**own, **fields}, ConnectionFile)
        write_private(places.connection_file, msgspec.json.encode(file))
        return file

    return write


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this host on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_without_a_file_one_may_be_started(places: Places) -> None:
    with pytest.raises(NobodyAnswers):
        find(places)


def test_the_local_socket_comes_first(places: Places, name: Name) -> None:
    daemon = FakeDaemon(places.socket)
    try:
        name(host="other", boot_id="theirs", port=1)
        with find(places) as connection:
            assert connection.url == unix_url(places.socket)
            assert connection.address.file is None
    finally:
        daemon.stop()


def test_a_file_that_the_environment_names_comes_before_the_local_socket(
    places: Places, name: Name, tmp_path: Path, silent_port: int
) -> None:
    """INTERFACE 1. A job on a node that has a daemon of its own is meant for the one that handed it out."""
    other = tmp_path / "other.sock"
    named = msgspec.structs.replace(places, is_file_named=True)
    of_this_node, meant = FakeDaemon(places.socket), FakeDaemon(other)
    try:
        name(socket=str(other))
        with find(named) as connection:
            assert connection.url == unix_url(other)
        name(host="other", boot_id="theirs", port=silent_port)
        with pytest.raises(Silent):
            find(named)
        for gone in ({"pid": 2**22 + 1, "socket": str(other)}, {"database": "/another.db", "socket": str(other)}):
            name(**gone)
            chosen = msgspec.structs.replace(named, is_database_chosen=True)
            with find(chosen) as connection:
                assert connection.url == unix_url(places.socket)
        places.connection_file.unlink()
        with find(named) as connection:
            assert connection.url == unix_url(places.socket)
    finally:
        of_this_node.stop()
        meant.stop()


def test_which_file_is_named_is_the_environments_to_say(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert not find_places(environ).is_file_named
    assert find_places({**environ, "TORCD_CONNECTION_FILE": "/shared/connect.json"}).is_file_named


@pytest.mark.parametrize(
    "fields",
    [
        {"pid": 2**22 + 1},
        {"boot_id": "before"},
        {},
        {"host": "container", "port": 1},
        {"socket": "/none/torcd.sock"},
    ],
    ids=["no such process", "another boot", "the lock tells", "a container's", "at another socket"],
)
def test_nothing_stands_against_a_start_where_the_lock_tells(
    places: Places, name: Name, fields: dict[str, object]
) -> None:
    name(**fields)
    with pytest.raises(NobodyAnswers):
        find(places)


def test_a_daemon_at_another_socket_of_this_host_is_found(places: Places, name: Name, tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "other.sock")
    try:
        name(socket=str(daemon.path))
        find(places).close()
        with pytest.raises(NobodyAnswers):
            find(places, elsewhere=False)
    finally:
        daemon.stop()


def test_a_silent_host_stands_against_it(places: Places, name: Name, silent_port: int) -> None:
    name(host="head", boot_id="theirs", port=silent_port)
    with pytest.raises(Silent, match=r"(?s)host head .*Connection refused.*torcctl daemon start") as caught:
        find(places)
    assert "secret" not in caught.value.message
    with pytest.raises(NobodyAnswers):
        find(places, elsewhere=False)


def test_one_that_does_not_listen_for_others_does_as_well(places: Places, name: Name) -> None:
    name(host="head", boot_id="theirs")
    with pytest.raises(Elsewhere, match="TORCD_LISTEN") as caught:
        find(places)
    assert not isinstance(caught.value, Silent), "it is no use to look again"


def test_a_silent_one_is_looked_for_again_where_the_file_says_by_then(
    places: Places, name: Name, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name(host="head", boot_id="theirs", port=silent_port)
    looked: list[float] = []

    def on_pause(seconds: float) -> None:
        looked.append(seconds)
        places.connection_file.unlink()  # it has ended in order

    monkeypatch.setattr(autostart.time, "sleep", on_pause)
    with pytest.raises(NobodyAnswers):
        autostart.reach(places, may_start=False)
    assert len(looked) == 1


def test_a_silent_one_is_not_looked_for_for_ever(
    places: Places, name: Name, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autostart, "SILENCE_S", 0.1)
    name(host="head", boot_id="theirs", port=silent_port)
    with pytest.raises(Silent):
        autostart.reach(places, may_start=True)
    assert not places.log.exists()


def test_each_address_is_tried_and_an_impostor_is_told_nothing(
    places: Places, name: Name, silent_port: int, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    name(
        host="head",
        boot_id="theirs",
        addresses=["no.such.invalid", "127.0.0.1"],
        port=port,
        token="secret",
        fingerprint="0" * 64,
    )
    with Impostor(port, tmp_path / "impostor.pem") as impostor:
        with pytest.raises(Silent, match=r"(?s)no\.such\.invalid.*nothing was sent to it"):
            find(places)
        assert (impostor.visits, impostor.heard) == (1, b"")


def test_the_file_of_another_database_is_not_meant(places: Places, name: Name, silent_port: int) -> None:
    name(host="head", boot_id="theirs", database="/their/torc.db", port=silent_port)
    chosen = msgspec.structs.replace(places, database=Path("/ours/torc.db"), is_database_chosen=True)
    with pytest.raises(NobodyAnswers):
        find(chosen)
    with pytest.raises(Silent):
        find(places)  # one that chose none may know the directory by another name


def test_a_file_that_is_not_to_be_believed_is_told(places: Places, name: Name) -> None:
    name()
    places.connection_file.chmod(0o644)
    with pytest.raises(Refused, match="0644"):
        find(places)


# ---- the user's own address ----


def test_what_was_not_given_is_from_the_file(places: Places, name: Name) -> None:
    name(port=7, token="filed", fingerprint="ab", addresses=["head"])
    own = msgspec.structs.replace(places, url="wss://tunnel:1")
    assert (complete_address(own).token, complete_address(own).fingerprint) == ("filed", "ab")
    own = msgspec.structs.replace(own, token="given")
    assert (complete_address(own).token, complete_address(own).fingerprint) == ("given", "ab")
    own = msgspec.structs.replace(own, fingerprint="cd")
    assert (complete_address(own).token, complete_address(own).fingerprint) == ("given", "cd")


def test_the_files_token_is_for_the_files_daemon_only(places: Places, name: Name) -> None:
    name(port=7, token="filed", fingerprint="ab", addresses=["head"])
    own = msgspec.structs.replace(places, url="wss://tunnel:1", fingerprint="cd")
    assert complete_address(own).token is None
    plain = msgspec.structs.replace(places, url="ws://localhost:1")
    assert complete_address(plain).token is None


def test_an_address_of_the_users_own_is_not_looked_for_elsewhere(places: Places, name: Name, tmp_path: Path) -> None:
    name()
    with pytest.raises(NobodyAnswers):
        find(msgspec.structs.replace(places, url=unix_url(tmp_path / "none")))
    assert finding.url_of(places) == unix_url(places.socket)
