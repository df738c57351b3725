"""A server that is reached by TLS, and clients of it that may do anything."""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from api_rig import DEADLINE_S, RawClient, Rig, running_server
from trio_websocket import wrap_client_stream

from torcd.api.certificate import open_certificate
from torcd.api.limits import Limits
from torcd.api.session import Handler
from torcd.api.tcp import Listen, find_addresses, open_tcp_listener
from torcd.api.token import Token
from torcd.protocol.requests import Request
from torcd.protocol.tls import client_context

TOKEN = "a token that is long enough to be none"
UPGRADE = (
    b"GET /v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class TcpRig:
    """The server's TCP side; `local` is its Unix side."""

    def __init__(self, local: Rig, port: int, token: Token) -> None:
        self.local = local
        self.port = port
        self.token = token

    async def open_plain(self) -> trio.SocketStream:
        """A connection on which nothing was said."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def open_tls(self) -> trio.SSLStream[trio.SocketStream]:
        """A connection on which the TLS handshake is done."""
        stream = trio.SSLStream(await self.open_plain(), client_context(), https_compatible=True)
        with trio.fail_after(DEADLINE_S):
            await stream.do_handshake()
        return stream

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RawClient]:
        """A client that has not said hello."""
        stream = await self.open_tls()
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(DEADLINE_S):
                    websocket = await wrap_client_stream(nursery, stream, "localhost", "/v1", max_message_size=2**25)
                yield RawClient(websocket)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def greeted(self) -> AsyncIterator[RawClient]:
        """A client that has said hello with the token."""
        async with self.connect() as client:
            await client.hello(token=self.token.value)
            yield client


@asynccontextmanager
async def running_tcp_server(
    directory: Path, handlers: dict[type[Request], Handler] | None = None, *, limits: Limits | None = None
) -> AsyncIterator[TcpRig]:
    """Serves on a Unix socket and on a port of the loopback interface."""
    certificate = open_certificate(directory / "tls.pem")
    listener = open_tcp_listener(Listen("127.0.0.1", 0), certificate.context)
    token = Token(TOKEN)
    async with running_server(
        directory, handlers, limits=limits, allowed_uid=os.getuid(), listeners=[listener], token=token
    ) as local:
        yield TcpRig(local, find_addresses(listener)[1], token)


async def until_closed(stream: trio.abc.ReceiveStream) -> bytes:
    """What comes to the end of a connection, in order or not."""
    received = b""
    with trio.fail_after(DEADLINE_S):
        while True:
            try:
                data = await stream.receive_some()
            except (trio.BrokenResourceError, ssl.SSLError):
                return received
            if not data:
                return received
            received += data
