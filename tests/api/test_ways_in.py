"""Remote access from the daemon's side: whose the connection file is, and how the token in it is replaced."""

import os
import socket
from pathlib import Path

import msgspec
import pytest

from torcd.api import remote as remote_module
from torcd.api.certificate import open_certificate
from torcd.api.remote import Remote, is_free_for
from torcd.api.tcp import Listen
from torcd.protocol.address import Places, find_places
from torcd.protocol.connection_file import ConnectionFile, read_boot_id, read_connection_file
from torcd.protocol.errors import Conflict, Refused, Unavailable
from torcd.protocol.private_files import write_private
from torcd.storage.lock import acquire_lock


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return find_places({"HOME": str(tmp_path), "TORCD_LISTEN": "127.0.0.1:0"})


def leave_file(places: Places, **fields: object) -> None:
    """As another daemon would have left it."""
    own = {"host": socket.gethostname(), "boot_id": read_boot_id(), "pid": os.getpid(), "socket": "/s"}
    file = msgspec.convert({**own, "database": str(places.database), **fields}, ConnectionFile)
    places.connection_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(places.connection_file, msgspec.json.encode(file))


def test_a_file_that_is_not_there_or_of_a_dead_daemon_is_free(places: Places) -> None:
    assert is_free_for(places)
    leave_file(places, pid=2**22 + 1, database="/other.db")
    assert is_free_for(places)
    leave_file(places, boot_id="before", database="/other.db")
    assert is_free_for(places)


def test_one_of_the_same_database_is_free_to_whoever_has_its_lock(places: Places) -> None:
    leave_file(places)
    assert is_free_for(places)


def test_one_of_another_database_is_free_unless_that_is_locked(places: Places, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    leave_file(places, database=str(other))
    assert is_free_for(places)
    with acquire_lock(tmp_path / "other.db.lock"):
        assert not is_free_for(places)
    assert is_free_for(places)


def test_one_of_a_silent_host_is_free(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    leave_file(places, host="head", boot_id="theirs")
    assert is_free_for(places)
    assert "does not answer" in caplog.text


@pytest.mark.parametrize(
    ("database", "is_same"), [("as here", True), ("/mnt/home/torc.db", True), ("/other.db", False)]
)
def test_a_daemon_that_answers_on_another_host_is_given_way(
    places: Places, monkeypatch: pytest.MonkeyPatch, database: str, is_same: bool
) -> None:
    """The home may be mounted somewhere else there, but the two files lie side by side."""
    monkeypatch.setattr(remote_module, "_answers", lambda named, path: True)
    leave_file(
        places, host="head", boot_id="theirs", database=str(places.database) if database == "as here" else database
    )
    if is_same:
        with pytest.raises(Conflict, match="runs on host head"):
            is_free_for(places)
    else:
        assert not is_free_for(places)


def test_a_file_that_is_not_to_be_believed_is_replaced(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    leave_file(places)
    places.connection_file.chmod(0o644)
    assert is_free_for(places)
    assert "0644" in caplog.text


async def test_a_listener_that_nobody_could_find_is_refused(places: Places, tmp_path: Path) -> None:
    leave_file(places, database=str(tmp_path / "other.db"))
    with acquire_lock(tmp_path / "other.db.lock"):
        with pytest.raises(Refused, match="TORCD_CONNECTION_FILE"):
            await Remote(places).claim()
        modest = Remote(msgspec.structs.replace(places, listen="auto"))
        await modest.claim()
        await modest.open()
    assert (modest.listener, modest.url) == (None, None)
    modest.close()
    assert places.connection_file.exists()


async def test_it_is_written_when_one_can_connect_and_removed_by_its_writer_only(places: Places) -> None:
    remote = Remote(places)
    await remote.claim()
    await remote.open()
    assert remote.listener is not None
    async with remote.listener:
        file = read_connection_file(places.connection_file)
        assert file is not None
        assert file.token is not None
        socket.create_connection(("127.0.0.1", file.port or 0), 5).close()
        other = Remote(places)
        await other.claim()
        await other.open()
        remote.close()
        assert places.connection_file.exists(), "it is the other one's now"
        assert other.listener is not None
        await other.listener.aclose()
        other.close()
        assert not places.connection_file.exists()
        other.close()


async def test_a_token_that_cannot_be_written_stays(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEMANTICS: nothing changes, or all of it."""
    remote = Remote(places)
    await remote.claim()
    await remote.open()
    assert remote.listener is not None
    assert remote.token is not None
    former = remote.token.value

    def fail(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote_module, "write_private", fail)
    async with remote.listener:
        with pytest.raises(Unavailable, match="No space left"):
            await remote.token.replace(remote._save_token)
        file = read_connection_file(places.connection_file)
        assert file is not None
        assert file.token == former
        assert remote.token.accepts(former)
    remote.close()
    assert not places.connection_file.exists()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "auto", "off"])
async def test_a_file_that_cannot_be_written_ends_the_start_only_when_a_listener_was_asked_for(
    places: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, listen: str
) -> None:
    """A full disk is no reason to keep the user of a laptop out."""
    monkeypatch.setattr(remote_module, "plan_listen", lambda setting, path: Listen("127.0.0.1", 0))
    remote = Remote(msgspec.structs.replace(places, listen=listen))
    await remote.claim()
    open_certificate(places.certificate)

    def fail(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote_module, "write_private", fail)
    if listen == "127.0.0.1:0":
        with pytest.raises(Refused, match="No space left"):
            await remote.open()
    else:
        await remote.open()
        assert "No space left" in caplog.text
    assert (remote.listener, remote.token, remote.url) == (None, None, None)
    remote.close()


async def test_a_listener_that_was_not_asked_for_is_done_without(
    places: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(remote_module, "plan_listen", lambda setting, path: Listen("no.such.host.invalid", 0))
    remote = Remote(msgspec.structs.replace(places, listen="auto"))
    await remote.claim()
    await remote.open()
    assert "cannot listen" in caplog.text
    file = read_connection_file(places.connection_file)
    assert file is not None
    assert file.port is None
    remote.close()
