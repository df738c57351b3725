"""Calls: side by side, answered under their ids, and never fatal to the daemon."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from api_rig import RawClient, Refusal, running_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed

from torcd.api.limits import Limits
from torcd.api.session import Session
from torcd.protocol.errors import Conflict
from torcd.protocol.requests import DaemonStop, GetJob, GetResult, GetTask


class Gates:
    """A handler of jobs.get that waits until the test opens the job's gate."""

    def __init__(self) -> None:
        self.gates: dict[int, trio.Event] = {}
        self.entered = 0
        self.cancelled = 0

    def gate(self, number: int) -> trio.Event:
        return self.gates.setdefault(number, trio.Event())

    async def __call__(self, session: Session, request: GetJob) -> object:
        self.entered += 1
        try:
            await self.gate(request.job_id).wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return request.job_id


async def test_calls_in_flight_are_answered_as_they_end(tmp_path: Path) -> None:
    gates = Gates()
    async with running_server(tmp_path, {GetJob: gates}) as rig, rig.greeted() as client:
        ids = {number: await client.request("jobs.get", job_id=number) for number in range(100)}
        for number in reversed(range(100)):
            gates.gate(number).set()
            response = await client.receive()
            assert (response["id"], response["result"]) == (ids[number], number)


async def test_too_many_calls_in_flight_are_busy(tmp_path: Path) -> None:
    gates = Gates()
    limits = Limits(calls=3)
    async with running_server(tmp_path, {GetJob: gates}, limits=limits) as rig, rig.greeted() as client:
        ids = [await client.request("jobs.get", job_id=n) for n in range(3)]
        with pytest.raises(Refusal) as caught:
            await client.call("daemon.status")
        assert (caught.value.code, caught.value.data) == (429, {"name": "busy", "limit": 3})
        for n in range(3):
            gates.gate(n).set()
        assert {(await client.receive())["id"] for _ in ids} == set(ids)
        assert await client.call("daemon.status") == {"running": True}


async def test_an_expected_failure_keeps_its_code_and_data(tmp_path: Path) -> None:
    async def on_task(session: Session, request: GetTask) -> object:
        raise Conflict("reinit is under way", active_task=4)

    async with running_server(tmp_path, {GetTask: on_task}) as rig, rig.greeted() as client:
        with pytest.raises(Refusal, match="reinit is under way") as caught:
            await client.call("tasks.get", task_id=1)
        assert (caught.value.code, caught.value.data) == (409, {"name": "conflict", "active_task": 4})


class Unencodable:
    pass


async def _fail(session: Session, request: object) -> object:
    raise ZeroDivisionError("a bug")


async def _answer_nonsense(session: Session, request: object) -> object:
    return Unencodable()


async def _refuse_nonsense(session: Session, request: object) -> object:
    raise Conflict("odd", thing=Unencodable())


@pytest.mark.parametrize("handler", [_fail, _answer_nonsense, _refuse_nonsense])
async def test_a_bug_in_a_handler_costs_one_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    async with running_server(tmp_path, {GetTask: handler}) as rig, rig.greeted() as client:
        with pytest.raises(Refusal) as caught:
            await client.call("tasks.get", task_id=1)
        assert caught.value.code == 500
        assert await client.call("daemon.status") == {"running": True}
    assert "tasks.get of raw 1 failed unexpectedly" in caplog.text
    assert "Traceback" in caplog.text


async def test_an_answer_too_large_for_a_frame_is_refused(tmp_path: Path) -> None:
    async def on_result(session: Session, request: GetResult) -> object:
        return "x" * request.result_id

    limits = Limits(frame_bytes=3_000_000)
    async with (
        running_server(tmp_path, {GetResult: on_result}, limits=limits) as rig,
        rig.greeted() as client,
    ):
        assert len(await client.call("results.get", result_id=2_000_000)) == 2_000_000
        with pytest.raises(Refusal) as caught:
            await client.call("results.get", result_id=3_000_000)
        assert caught.value.code == 413


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        ("{", -32700, "not JSON"),
        ("", -32700, "not JSON"),
        ('{"more":' + "[" * 100_000, -32700, "not JSON"),
        ('{"jsonrpc":"2.0","id":"\\ud800","method":"daemon.status"}', -32700, "not JSON"),
        (b"\x00\x01", -32600, "binary"),
        ("{}", -32600, "JSON-RPC"),
        ("7", -32600, "JSON-RPC"),
        ('{"jsonrpc":"1.0","id":1,"method":"daemon.status"}', -32600, "JSON-RPC"),
        ('{"jsonrpc":"2.0","id":[1],"method":"daemon.status"}', -32600, "JSON-RPC"),
        (' [{"jsonrpc":"2.0","id":1,"method":"daemon.status"}]', -32600, "batches"),
    ],
)
async def test_garbage_is_answered_without_an_id(tmp_path: Path, frame: str | bytes, code: int, says: str) -> None:
    async with running_server(tmp_path) as rig, rig.greeted() as client:
        await client.send(frame)
        response = await client.receive()
        assert (response["id"], response["error"]["code"]) == (None, code)
        assert says in response["error"]["message"]
        assert await client.call("daemon.status") == {"running": True}


async def test_bad_params_name_the_field_and_unknown_methods_the_method(tmp_path: Path) -> None:
    async with running_server(tmp_path, {GetTask: _fail}) as rig, rig.greeted() as client:
        with pytest.raises(Refusal) as caught:
            await client.call("tasks.get", task_id="seven")
        assert (caught.value.code, caught.value.data["path"]) == (-32602, "$.task_id")
        with pytest.raises(Refusal, match="extra"):
            await client.call("tasks.get", task_id=7, extra=1)
        for method in ("no.such", "jobs.get"):
            with pytest.raises(Refusal) as caught:
                await client.call(method, job_id=1)
            assert (caught.value.code, caught.value.data["method"]) == (-32601, method)


