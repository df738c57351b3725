"""The server as a whole: its limits and its stop."""

from pathlib import Path

import pytest
import trio
from api_rig import Rig, running_server
from trio_websocket import ConnectionRejected

from torcd.api.limits import Limits
from torcd.api.session import Session
from torcd.protocol.requests import DaemonStop, GetJob


async def test_connections_beyond_the_limit_are_rejected_and_freed_ones_count(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits=Limits(connections=2)) as rig, rig.greeted():
        async with rig.greeted():
            with pytest.raises(BaseExceptionGroup) as caught:
                async with rig.connect():
                    pytest.fail("a third connection was accepted")
            rejected: BaseException = caught.value
            while isinstance(rejected, BaseExceptionGroup):
                rejected = rejected.exceptions[0]
            assert isinstance(rejected, ConnectionRejected)
            assert (rejected.status_code, rejected.body) == (503, b"torcd has too many connections already\n")
        await _until_connected(rig)


async def _until_connected(rig: Rig) -> None:
    """Connects as soon as the server has noticed that a client left."""
    with trio.fail_after(30):
        while True:
            try:
                async with rig.greeted() as client:
                    assert await client.call("daemon.status") == {"running": True}
                return
            except* ConnectionRejected:
                await trio.lowlevel.checkpoint()


async def test_stopping_says_goodbye_and_cancels_calls(tmp_path: Path) -> None:
    cancelled = trio.Event()

    async def on_job(session: Session, request: GetJob) -> object:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with (
        running_server(tmp_path, {GetJob: on_job}) as rig,
        rig.greeted() as client,
        rig.connect() as shy,
    ):
        await client.request("jobs.get", job_id=1)
        await client.call("daemon.status")
        await client.call("events.subscribe", workflow_id=7)
        rig.stop()
        for each in (client, shy):
            assert await each.goodbye() == (1001, "torcd is stopping")
        assert cancelled.is_set()


async def test_the_answer_to_a_stop_arrives_before_the_goodbye(tmp_path: Path) -> None:
    rigs: list[Rig] = []

    async def on_stop(session: Session, request: DaemonStop) -> object:
        rigs[0].stop()
        return {"stopping": True}

    async with running_server(tmp_path, {DaemonStop: on_stop}) as rig, rig.greeted() as client:
        rigs.append(rig)
        assert await client.call("daemon.stop") == {"stopping": True}
        assert (await client.goodbye())[0] == 1001


async def test_a_stop_does_not_wait_for_a_peer_that_does_not_answer(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    limits = Limits(close_s=2)
    async with running_server(tmp_path, limits=limits) as rig:
        mute = await trio.open_unix_socket(str(rig.socket_path))
        await mute.send_all(
            b"GET /v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await mute.receive_some()
        halfway = await trio.open_unix_socket(str(rig.socket_path))
        await halfway.send_all(b"GET /v1")
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        rig.stop()
        assert await mute.receive_some() == b"\x88\x13\x03\xe9torcd is stopping"
        assert await mute.receive_some() == b""
        assert trio.current_time() - started == pytest.approx(2, abs=0.1)
        assert await halfway.receive_some() == b""
        await trio.aclose_forcefully(mute)
        await trio.aclose_forcefully(halfway)


async def test_after_a_stop_nobody_is_accepted(tmp_path: Path) -> None:
    async with running_server(tmp_path) as rig, rig.greeted() as client:
        rig.stop()
        assert (await client.goodbye())[0] == 1001
        with pytest.raises(ConnectionRefusedError):
            await trio.open_unix_socket(str(rig.socket_path))
