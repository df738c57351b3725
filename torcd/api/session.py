"""One client's session: its calls, its subscriptions, its uploads, from the first frame to the last.

Calls run side by side, each in a task of its own, and are answered in the order in which they end. When the
connection goes, they are cancelled: what must not be cancelled is protected by who does it, not here. Nothing
of the domain is known here: a call is decoded, handed to the handler of its type, and its answer encoded.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from torcd.api.auth import Peer, check_hello
from torcd.api.limits import Limits
from torcd.api.outbox import Outbox
from torcd.api.pump import Pump, ReadEvents
from torcd.api.token import Token
from torcd.api.uploads import Uploads
from torcd.bus import Bus, Subscription
from torcd.protocol import rpc
from torcd.protocol.errors import Busy, NotAMessage, NotFound, TooLarge, TorcError, Unauthorized, UnknownMethod
from torcd.protocol.requests import AppendUpload, Hello, Request
from torcd.protocol.transfer_requests import AppendDocument

logger = logging.getLogger(__name__)

CallId = int | str | None

GOING_AWAY = 1001
POLICY_VIOLATION = 1008


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions share."""

    handlers: Mapping[type[Request], "Handler"]
    bus: Bus
    read_events: ReadEvents
    limits: Limits
    token: Token | None


class Session:
    """What a handler sees of the connection a call came on."""

    def __init__(
        self,
        services: Services,
        websocket: WebSocketConnection,
        peer: Peer | None,
        on_greeted: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_greeted` is called when a hello is accepted, before that is answered; it may refuse it after all."""
        self.peer = peer
        """The process at the other end; None when it is on another host."""
        self.client: str | None = None
        """The program that said hello, and its version; None before that."""
        self.refusal: str | None = None
        """Why a hello was not accepted."""
        self.closed = trio.Event()
        """Set when the connection is gone, or about to be."""
        self.uploads = Uploads(services.limits)
        self._farewell = (GOING_AWAY, "torcd is stopping")
        self._services = services
        self._limits = services.limits
        self._websocket = websocket
        self._outbox = Outbox(websocket, services.limits)
        self._on_close = ExitStack()
        self._calls = 0
        self._pumps: dict[int, trio.CancelScope] = {}
        self._last_subscription = 0
        self._hello = trio.CancelScope()
        self._on_greeted = on_greeted
        self._nursery: trio.Nursery

    @property
    def is_local(self) -> bool:
        """Whether the peer came through the Unix socket."""
        return self.peer is not None

    async def run(self, wire: trio.Nursery) -> None:
        """Serves the connection until it ends, whoever ends it; then runs what `on_close` was given.

        The sender of frames lives in `wire`: it goes on until `close`.
        """
        with self._on_close:
            try:
                async with trio.open_nursery() as self._nursery:
                    wire.start_soon(self._outbox.run, self._nursery.cancel_scope.cancel)
                    self._hello.deadline = trio.current_time() + self._limits.hello_s
                    with self._hello:
                        await self._receive()
                    if self._hello.cancelled_caught:
                        self._farewell = (POLICY_VIOLATION, f"no session.hello in {self._limits.hello_s:g} s")
                    self._nursery.cancel_scope.cancel()
            finally:
                self.closed.set()
                self.uploads.clear()

    async def close(self, farewell: tuple[int, str] | None = None) -> None:
        """After `run`: sends what is queued and the closing frame, unless the peer or the stream is gone.

        `farewell`: the code and the reason, for an end that came from outside.
        """
        with trio.move_on_after(self._limits.close_s):
            await self._outbox.finish()
            if not self._outbox.is_broken:
                await self._websocket.aclose(*(farewell or self._farewell))

    def end(self, code: int, reason: str) -> None:
        """Ends the session while it runs: its calls are cancelled, its peer is told the reason."""
        self._farewell = (code, reason)
        self._nursery.cancel_scope.cancel()

    def on_close(self, callback: Callable[[], object]) -> None:
        """Has `callback` called when the connection ends, the last given first. It must not block."""
        if self.closed.is_set():
            callback()
        else:
            self._on_close.callback(callback)

    async def subscribe(self, workflow_id: int, from_seq: int | None, progress: bool) -> int:
        """Sends a workflow's events after `from_seq`, or from now on (None), and goes on live.

        Neither yields nor waits: what is published after this call is sent, and the answer of a call that
        returns the number right away goes out before the first event. Raises Busy.
        """
        if len(self._pumps) >= self._limits.subscriptions:
            raise Busy(
                f"this connection has {len(self._pumps)} subscriptions: end one with events.unsubscribe",
                limit=self._limits.subscriptions,
            )
        self._last_subscription += 1
        number = self._last_subscription
        scope = self._pumps[number] = trio.CancelScope()
        subscription = self._services.bus.subscribe(workflow_id, from_seq)
        self._nursery.start_soon(self._run_pump, number, scope, subscription, progress)
        return number

    def unsubscribe(self, number: int) -> None:
        """Ends a subscription; raises NotFound."""
        scope = self._pumps.pop(number, None)
        if scope is None:
            raise NotFound(
                f"this connection has no subscription {number}", noun="subscription", id=number
            )  # fmt: skip
        scope.cancel()

    async def _receive(self) -> None:
        while True:
            try:
                frame = await self._websocket.get_message()
            except ConnectionClosed as closed:
                logger.debug("connection closed by the peer: %s", closed)
                return
            if self.client is None and not self.is_local and not _is_hello(frame):
                self._farewell = (POLICY_VIOLATION, "the first call must be session.hello")
                return
            answer = self._on_frame(frame)
            if answer is not None:
                await self._outbox.put(answer.decode())
            if self.client is None and not self.is_local:
                self._farewell = (POLICY_VIOLATION, "session.hello was refused")
                return

    def _on_frame(self, frame: str | bytes) -> bytes | None:
        """The answer to a frame when there is one at once; else a task was started, or nothing is due."""
        call_id: CallId = None
        try:
            call = _decode(frame)
            if isinstance(call.id, msgspec.UnsetType):
                logger.debug("notification %s ignored: the daemon takes calls only", call.method)
                return None
            call_id = call.id
            return self._on_call(call, call_id, len(frame))
        except TorcError as error:
            return rpc.encode_error(call_id, error)

    def _on_call(self, call: rpc.Call, call_id: CallId, size_bytes: int) -> bytes | None:
        if self.client is None and call.method != Hello.METHOD:
            # Before its params are even looked at: a stranger's are not worth decoding.
            raise Unauthorized(f"{call.method} before session.hello: say hello first")
        request = rpc.decode_request(call)
        if isinstance(request, Hello):
            return rpc.encode_result(call_id, self._greet(request))
        if isinstance(request, AppendUpload | AppendDocument):
            # Here, not in a task: the pieces of an upload keep the order in which they were sent.
            return rpc.encode_result(call_id, self.uploads.append(request, size_bytes))
        handler = self._services.handlers.get(type(request))
        if handler is None:
            raise UnknownMethod(f"this daemon does not serve {call.method}", method=call.method)
        if self._calls >= self._limits.calls:
            raise Busy(
                f"{self._calls} calls of this connection are in flight: wait for answers",
                limit=self._limits.calls,
            )
        self._calls += 1
        self._nursery.start_soon(self._run_call, call_id, handler, request)
        return None

    def _greet(self, hello: Hello) -> dict[str, Any]:
        token = self._services.token
        try:
            answer = check_hello(hello, is_local=self.is_local, token=token)
        except Unauthorized as error:
            self.refusal = error.message
            raise
        if self.client is None:
            self._on_greeted()
            if token is not None and not self.is_local:
                ends = partial(self.end, POLICY_VIOLATION, "the token was replaced: say hello with the new one")
                token.admit(self, ends)
                self.on_close(lambda: token.forget(self))
        self.client = f"{hello.client} {hello.version}"
        self._hello.deadline = float("inf")
        return answer

    async def _run_call(self, call_id: CallId, handler: "Handler", request: Request) -> None:
        try:
            answer = await self._answer(call_id, handler, request)
        except Exception:
            # The boundary of a session: a bug in a handler costs one answer, never the daemon.
            logger.exception("%s of %s failed unexpectedly", request.METHOD, self.client)
            bug = TorcError(f"{request.METHOD} failed because of a bug in torcd: its log has the traceback")
            answer = rpc.encode_error(call_id, bug)
        await self._outbox.put(answer.decode())
        self._calls -= 1

    async def _answer(self, call_id: CallId, handler: "Handler", request: Request) -> bytes:
        try:
            answer = rpc.encode_result(call_id, await handler(self, request))
            if len(answer) > self._limits.frame_bytes:
                raise TooLarge(
                    f"the answer to {request.METHOD} has {len(answer)} bytes, more than fits in a frame: "
                    "ask for a smaller page",
                    limit=self._limits.frame_bytes,
                )
        except TorcError as error:
            return rpc.encode_error(call_id, error)
        return answer

    async def _run_pump(self, number: int, scope: trio.CancelScope, subscription: Subscription, progress: bool) -> None:
        pump = Pump(
            number, subscription, self._services.read_events, self._outbox.put, wants_progress=progress
        )  # fmt: skip
        try:
            with scope:
                try:
                    await pump.run()
                except TorcError as error:
                    await pump.put_end(error.message)
                except Exception:
                    logger.exception("subscription to workflow %d failed unexpectedly", subscription.workflow_id)
                    await pump.put_end("a bug in torcd: its log has the traceback")
        finally:
            self._pumps.pop(number, None)
            subscription.close()


Handler = Callable[[Session, Any], Awaitable[object]]
"""Carries out one request and returns its answer, JSON or structs. Any: each handler takes its own type."""


def _is_hello(frame: str | bytes) -> bool:
    """Whether a stranger's first frame deserves an answer. What else it may be is not looked at."""
    try:
        return _decode(frame).method == Hello.METHOD
    except TorcError:
        return False


def _decode(frame: str | bytes) -> rpc.Call:
    if isinstance(frame, bytes):
        raise NotAMessage("binary frames are not understood: send JSON in text frames")
    try:
        return rpc.decode_call(frame)
    except NotAMessage:
        if frame.lstrip()[:1] == "[":
            raise NotAMessage("batches are not served: send one call a frame") from None
        raise
