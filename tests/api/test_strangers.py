"""What somebody on another host gets who does not say hello as he should: nothing, and soon the end (INTERFACE 4)."""

import logging
import tracemalloc
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio
from api_rig import RawClient, Refusal
from tcp_rig import TOKEN, UPGRADE, TcpRig, running_tcp_server, until_closed

from torcd.api.limits import Limits
from torcd.api.session import Session
from torcd.api.strangers import Strangers
from torcd.protocol import websocket
from torcd.protocol.requests import GetJob

HELLO = (
    b'{"jsonrpc":"2.0","id":1,"method":"session.hello","params":{"protocol":1,"client":"c","version":"1","token":"%b"}}'
)


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Jumps when nothing has happened for a while: what is sent by TCP arrives a little later."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def test_the_token_lets_in(tmp_path: Path) -> None:
    async with running_tcp_server(tmp_path) as rig, rig.greeted() as client:
        assert await client.call("daemon.status") == {"running": True}
        assert not rig.local.sessions[0].is_local


@pytest.mark.parametrize("given", [{"token": "wrong"}, {"token": ""}, {"token": TOKEN[:-1]}, {}])
async def test_a_hello_without_the_token_is_answered_once(tmp_path: Path, given: dict[str, str]) -> None:
    async with running_tcp_server(tmp_path) as rig, rig.connect() as client:
        with pytest.raises(Refusal) as caught:
            await client.hello(**given)
        assert caught.value.code == 401
        assert await client.goodbye() == (1008, "session.hello was refused")


@pytest.mark.parametrize(
    "frame",
    [
        '{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":{}}',
        '{"jsonrpc":"2.0","method":"session.hello","params":{}}',
        "[]",
        "no json",
        (HELLO % b"\\ud800").decode(),
        b"binary",
    ],
)
async def test_anything_but_a_hello_is_not_answered(tmp_path: Path, frame: str | bytes) -> None:
    async with running_tcp_server(tmp_path) as rig, rig.connect() as client:
        await client.send(frame)
        assert (await client.goodbye())[0] == 1008


