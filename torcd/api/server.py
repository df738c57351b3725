"""Accepts connections and carries each through its life: handshake, session, closing.

The library's reader and our sender must outlive the session, or neither the last answers nor the closing
frame would arrive. So connections are shielded from the cancellation that stops the server; the server ends
each session itself, and every step after that has a deadline.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Never

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from torcd.api.auth import Peer, find_peer
from torcd.api.batch_listener import BatchListener
from torcd.api.gate import Gate
from torcd.api.hush import Hush
from torcd.api.limits import Limits, Usage
from torcd.api.pump import ReadEvents
from torcd.api.session import Handler, Services, Session
from torcd.api.strangers import Strangers
from torcd.api.token import Token
from torcd.bus import Bus
from torcd.protocol.errors import Busy
from torcd.protocol.requests import Request
from torcd.protocol.silence import notice_silence

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 65536
"""Read at once; the library's 4 KiB halve the throughput of large messages."""

MESSAGE_TOO_BIG, TRY_AGAIN_LATER = 1009, 1013

_TOO_SLOW = (TRY_AGAIN_LATER, "too many connections have not said hello: try again")

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
    token: Token | None = None,
    usage: Usage | None = None,
    task_status: trio.TaskStatus[list[Listener]] = trio.TASK_STATUS_IGNORED,
) -> Never:
    """Serves until cancelled; then closes the listeners first and every session with code 1001.

    `started` means that connections are accepted. Peers on Unix sockets must be of `allowed_uid`, all others
    need `token`; without one they are refused. A stop takes at most `limits.close_s` and a second.
    """
    services = Services(handlers=handlers, bus=bus, read_events=read_events, limits=limits, token=token)
    server = _Server(services, allowed_uid, usage or Usage())
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
    def __init__(self, services: Services, allowed_uid: int, usage: Usage) -> None:
        self._services = services
        self._limits = services.limits
        self._allowed_uid = allowed_uid
        self._usage = usage
        self._strangers = Strangers(services.limits)
        self._refusals = Hush(logger)
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
        try:
            if not self._is_stopping.is_set():
                peer = find_peer(stream)
                await (self._meet(stream) if peer is None else self._admit(stream, peer))
        except* (ConnectionClosed, ProtocolError, trio.BrokenResourceError) as broken:
            # The library's reader raises these when a peer vanishes or breaks the protocol.
            logger.debug("connection lost: %d errors of its peer", len(broken.exceptions))
        except* Exception:
            # The boundary of a session: a bug costs one connection, never the daemon.
            logger.exception("connection dropped because of a bug")

    async def _admit(self, stream: trio.abc.Stream, peer: Peer) -> None:
        """A connection of this host, whose user the kernel tells."""
        if peer.uid != self._allowed_uid:
            logger.warning("connection of user %d (process %d) refused", peer.uid, peer.pid)
        elif self._usage.connections >= self._limits.connections:
            logger.warning("connection refused: there are %d already", self._limits.connections)
            with trio.move_on_after(self._limits.close_s):
                # A peer that finds the stream closed before it has sent its handshake reads no answer.
                await stream.receive_some(RECEIVE_BYTES)
                await stream.send_all(_FULL)
        else:
            self._usage.connections += 1
            try:
                await self._serve_visit(_Visit(peer), stream, stream, lambda: None)
            finally:
                self._usage.connections -= 1

    async def _meet(self, stream: trio.abc.Stream) -> None:
        """A connection of some other host: a stranger until it has said hello, with a small part of what others get."""
        limits, visit, is_known = self._limits, _Visit(None), False

        def on_excess() -> None:
            visit.end(MESSAGE_TOO_BIG, f"more than {limits.stranger_bytes} bytes before session.hello")

        def on_greeted() -> None:
            nonlocal is_known
            if self._usage.connections >= limits.connections - limits.local_connections:
                raise Busy(_FULL_TEXT.decode().strip(), limit=limits.connections - limits.local_connections)
            self._usage.connections += 1
            self._strangers.leave(visit)
            visit.take_time()
            gate.open()
            is_known = True

        gate = Gate(stream, limits.stranger_bytes, on_excess=on_excess, on_end=visit.on_end)
        try:
            if await self._wait_for_turn(visit):
                await self._serve_visit(visit, stream, gate, on_greeted)
        finally:
            self._usage.connections -= is_known
            self._strangers.leave(visit)
        if visit.session is not None and visit.session.refusal is not None:
            self._refusals.warn(f"a session from another host was refused: {visit.session.refusal}")

    async def _wait_for_turn(self, visit: "_Visit") -> bool:
        """Whether the stranger is listened to."""
        is_entered = False
        waiting = trio.CancelScope()
        self._sessions.add(waiting)
        with waiting:
            is_entered = await self._strangers.enter(visit)
        self._sessions.discard(waiting)
        return is_entered

    async def _serve_visit(
        self, visit: "_Visit", stream: trio.abc.Stream, entry: trio.abc.Stream, on_greeted: Callable[[], None]
    ) -> None:
        """From the first byte to the last. `entry` is `stream` itself or what guards it."""
        self._sessions.add(visit.scope)
        async with trio.open_nursery() as wire:
            try:
                with visit.scope:
                    visit.set_deadline(trio.current_time() + self._limits.handshake_s)
                    if visit.peer is None:
                        await _prepare_remote(stream, self._limits.silence_s)
                    websocket = await self._shake_hands(wire, entry)
                    visit.session = Session(self._services, websocket, visit.peer, on_greeted)
                    visit.set_deadline(math.inf)
                    await visit.session.run(wire)
                if visit.session is None:
                    logger.debug("no handshake in %g s, or stopped before", self._limits.handshake_s)
                else:
                    await visit.session.close(_TOO_SLOW if visit.was_too_slow else None)
            finally:
                self._sessions.discard(visit.scope)
                await trio.aclose_forcefully(stream)
                wire.cancel_scope.cancel()

    async def _shake_hands(self, wire: trio.Nursery, stream: trio.abc.Stream) -> WebSocketConnection:
        """The websocket of an accepted handshake. Needs a deadline.

        The library waits for ever for a peer that goes away or sends no handshake.
        """
        request = await wrap_server_stream(
            wire,
            stream,
            message_queue_size=self._limits.received_frames,
            max_message_size=self._limits.frame_bytes,
            receive_buffer_size=RECEIVE_BYTES,
        )
        return await request.accept()


