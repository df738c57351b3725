"""Accepts connections by the dozen.

trio's own listener accepts one in each round of the event loop. When a thousand subscribers are told of an event a
round takes a tenth of a second, and a thousand workers that come back would wait for minutes.
"""

import socket
from collections import deque

import trio

BATCH = 64
"""Most connections accepted in one round: their handshakes take some 60 ms, and others are served in between."""


class BatchListener(trio.abc.Listener[trio.SocketStream]):
    """A listening stream socket, as `trio.SocketListener` is one."""

    def __init__(self, listening: socket.socket) -> None:
        """Takes the socket over."""
        self._socket = listening
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))  # makes it non-blocking
        self._accepted: deque[trio.SocketStream] = deque()

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket, as trio sees it."""
        return self._listener.socket

    async def accept(self) -> trio.SocketStream:
        """The next connection. Yields only when a batch has been handed out."""
        if not self._accepted:
            self._accepted.append(await self._listener.accept())
            self._accept_more()
        return self._accepted.popleft()

    def _accept_more(self) -> None:
        while len(self._accepted) < BATCH:
            try:
                accepted, _ = self._socket.accept()
            except OSError:  # nobody waits; whatever else it is meets the next accept() of the first of a batch
                return
            self._accepted.append(trio.SocketStream(trio.socket.from_stdlib_socket(accepted)))

    async def aclose(self) -> None:
        """Closes the socket and the connections that were not handed out."""
        while self._accepted:
            await trio.aclose_forcefully(self._accepted.popleft())
        await self._listener.aclose()
