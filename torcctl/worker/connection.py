"""The worker's connection to the daemon: JSON-RPC over a websocket, several calls in flight.

It knows no method but `session.hello`. A connection is never repaired: once lost, every call raises
Unreachable, and the session opens another.
"""

import itertools
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from torcd import __version__
from torcd.protocol import PROTOCOL
from torcd.protocol.address import Address, Endpoint, need_fingerprint, parse_url
from torcd.protocol.errors import Unreachable, error_from_wire
from torcd.protocol.requests import Hello, Request
from torcd.protocol.rpc import MAX_FRAME, Incoming, decode_incoming, encode_call
from torcd.protocol.silence import notice_silence
from torcd.protocol.tls import check_certificate, client_context
from torcd.protocol.unix import check_owner, read_peer

CONNECT_DEADLINE_S = 10.0
"""For connecting and both handshakes: local, they take a millisecond; a daemon that loads a large workflow
may stall its loop, but not so long."""

CALL_DEADLINE_S = 60.0
"""For an answer that waits for nothing: longer than any commit on a bad day, shorter than a night."""

SEND_DEADLINE_S = 30.0
"""For the daemon to read a message. A send that is given up leaves half a frame; the connection is closed."""

CLOSE_DEADLINE_S = 1.0
"""For the closing handshake, which the daemon may not answer; nothing depends on it."""

QUEUE_SIZE = 64
"""Answers read ahead. When it is full the socket is not read; only a few calls are ever in flight."""

RECEIVE_BYTES = 65536

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class _Pending:
    """A call that waits for its answer."""

    __slots__ = ("answer", "arrived")

    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.answer: Incoming | None = None


class Connection:
    """An open connection after its hello. Its reader lives in the nursery given to `connect`."""

    def __init__(self, websocket: WebSocketConnection, stream: Stream, url: str) -> None:
        self.url = url
        self.is_lost = False
        self._websocket = websocket
        self._stream = stream
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}

    def notice_silence(self, within_s: float) -> None:
        """Has a daemon that vanishes noticed within that time, rather than after `silence.LONGEST_S`."""
        transport = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        if transport.socket.family != socket.AF_UNIX:
            notice_silence(transport, within_s)

    async def call(self, request: Request, deadline_s: float = CALL_DEADLINE_S) -> bytes:
        """The result, as JSON. Raises the daemon's TorcError, or Unreachable when the connection is lost.

        Cancelling a call does not take the request back.
        """
        call_id = next(self._ids)
        pending = self._pending[call_id] = _Pending()
        try:
            await self._send(encode_call(call_id, request).decode())
            with trio.move_on_after(deadline_s):
                await pending.arrived.wait()
        finally:
            del self._pending[call_id]
        answer = pending.answer
        if answer is None:
            if not pending.arrived.is_set():
                await self.aclose()
                raise Unreachable(f"torcd at {self.url} did not answer {request.METHOD} in {deadline_s:.0f} s")
            raise self._lost()
        if answer.error is not None:
            raise error_from_wire(answer.error.code, answer.error.message, answer.error.data)
        assert isinstance(answer.result, msgspec.Raw)
        return bytes(answer.result)

    async def _send(self, frame: str) -> None:
        if self.is_lost:
            raise self._lost()
        try:
            # Never cancelled in the middle of a frame: the peer could not make sense of what follows.
            with trio.fail_after(SEND_DEADLINE_S, shield=True):
                await self._websocket.send_message(frame)
        except (ConnectionClosed, trio.TooSlowError) as error:
            await self.aclose()
            raise self._lost() from error

    async def receive(self) -> None:
        """Hands answers to their calls until the connection is lost or closed."""
        try:
            while True:
                answer = decode_incoming(await self._websocket.get_message())
                if isinstance(answer.id, int) and (pending := self._pending.get(answer.id)):
                    pending.answer = answer
                    pending.arrived.set()
        except (ConnectionClosed, msgspec.DecodeError):
            pass  # the calls in flight tell their callers
        finally:
            self._give_up()

    def _give_up(self) -> None:
        self.is_lost = True
        for pending in self._pending.values():
            pending.arrived.set()

    def _lost(self) -> Unreachable:
        return Unreachable(f"the connection to torcd at {self.url} was lost")

    async def aclose(self) -> None:
        """Closes the connection; calls in flight raise Unreachable."""
        self._give_up()
        try:
            with trio.move_on_after(CLOSE_DEADLINE_S):
                await self._websocket.aclose()
        finally:
            # The library leaves the stream open if the peer was the first to go.
            await trio.aclose_forcefully(self._stream)


