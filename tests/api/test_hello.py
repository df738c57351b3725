"""Nothing is answered before a session has said hello."""

import os
from pathlib import Path

import pytest
import trio
from api_rig import Refusal, running_server

import torcd
from torcd.api.auth import check_hello, find_peer
from torcd.api.limits import Limits
from torcd.api.token import Token
from torcd.protocol import PROTOCOL
from torcd.protocol.errors import Unauthorized
from torcd.protocol.requests import Hello


async def test_hello_answers_protocol_and_version(tmp_path: Path) -> None:
    async with running_server(tmp_path) as rig, rig.connect() as client:
        assert await client.hello() == {"protocol": PROTOCOL, "version": torcd.__version__}
        assert await client.call("daemon.status") == {"running": True}
        assert rig.sessions[0].client == "raw 1"
        assert rig.sessions[0].is_local


@pytest.mark.parametrize("method", ["daemon.status", "workflows.reinit", "no.such", "uploads.append"])
async def test_a_call_before_hello_is_unauthorized_whatever_it_is(tmp_path: Path, method: str) -> None:
    async with running_server(tmp_path) as rig, rig.connect() as client:
        with pytest.raises(Refusal, match=r"say hello first") as caught:
            await client.call(method, nonsense=1)
        assert caught.value.code == 401
        await client.hello()
        assert await client.call("daemon.status") == {"running": True}


@pytest.mark.parametrize(("theirs", "advice"), [(PROTOCOL - 1, "update raw"), (PROTOCOL + 1, "update torcd")])
async def test_another_protocol_is_told_which_side_to_update(tmp_path: Path, theirs: int, advice: str) -> None:
    async with running_server(tmp_path) as rig, rig.connect() as client:
        with pytest.raises(Refusal, match=advice) as caught:
            await client.hello(protocol=theirs)
        assert caught.value.code == 401
        with pytest.raises(Refusal):
            await client.call("daemon.status")


async def test_a_session_without_hello_is_closed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with running_server(tmp_path, limits=Limits(hello_s=3)) as rig, rig.connect() as client:
        started = trio.current_time()
        assert await client.goodbye() == (1008, "no session.hello in 3 s")
        assert trio.current_time() - started == pytest.approx(3, abs=0.1)


async def test_a_greeted_session_may_be_silent(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with running_server(tmp_path) as rig, rig.greeted() as client:
        await trio.sleep(80_000)
        assert await client.call("daemon.status") == {"running": True}


async def test_a_connection_without_handshake_is_closed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with running_server(tmp_path, limits=Limits(handshake_s=3)) as rig:
        stream = await trio.open_unix_socket(str(rig.socket_path))
        async with stream:
            await stream.send_all(b"GET /v1 HTTP/1.1\r\n")
            started = trio.current_time()
            assert await stream.receive_some() == b""
            assert trio.current_time() - started == pytest.approx(3, abs=0.1)


async def test_another_user_is_cut_off_before_the_handshake(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running_server(tmp_path, allowed_uid=2**31 - 5) as rig:
        stream = await trio.open_unix_socket(str(rig.socket_path))
        async with stream:
            with trio.fail_after(30):
                assert await stream.receive_some() == b""
    assert "refused" in caplog.text


async def test_the_peer_of_a_unix_socket_is_known(tmp_path: Path) -> None:
    async with running_server(tmp_path) as rig, rig.greeted() as client:
        await client.call("daemon.status")
        peer = rig.sessions[0].peer
        assert peer is not None
        assert (peer.pid, peer.uid) == (os.getpid(), os.getuid())
    assert find_peer(trio.testing.memory_stream_pair()[0]) is None


def _hello(token: str | None) -> Hello:
    return Hello(protocol=PROTOCOL, client="torcctl", version="1", token=token)


def test_a_remote_peer_needs_the_token() -> None:
    assert check_hello(_hello("täglich"), is_local=False, token=Token("täglich"))["protocol"] == PROTOCOL
    for given, ours in [("wrong", "right"), (None, "right"), ("", "right"), ("any", None)]:
        with pytest.raises(Unauthorized):
            check_hello(_hello(given), is_local=False, token=None if ours is None else Token(ours))


def test_a_local_peer_needs_none() -> None:
    assert check_hello(_hello(None), is_local=True, token=Token("right"))["protocol"] == PROTOCOL