async def test_ids_come_back_as_they_were_sent(tmp_path: Path) -> None:
    async with running_server(tmp_path) as rig, rig.greeted() as client:
        for call_id in (0, -1, 2**60, "", "a \u2603 \U0001f600", None):
            await client.send(json.dumps({"jsonrpc": "2.0", "id": call_id, "method": "daemon.status"}))
            assert await client.receive() == {"jsonrpc": "2.0", "id": call_id, "result": {"running": True}}


async def test_a_notification_is_neither_answered_nor_carried_out(tmp_path: Path) -> None:
    gates = Gates()
    async with running_server(tmp_path, {GetJob: gates}) as rig, rig.greeted() as client:
        await client.send('{"jsonrpc":"2.0","method":"jobs.get","params":{"job_id":1}}')
        await client.send('{"jsonrpc":"2.0","method":"no.such"}')
        assert await client.call("daemon.status") == {"running": True}
        assert gates.entered == 0


async def test_a_frame_over_the_limit_closes_the_connection(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits=Limits(frame_bytes=100_000)) as rig:
        async with rig.greeted() as client:
            await client.send(json.dumps({"pad": "x" * 99_000}))
            assert (await client.receive())["error"]["code"] == -32600
            await client.send("x" * 100_001)
            assert (await client.goodbye())[0] == 1009
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}


async def test_a_frame_over_16_mib_closes_the_connection_though_the_peer_still_sends(tmp_path: Path) -> None:
    async with running_server(tmp_path) as rig, rig.greeted() as client:
        with pytest.raises(ConnectionClosed) as caught:
            await client.call("daemon.status", pad="x" * 2**26)
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1009


async def test_a_client_that_goes_away_cancels_its_calls(tmp_path: Path) -> None:
    gates = Gates()
    gone = trio.Event()
    order: list[str] = []

    async def on_stop(session: Session, request: DaemonStop) -> object:
        session.on_close(lambda: order.append("first"))
        session.on_close(lambda: order.append("second"))
        session.on_close(gone.set)
        return {}

    async with running_server(tmp_path, {GetJob: gates, DaemonStop: on_stop}) as rig:
        async with rig.greeted() as client:
            await client.call("daemon.stop")
            await client.call("daemon.status")
            await client.request("jobs.get", job_id=1)
            await client.call("daemon.status")
            assert gates.entered == 1
        with trio.fail_after(30):
            await gone.wait()
        assert gates.cancelled == 1
        assert rig.sessions[0].closed.is_set()
        assert order == ["second", "first"]
        late = trio.Event()
        rig.sessions[0].on_close(late.set)
        assert late.is_set()


async def test_a_bug_in_an_on_close_callback_costs_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    called = trio.Event()

    async def on_stop(session: Session, request: DaemonStop) -> object:
        session.on_close(called.set)
        session.on_close(lambda: 1 // 0)
        return {}

    async with running_server(tmp_path, {DaemonStop: on_stop}) as rig, rig.greeted() as other:
        async with rig.greeted() as client:
            await client.call("daemon.stop")
        with trio.fail_after(30):
            await called.wait()
        assert await other.call("daemon.status") == {"running": True}
    assert "ZeroDivisionError" in caplog.text


async def test_no_task_is_left_behind_by_connections(tmp_path: Path) -> None:
    async with running_server(tmp_path) as rig:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(5):
            async with rig.greeted() as client:
                await client.call("daemon.status")
                await client.call("events.subscribe", workflow_id=7)
        with trio.fail_after(30):
            while trio.lowlevel.current_statistics().tasks_living > before:
                await trio.lowlevel.checkpoint()
        assert all(session.closed.is_set() for session in rig.sessions)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
almost_calls = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | any_json,
        "id": any_json,
        "method": st.sampled_from(["daemon.status", "session.hello", "uploads.append", "events.subscribe"]) | any_json,
        "params": any_json,
        "more": any_json,
    },
)
json_frames = (any_json | almost_calls).map(json.dumps)
frames = st.text(max_size=50) | st.binary(max_size=50) | json_frames


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=st.lists(frames, max_size=20), greet=st.booleans())
async def test_no_frame_harms_the_server(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture, sent: list[Any], greet: bool
) -> None:
    directory = tmp_path_factory.mktemp("frames")
    async with running_server(directory) as rig, rig.connect() as client:
        if greet:
            await client.hello()
        for frame in sent:
            await client.send(frame)
        await _sync(client)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(chunks=st.lists(st.binary(max_size=200), max_size=5), shake=st.booleans())
async def test_no_bytes_harm_the_server(
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    chunks: list[bytes],
    shake: bool,
) -> None:
    directory = tmp_path_factory.mktemp("bytes")
    async with running_server(directory) as rig:
        async with await trio.open_unix_socket(str(rig.socket_path)) as stream:
            if shake:
                await stream.send_all(
                    b"GET /v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                )
            for chunk in chunks:
                try:
                    await stream.send_all(chunk)
                except trio.BrokenResourceError:
                    break
        async with rig.greeted() as client:
            assert await client.call("daemon.status") == {"running": True}
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _sync(client: RawClient) -> None:
    """Reads until a last call is answered, past the answers to everything before."""
    await client.send('{"jsonrpc":"2.0","id":"last","method":"session.hello","params":{"protocol":0}}')
    while (await client.receive())["id"] != "last":
        pass
