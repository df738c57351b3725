"""Accepts connections and carries each through its life: handshake, session, closing.

The library's reader and our sender must outlive the session, or neither the last answers nor the closing
frame would arrive. So connections are shielded from the cancellation that stops the server; the server ends
each session itself, and every step after that has a deadline.
"""

import logging
import math
import socket
from collections.abc import Mapping, Sequence
from typing import Never

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from torcd.api.auth import Peer, find_peer
from torcd.api.batch_listener import BatchListener
from torcd.api.limits import Limits
from torcd.api.pump import ReadEvents
from torcd.api.session import Handler, Services, Session
from torcd.bus import Bus
from torcd.protocol.requests import Request

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 65536
"""Read at once; the library's 4 KiB halve the throughput of large messages."""

_FULL_TEXT = b"torcd has too many connections already\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_FULL_TEXT), _FULL_TEXT)
)

Listener = BatchListener | trio.SocketListener | trio.SSLListener[trio.SocketStream]


async def serve(
    listeners: Sequence[Listener],
    handlers: Mapping[type[Request], Handler],
    bus: Bus,
    read_events: ReadEvents,
    limits: Limits,
    *,
    allowed_uid: int,
    token: str | None = None,
    task_status: trio.TaskStatus[list[Listener]] = trio.TASK_STATUS_IGNORED,
) -> Never:
    """Serves until cancelled; then closes the listeners first and every session with code 1001.

    `started` means that connections are accepted. Peers on Unix sockets must be of `allowed_uid`, all others
    need `token`; without one they are refused. A stop takes at most `limits.close_s` and a second.
    """
    services = Services(handlers=handlers, bus=bus, read_events=read_events, limits=limits, token=token)
    server = _Server(services, allowed_uid)
    async with trio.open_nursery() as nursery:
        connections = await nursery.start(server.hold_connections)
        try:
            await trio.serve_listeners(
                server.serve_stream, list(listeners), handler_nursery=connections, task_status=task_status
            )
        finally:
            server.stop()
    raise AssertionError("serve_listeners returns only by an exception")


class _Server:
    def __init__(self, services: Services, allowed_uid: int) -> None:
        self._services = services
        self._limits = services.limits
        self._allowed_uid = allowed_uid
        self._connections = 0
        self._sessions: set[trio.CancelScope] = set()
        self._is_stopping = trio.Event()
        self._shield = trio.CancelScope(shield=True)

    async def hold_connections(self, *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED) -> None:
        """The home of all connections: ends after `stop`, with the last of them."""
        with self._shield:
            async with trio.open_nursery() as connections:
                task_status.started(connections)
                await self._is_stopping.wait()

    def stop(self) -> None:
        """Ends every session; a connection that is not closed a second after its deadline is cut off."""
        self._is_stopping.set()
        self._shield.deadline = trio.current_time() + self._limits.close_s + 1
        for scope in self._sessions:
            scope.cancel()

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """One connection, from accept to close. The caller closes the stream in any case."""
        self._connections += 1
        try:
            if not self._is_stopping.is_set():
                await self._admit(stream)
        except* (ConnectionClosed, ProtocolError, trio.BrokenResourceError) as broken:
            # The library's reader raises these when a peer vanishes or breaks the protocol.
            logger.debug("connection lost: %r", broken.exceptions)
        except* Exception:
            # The boundary of a session: a bug costs one connection, never the daemon.
            logger.exception("connection dropped because of a bug")
        finally:
            self._connections -= 1

    async def _admit(self, stream: trio.abc.Stream) -> None:
        peer = find_peer(stream)
        if peer is not None and peer.uid != self._allowed_uid:
            logger.warning("connection of user %d (process %d) refused", peer.uid, peer.pid)
        elif self._connections > self._limits.connections:
            logger.warning("connection refused: there are %d already", self._limits.connections)
            with trio.move_on_after(self._limits.close_s):
                # A peer that finds the stream closed before it has sent its handshake reads no answer.
                await stream.receive_some(RECEIVE_BYTES)
                await stream.send_all(_FULL)
        else:
            await self._serve_peer(stream, peer)

    async def _serve_peer(self, stream: trio.abc.Stream, peer: Peer | None) -> None:
        session = None
        scope = trio.CancelScope()
        self._sessions.add(scope)
        async with trio.open_nursery() as wire:
            try:
                with scope:
                    websocket = await self._shake_hands(wire, stream, scope)
                    session = Session(self._services, websocket, peer)
                    await session.run(wire)
                if session is None:
                    logger.debug("no websocket handshake in %g s, or stopped before", self._limits.handshake_s)
                else:
                    await session.close()
            finally:
                self._sessions.discard(scope)
                await trio.aclose_forcefully(stream)
                wire.cancel_scope.cancel()

    async def _shake_hands(
        self, wire: trio.Nursery, stream: trio.abc.Stream, scope: trio.CancelScope
    ) -> WebSocketConnection:
        """The websocket of an accepted handshake; one that takes too long cancels `scope`.

        The library waits for ever for a peer that goes away or sends no handshake.
        """
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        if isinstance(transport, trio.SocketStream) and transport.socket.family != socket.AF_UNIX:
            # A host that vanished says no goodbye: without probes its connection would stay for ever.
            transport.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        scope.deadline = trio.current_time() + self._limits.handshake_s
        request = await wrap_server_stream(
            wire,
            stream,
            message_queue_size=self._limits.received_frames,
            max_message_size=self._limits.frame_bytes,
            receive_buffer_size=RECEIVE_BYTES,
        )
        websocket = await request.accept()
        scope.deadline = math.inf
        return websocket
