"""Connecting to a Unix socket, and knowing whose it is."""

import errno
import os
import socket
import struct
from typing import Protocol

from torcd.protocol.errors import Forbidden

_UCRED = struct.Struct("iII")
"""`struct ucred` of unix(7): pid, uid, gid."""


class _Socket(Protocol):
    """A socket of the standard library or of trio."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def open_unix(path: str, timeout_s: float) -> socket.socket:
    """A connection to a daemon of this user's. Raises OSError, or Forbidden when another user listens there."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The kernel's own time limit, and not settimeout(): that makes the socket non-blocking, and a
        # non-blocking connect fails with EAGAIN while the daemon's backlog is full, instead of waiting.
        seconds = int(timeout_s)
        limit = struct.pack("ll", seconds, int((timeout_s - seconds) * 1e6))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        stream.connect(path)
        check_owner(read_peer(stream)[1], path)
    except OSError as error:
        stream.close()
        if error.errno is None:  # raised before the system was asked: the path does not fit into an address
            raise OSError(errno.ENAMETOOLONG, f"{error}; set TORCD_SOCKET to a shorter path") from error
        raise
    except BaseException:
        stream.close()
        raise
    return stream


def read_peer(stream: _Socket) -> tuple[int, int]:
    """Process and user at the other end, as the kernel knows them; on a client, of whoever listens."""
    pid, uid, _gid = _UCRED.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid


def check_owner(uid: int, path: str) -> None:
    """Raises Forbidden when it is not this user who listens: in /tmp anybody can take the place of a socket."""
    if uid != os.getuid():
        raise Forbidden(
            f"{path}: user {uid} listens there, not you; nothing was sent. Set TORCD_SOCKET to a path in a directory "
            "of yours",
            path=path,
            uid=uid,
        )