async def connect(nursery: trio.Nursery, address: Address) -> Connection:
    """An open connection whose reader runs in the nursery until it is closed or lost.

    Raises Unreachable when nobody answers there or not the one that was meant, Forbidden when another user listens
    there, and what the daemon answers to the hello.
    """
    url, endpoint = address.url, parse_url(address.url)
    try:
        with trio.fail_after(CONNECT_DEADLINE_S):
            stream = await _open_stream(endpoint, address)
            try:
                websocket = await _shake_hands(nursery, stream)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except trio.TooSlowError as error:
        raise Unreachable(f"torcd at {url} does not answer (for {CONNECT_DEADLINE_S:.0f} s)") from error
    except (OSError, HandshakeError, ConnectionClosed, trio.BrokenResourceError) as error:
        raise Unreachable(f"no torcd answers at {url}: {error}") from error
    connection = Connection(websocket, stream, url)
    nursery.start_soon(connection.receive)
    # On a Unix socket the kernel says who is there; nobody needs to be told a token.
    token = None if endpoint.path is not None else address.token
    hello = Hello(protocol=PROTOCOL, client="torcctl worker", version=__version__, token=token)
    try:
        await connection.call(hello, CONNECT_DEADLINE_S)
    except BaseException:
        await connection.aclose()
        raise
    return connection


async def _open_stream(endpoint: Endpoint, address: Address) -> Stream:
    """The stream to the daemon that was meant: nothing has been sent on it yet."""
    if endpoint.path is not None:
        stream = await trio.open_unix_socket(endpoint.path)
        try:
            check_owner(read_peer(stream.socket)[1], endpoint.path)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream
    assert endpoint.host is not None
    assert endpoint.port is not None
    fingerprint = need_fingerprint(address) if endpoint.tls else None
    transport = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    notice_silence(transport)
    if fingerprint is None:
        return transport
    encrypted = trio.SSLStream(transport, client_context(), https_compatible=True)
    try:
        await encrypted.do_handshake()
        check_certificate(encrypted.getpeercert(binary_form=True), fingerprint, address.url)
    except BaseException:
        await trio.aclose_forcefully(encrypted)
        raise
    return encrypted


async def _shake_hands(nursery: trio.Nursery, stream: Stream) -> WebSocketConnection:
    """The websocket. Raises ConnectionClosed also when the peer goes away in the middle: the library, left
    to itself, would wait for ever."""
    websocket: WebSocketConnection | None = None
    with trio.CancelScope() as handshake:

        async def read(reader: Callable[[], Awaitable[None]]) -> None:
            await reader()
            handshake.cancel()

        websocket = await wrap_client_stream(
            cast(trio.Nursery, _ReaderNursery(nursery, read)),
            stream,
            "localhost",
            "/v1",
            message_queue_size=QUEUE_SIZE,
            max_message_size=MAX_FRAME,
            receive_buffer_size=RECEIVE_BYTES,
        )
    if websocket is None or websocket.closed is not None:
        raise ConnectionClosed(None if websocket is None else websocket.closed)
    return websocket


class _ReaderNursery:
    """Stands for a nursery in `wrap_client_stream`, to see when the reader it starts has ended."""

    def __init__(self, nursery: trio.Nursery, run: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._run = run

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, reader)