@pytest.mark.parametrize("token", [b"\\u0000", "ü".encode(), b"x" * 10_000])
async def test_a_strange_token_is_a_wrong_one(tmp_path: Path, token: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with running_tcp_server(tmp_path) as rig, rig.connect() as client:
        await client.send((HELLO % token).decode())
        assert (await client.receive())["error"]["code"] == 401
        assert (await client.goodbye())[0] == 1008
    assert "Traceback" not in caplog.text
    assert "xxx" not in caplog.text


async def test_a_stranger_may_send_little(tmp_path: Path) -> None:
    async with running_tcp_server(tmp_path, limits=Limits(stranger_bytes=2000)) as rig, rig.connect() as client:
        await client.send("x" * 3000)
        assert await client.goodbye() == (1009, "more than 2000 bytes before session.hello")


async def test_many_small_frames_are_too_much_as_well(tmp_path: Path) -> None:
    """Pings are answered by the library, but not for ever."""
    async with running_tcp_server(tmp_path, limits=Limits(stranger_bytes=2000)) as rig:
        stream = await rig.open_tls()
        await stream.send_all(UPGRADE)
        with trio.fail_after(30):
            while True:
                try:
                    await stream.send_all(websocket.encode_frame(websocket.PING, b"x" * 100))
                    await trio.lowlevel.checkpoint()
                except trio.BrokenResourceError:
                    break
        await trio.aclose_forcefully(stream)


async def test_a_known_one_may_send_much(tmp_path: Path) -> None:
    async def on_job(session: Session, request: GetJob) -> object:
        return {}

    async with (
        running_tcp_server(tmp_path, {GetJob: on_job}, limits=Limits(stranger_bytes=2000)) as rig,
        rig.greeted() as client,
    ):
        with pytest.raises(Refusal, match="no such"):
            await client.call("no such" + "x" * 5_000_000)
        assert await client.call("jobs.get", job_id=1) == {}


async def test_what_strangers_send_costs_little_memory(tmp_path: Path) -> None:
    async with running_tcp_server(tmp_path, limits=Limits(heard_strangers=40)) as rig, AsyncExitStack() as held:
        tracemalloc.start()
        try:
            for _ in range(40):
                stream = await rig.open_tls()
                held.push_async_callback(trio.aclose_forcefully, stream)
                await stream.send_all(UPGRADE + websocket.encode_frame(websocket.TEXT, b"x" * 15_000)[:-1])
            await trio.testing.wait_all_tasks_blocked(0.05)
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert used < 40 * 200_000, "of which half is the clients'"


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 50_000, b"\x16\x03\x01\xff\xff" + b"x" * 70_000, b"SSH-2.0-x\r\n"],
)
async def test_noise_instead_of_tls_ends_the_connection(
    tmp_path: Path, noise: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_tcp_server(tmp_path) as rig:
        async with await rig.open_plain() as stream:
            with suppress(trio.BrokenResourceError):  # it may have hung up already
                await stream.send_all(noise)
            assert len(await until_closed(stream)) < 100, "an alert at most"
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 20_000, b"GET /v1 HTTP/1.1\r\nX: " + b"x" * 20_000]
)
async def test_noise_inside_tls_ends_the_connection(
    tmp_path: Path, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_tcp_server(tmp_path) as rig:
        async with await rig.open_tls() as stream:
            await stream.send_all(head)
            assert len(await until_closed(stream)) < 500
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("half", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_tls_handshake_that_is_never_finished_is_given_up(
    tmp_path: Path, half: bytes, clock: trio.testing.MockClock
) -> None:
    async with running_tcp_server(tmp_path, limits=Limits(handshake_s=3)) as rig:
        async with await rig.open_plain() as stream:
            if half:
                await stream.send_all(half)
            started = trio.current_time()
            await until_closed(stream)
        assert trio.current_time() - started == pytest.approx(3, abs=0.2)


async def test_the_handshakes_have_one_deadline_and_hello_another(
    tmp_path: Path, clock: trio.testing.MockClock
) -> None:
    async with running_tcp_server(tmp_path, limits=Limits(handshake_s=3, hello_s=7)) as rig:
        async with await rig.open_tls() as stream:
            started = trio.current_time()
            await until_closed(stream)
        assert trio.current_time() - started == pytest.approx(3, abs=0.2)
        async with rig.connect() as client:
            started = trio.current_time()
            assert await client.goodbye() == (1008, "no session.hello in 7 s")
            assert trio.current_time() - started == pytest.approx(7, abs=0.2)


async def _crowd(rig: TcpRig, held: AsyncExitStack, count: int) -> list[RawClient]:
    return [await held.enter_async_context(rig.connect()) for _ in range(count)]


async def test_whoever_dawdles_makes_room_for_those_who_wait(tmp_path: Path) -> None:
    limits = Limits(heard_strangers=3, dawdle_s=0, connections=2, local_connections=0)
    async with running_tcp_server(tmp_path, limits=limits) as rig, AsyncExitStack() as held:
        crowd = await _crowd(rig, held, 3)
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}
        for each in crowd:
            assert await each.goodbye() == (1013, "too many connections have not said hello: try again")


async def test_a_crowd_that_says_nothing_keeps_nobody_out(tmp_path: Path, clock: trio.testing.MockClock) -> None:
    """INTERFACE 4: more of them than are listened to; those who are known, and this host's, have their places."""
    limits = Limits(heard_strangers=3, dawdle_s=2, connections=3, local_connections=0)
    async with running_tcp_server(tmp_path, limits=limits) as rig, rig.greeted() as known, AsyncExitStack() as held:
        for _ in range(20):
            held.push_async_callback((await rig.open_plain()).aclose)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await known.call("daemon.status") == {"running": True}
        async with rig.local.greeted() as local:
            assert await local.call("daemon.status") == {"running": True}
        started = trio.current_time()
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}
        assert trio.current_time() - started < 2.5, "the one who came last is next"


async def test_a_crowd_of_those_who_belong_here_is_let_in(tmp_path: Path) -> None:
    done: list[int] = []

    async def come(rig: TcpRig, number: int) -> None:
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}
        done.append(number)

    async with (
        running_tcp_server(tmp_path, limits=Limits(heard_strangers=2, dawdle_s=60)) as rig,
        trio.open_nursery() as nursery,
    ):
        for number in range(30):
            nursery.start_soon(come, rig, number)
    assert len(done) == 30


async def test_too_many_who_wait_are_turned_away_the_first_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(heard_strangers=1, strangers=2, dawdle_s=60, connections=2, local_connections=0)
    async with running_tcp_server(tmp_path, limits=limits) as rig, AsyncExitStack() as held:
        await _crowd(rig, held, 1)
        waiting = []
        for _ in range(7):
            waiting.append(await rig.open_plain())
            held.push_async_callback(waiting[-1].aclose)
            await trio.testing.wait_all_tasks_blocked(0.05)
        for each in waiting[:5]:
            assert await until_closed(each) == b""
    refused = [record.getMessage() for record in caplog.records if "too many" in record.getMessage()]
    assert refused == ["a connection from another host was refused: too many have not said hello"]


