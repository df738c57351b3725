"""Who may talk to the daemon: the peer of a Unix socket by its user, any other by a token.

It knows nothing of methods but `session.hello`, and keeps no state.
"""

import socket
from typing import Any

import msgspec
import trio

import torcd
from torcd.api.token import Token
from torcd.protocol import PROTOCOL
from torcd.protocol.errors import Unauthorized
from torcd.protocol.requests import Hello
from torcd.protocol.unix import read_peer


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The process at the other end of a Unix socket, as the kernel knows it."""

    pid: int
    uid: int


def find_peer(stream: trio.abc.Stream) -> Peer | None:
    """The peer of a Unix stream; None for any other stream."""
    if not isinstance(stream, trio.SocketStream) or stream.socket.family != socket.AF_UNIX:
        return None
    pid, uid = read_peer(stream.socket)
    return Peer(pid=pid, uid=uid)


def check_hello(hello: Hello, *, is_local: bool, token: Token | None) -> dict[str, Any]:
    """The answer to a session's first call; raises Unauthorized. `token` is the daemon's."""
    if not is_local:
        if token is None:
            raise Unauthorized("this daemon has no token: it is reached through its Unix socket only")
        if hello.token is None:
            raise Unauthorized("a token is needed on this address: set TORC_TOKEN or use the connection file")
        if not token.accepts(hello.token):
            raise Unauthorized(
                "the token is not this daemon's: it gets a new one with each start and each `torcctl daemon "
                "rotate-token`; leave TORC_TOKEN out, or set it to that of the connection file"
            )
    if hello.protocol != PROTOCOL:
        ours = f"torcd {torcd.__version__} speaks protocol {PROTOCOL}"
        theirs = f"{hello.client} {hello.version} speaks {hello.protocol}"
        advice = (
            f"update {hello.client}"
            if hello.protocol < PROTOCOL
            else "update torcd, or stop the one that runs if it is already updated"
        )
        raise Unauthorized(f"{ours} and {theirs}: {advice}", protocol=PROTOCOL, version=torcd.__version__)
    return {"protocol": PROTOCOL, "version": torcd.__version__}