class _Visit:
    """One connection, at whatever stage it is."""

    def __init__(self, peer: Peer | None) -> None:
        self.peer = peer
        self.scope = trio.CancelScope()
        self.session: Session | None = None
        self._deadline = math.inf
        self._hurried = math.inf

    def set_deadline(self, deadline: float) -> None:
        """For the stage at which it is."""
        self._deadline = deadline
        self.scope.deadline = min(deadline, self._hurried)

    def hurry(self, deadline: float) -> None:
        """For whatever stage, until it is known."""
        self._hurried = deadline
        self.scope.deadline = min(self._deadline, deadline)

    def take_time(self) -> None:
        """It is known: nothing hurries it any more."""
        self._hurried = math.inf
        self.set_deadline(math.inf)

    @property
    def was_too_slow(self) -> bool:
        """Whether others who waited are why it has ended."""
        return self.scope.cancelled_caught and trio.current_time() >= self._hurried

    def on_end(self) -> None:
        """The peer has gone. In the middle of the handshake nobody else notices: the library waits for more."""
        if self.session is None:
            self.scope.cancel()

    def end(self, code: int, reason: str) -> None:
        """Ends it, with a reason if there is a way yet to tell one."""
        if self.session is None:
            self.scope.cancel()
        else:
            self.session.end(code, reason)


async def _prepare_remote(stream: trio.abc.Stream, silence_s: float) -> None:
    """Sees to it that a host that vanishes is noticed, and shakes hands (TLS). Needs a deadline."""
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(transport, trio.SocketStream):
        notice_silence(transport, silence_s)
    if isinstance(stream, trio.SSLStream):
        await stream.do_handshake()