async def test_strangers_that_leave_make_room(tmp_path: Path) -> None:
    async with running_tcp_server(tmp_path, limits=Limits(heard_strangers=1, dawdle_s=60)) as rig:
        for _ in range(5):
            stream = await rig.open_tls()
            await trio.aclose_forcefully(stream)


async def test_a_stop_does_not_wait_for_those_who_wait(tmp_path: Path, clock: trio.testing.MockClock) -> None:
    limits = Limits(heard_strangers=1, dawdle_s=60, hello_s=60, handshake_s=60)
    async with running_tcp_server(tmp_path, limits=limits) as rig:
        streams = [await rig.open_plain() for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        started = trio.current_time()
        rig.local.stop()
        for stream in streams:
            assert await until_closed(stream) == b""
            await stream.aclose()
        assert trio.current_time() - started < 1


class Waiter:
    """A stranger of whom only the deadline is of interest."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    def hurry(self, deadline: float) -> None:
        self.deadlines.append(deadline)


async def test_nobody_is_hurried_while_nobody_waits(clock: trio.testing.MockClock) -> None:
    strangers = Strangers(Limits(heard_strangers=2, dawdle_s=3, hello_s=10))
    first, second, third, fourth = (Waiter() for _ in range(4))
    began = trio.current_time()
    assert await strangers.enter(first)
    await trio.sleep(1)
    assert await strangers.enter(second)
    assert first.deadlines == second.deadlines == []
    async with trio.open_nursery() as nursery:
        outcomes: dict[str, bool] = {}

        async def wait(name: str, waiter: Waiter) -> None:
            outcomes[name] = await strangers.enter(waiter)

        nursery.start_soon(wait, "third", third)
        await trio.testing.wait_all_tasks_blocked()
        assert (first.deadlines, second.deadlines) == ([began + 3], [began + 4])
        nursery.start_soon(wait, "fourth", fourth)
        await trio.testing.wait_all_tasks_blocked()
        strangers.leave(first)
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == {"fourth": True}
        assert fourth.deadlines == [began + 1 + 3], "somebody waits still"
    assert outcomes == {"fourth": True, "third": False}, "for ten seconds"


async def test_a_full_daemon_says_so_to_a_known_one(tmp_path: Path) -> None:
    async with (
        running_tcp_server(tmp_path, limits=Limits(connections=1, local_connections=0)) as rig,
        rig.greeted(),
        rig.connect() as client,
    ):
        with pytest.raises(Refusal, match="too many connections") as caught:
            await client.hello(token=TOKEN)
        assert caught.value.code == 429


async def test_however_many_are_known_some_places_are_this_hosts(tmp_path: Path) -> None:
    limits = Limits(connections=2, local_connections=1)
    async with running_tcp_server(tmp_path, limits=limits) as rig, rig.greeted(), rig.connect() as client:
        with pytest.raises(Refusal, match="too many connections"):
            await client.hello(token=TOKEN)
        async with rig.local.greeted() as local:
            assert await local.call("daemon.status") == {"running": True}


async def test_calls_and_subscriptions_are_limited_for_remote_sessions_too(tmp_path: Path) -> None:
    async def on_job(session: Session, request: GetJob) -> object:
        await trio.sleep_forever()

    limits = Limits(calls=2, subscriptions=1)
    async with running_tcp_server(tmp_path, {GetJob: on_job}, limits=limits) as rig, rig.greeted() as client:
        await client.call("events.subscribe", workflow_id=7)
        with pytest.raises(Refusal, match="1 subscriptions"):
            await client.call("events.subscribe", workflow_id=8)
        for _ in range(2):
            await client.request("jobs.get", job_id=1)
        with pytest.raises(Refusal, match="in flight") as caught:
            await client.call("jobs.get", job_id=1)
        assert caught.value.code == 429


async def test_refused_hellos_are_logged_once_a_minute_without_what_was_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_tcp_server(tmp_path) as rig:
        for _ in range(5):
            async with rig.connect() as client:
                with pytest.raises(Refusal):
                    await client.hello(token="my secret guess", client="evil\nINFO torcd: all is well")
    told = [record.getMessage() for record in caplog.records if "was refused" in record.getMessage()]
    assert len(told) == 1
    assert "guess" not in caplog.text
    assert "evil" not in caplog.text
    assert TOKEN not in caplog.text
