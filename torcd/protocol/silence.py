"""Has the kernel notice that the peer of a TCP connection has vanished: a host without power or network says nothing.

Its goodbye never comes, and what is sent to it is sent again for a quarter of an hour.
"""

import socket
from typing import Protocol

LONGEST_S = 30.0
"""Half of the usual lease of a worker: the daemon begins that in time, and the worker is back before it ends."""

SHORTEST_S = 2
"""The kernel counts in whole seconds, and probes at least once."""


class Stream(Protocol):
    """A TCP socket, or what stands for one."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def notice_silence(stream: Stream, within_s: float = LONGEST_S) -> None:
    """Breaks the connection when the peer has acknowledged nothing for so long, whether anything was sent or not.

    Never later than after `LONGEST_S`. For a peer that is merely busy or stopped its kernel acknowledges. An idle
    connection breaks in half that time: what is sent just before that ends the probes and is waited for anew.
    """
    total_s = max(int(min(within_s, LONGEST_S) / 2), SHORTEST_S)
    interval_s = max(total_s // 6, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, max(total_s - 3 * interval_s, 1)),
        (socket.TCP_KEEPINTVL, interval_s),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, total_s * 1000),  # keepalive does not probe while anything is unacknowledged
    ):
        stream.setsockopt(socket.IPPROTO_TCP, option, value)
