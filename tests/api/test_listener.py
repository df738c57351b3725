"""The Unix socket: closed to others, and never in the way of a daemon that starts."""

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from torcd.api.batch_listener import BATCH
from torcd.api.listener import PATH_BYTES, adopt_unix_listener, open_unix_listener
from torcd.protocol.errors import Refused


async def test_the_socket_is_0600_in_a_directory_of_0700(tmp_path: Path) -> None:
    opened = open_unix_listener(tmp_path / "new" / "torcd.sock")
    async with opened.listener:
        assert stat.S_IMODE(opened.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(opened.path.parent.stat().st_mode) == 0o700
        stream = await trio.open_unix_socket(str(opened.path))
        async with stream, await opened.listener.accept():
            pass
    opened.remove()
    assert not opened.path.exists()
    opened.remove()


async def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "private" / "torcd.sock"
    await open_unix_listener(path).listener.aclose()
    assert path.exists()
    opened = open_unix_listener(path)
    async with opened.listener, await trio.open_unix_socket(str(path)):
        pass


async def test_a_live_daemons_socket_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "private" / "torcd.sock"
    first = open_unix_listener(path)
    async with first.listener:
        with pytest.raises(Refused, match="another database answers there"):
            open_unix_listener(path)
        async with await trio.open_unix_socket(str(path)):
            pass


async def test_only_ones_own_socket_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "private" / "torcd.sock"
    first = open_unix_listener(path)
    await first.listener.aclose()
    second = open_unix_listener(path)
    first.remove()
    assert path.exists()
    await second.listener.aclose()
    second.remove()
    assert not path.exists()


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "torcd.sock"
    path.write_text("precious")
    with pytest.raises(Refused, match="is no socket"):
        open_unix_listener(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o770, 0o705, 0o755, 0o777])
def test_a_directory_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(Refused, match=f"open to other users .*{mode:04o}.*chmod 700"):
        open_unix_listener(tmp_path / "torcd.sock")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(Refused, match="belongs to another user"):
        open_unix_listener(tmp_path / "torcd.sock")


def test_a_place_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="no directory for the daemon's socket"):
        open_unix_listener(tmp_path / "file" / "torcd.sock")


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """tmp_path's own name may be too long for a socket below it."""
    with tempfile.TemporaryDirectory(prefix="torcd-") as directory:
        yield Path(directory)


async def test_the_longest_path_works_and_a_longer_one_is_refused(short_directory: Path) -> None:
    base = short_directory
    longest = base / ("x" * (PATH_BYTES - len(str(base)) - 1))
    opened = open_unix_listener(longest)
    async with opened.listener, await trio.open_unix_socket(str(longest)):
        pass
    with pytest.raises(Refused, match="at most 107 bytes"):
        open_unix_listener(Path(str(longest) + "x"))


async def test_an_inherited_socket_is_listened_on(tmp_path: Path) -> None:
    path = tmp_path / "inherited.sock"
    inherited = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inherited.bind(str(path))
    inherited.listen()
    listener = adopt_unix_listener(inherited.detach())
    async with listener:
        assert not os.get_inheritable(listener.socket.fileno())
        stream = await trio.open_unix_socket(str(path))
        async with stream, await listener.accept():
            pass


def test_an_inherited_descriptor_that_does_not_listen_is_refused() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(Refused, match="no listening Unix socket"):
        adopt_unix_listener(one.fileno())


async def test_connections_that_wait_are_accepted_together(tmp_path: Path) -> None:
    """In one round of the event loop: with much to do in each, a thousand would wait for minutes one by one."""
    opened = open_unix_listener(tmp_path / "private" / "torcd.sock")
    async with opened.listener:
        streams = [await trio.open_unix_socket(str(opened.path)) for _ in range(BATCH + 3)]
        accepted = [await opened.listener.accept()]
        rounds = 0

        async def count_rounds() -> None:
            nonlocal rounds
            while True:
                rounds += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_rounds)
            accepted += [await opened.listener.accept() for _ in range(BATCH - 1)]
            assert rounds == 0
            accepted += [await opened.listener.accept() for _ in range(2)]
            nursery.cancel_scope.cancel()
        for stream in (*streams, *accepted):
            await trio.aclose_forcefully(stream)
    with pytest.raises(trio.ClosedResourceError):
        await opened.listener.accept()
