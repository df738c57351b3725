"""What the tests of the websocket side share: a server on a real Unix socket and a client of bare frames."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from torcd.api.limits import Limits
from torcd.api.listener import open_unix_listener
from torcd.api.server import Listener, serve
from torcd.api.session import Handler, Session
from torcd.api.token import Token
from torcd.bus import Bus
from torcd.protocol import PROTOCOL
from torcd.protocol.model import Event
from torcd.protocol.requests import DaemonStatus, Request, Subscribe, Unsubscribe

DEADLINE_S = 20
"""Longer than any deadline of the server, so that a test that hangs says where."""


class Refusal(Exception):
    """An error response."""

    def __init__(self, response: dict[str, Any]) -> None:
        super().__init__(response["error"]["message"])
        self.id = response["id"]
        self.code = response["error"]["code"]
        self.data = response["error"]["data"]


class RawClient:
    """Sends and receives frames; knows nothing of what they mean."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self.websocket = websocket
        self._last_id = 0

    async def send(self, frame: str | bytes) -> None:
        await self.websocket.send_message(frame)

    async def receive(self) -> dict[str, Any]:
        with trio.fail_after(DEADLINE_S):
            message = json.loads(await self.websocket.get_message())
        assert isinstance(message, dict)
        return message

    async def request(self, method: str, **params: Any) -> int:
        self._last_id += 1
        await self.send(json.dumps({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}))
        return self._last_id

    async def call(self, method: str, **params: Any) -> Any:
        """The result of a call, when nothing else can come in between; raises Refusal."""
        call_id = await self.request(method, **params)
        response = await self.receive()
        assert response["id"] == call_id, response
        if "error" in response:
            raise Refusal(response)
        return response["result"]

    async def goodbye(self) -> tuple[int, str]:
        """Code and sentence with which the daemon closes; nothing else may come before."""
        with pytest.raises(ConnectionClosed) as closed:
            await self.receive()
        reason = closed.value.reason
        assert reason is not None
        return reason.code, reason.reason or ""

    async def hello(self, **params: Any) -> Any:
        return await self.call("session.hello", **{"protocol": PROTOCOL, "client": "raw", "version": "1", **params})


class FakeLog:
    """A workflow's log in memory; `commit` appends and, as an actor does, publishes."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.events: list[Event] = []
        self.reads: list[int] = []

    def append(self, count: int, text: str = "") -> list[Event]:
        first = len(self.events) + 1
        added = [
            Event(seq=seq, workflow_id=7, timestamp="", kind="test", data={"text": text})
            for seq in range(first, first + count)
        ]
        self.events += added
        return added

    def commit(self, count: int, text: str = "") -> None:
        self.bus.publish(7, self.append(count, text))

    async def read(self, workflow_id: int, after_seq: int, limit: int) -> list[Event]:
        self.reads.append(after_seq)
        page = self.events[after_seq : after_seq + limit]
        await trio.lowlevel.checkpoint()  # what is committed from here on is not in the page
        return page


class Rig:
    """A running server."""

    def __init__(self, socket_path: Path, bus: Bus, log: FakeLog) -> None:
        self.socket_path = socket_path
        self.bus = bus
        self.log = log
        self.sessions: list[Session] = []
        self.scope = trio.CancelScope()

    def stop(self) -> None:
        """Cancels the server, as the daemon does on SIGTERM."""
        self.scope.cancel()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RawClient]:
        """A client that has not said hello."""
        stream = await trio.open_unix_socket(str(self.socket_path))
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(DEADLINE_S):
                    websocket = await wrap_client_stream(
                        nursery, stream, "localhost", "/v1", max_message_size=2**25, message_queue_size=4
                    )
                yield RawClient(websocket)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def greeted(self) -> AsyncIterator[RawClient]:
        """A client that has said hello."""
        async with self.connect() as client:
            await client.hello()
            yield client


async def on_subscribe(session: Session, request: Subscribe) -> object:
    number = await session.subscribe(request.workflow_id, request.from_seq, request.progress)
    return {"subscription": number}


async def on_unsubscribe(session: Session, request: Unsubscribe) -> object:
    session.unsubscribe(request.subscription)
    return {}


@asynccontextmanager
async def running_server(
    directory: Path,
    handlers: dict[type[Request], Handler] | None = None,
    *,
    limits: Limits | None = None,
    allowed_uid: int | None = None,
    read_events: Callable[[int, int, int], Awaitable[list[Event]]] | None = None,
    listeners: Sequence[Listener] = (),
    token: Token | None = None,
) -> AsyncIterator[Rig]:
    """Serves on a Unix socket below `directory`, and on what other listeners there are; stopping it is part of
    leaving."""
    bus = Bus()
    log = FakeLog(bus)
    opened = open_unix_listener(directory / "private" / "torcd.sock")
    rig = Rig(opened.path, bus, log)

    async def on_status(session: Session, request: DaemonStatus) -> object:
        rig.sessions.append(session)
        return {"running": True}

    served: dict[type[Request], Handler] = {
        DaemonStatus: on_status, Subscribe: on_subscribe, Unsubscribe: on_unsubscribe, **(handlers or {})
    }  # fmt: skip

    async def run(*, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        with rig.scope:
            await serve(
                [opened.listener, *listeners], served, bus, read_events or log.read, limits or Limits(),
                allowed_uid=os.getuid() if allowed_uid is None else allowed_uid, token=token,
                task_status=task_status,
            )  # fmt: skip

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield rig
        rig.stop()
    opened.remove()
