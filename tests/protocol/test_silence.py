"""How soon the kernel is to notice that a TCP peer has vanished. That it does: `end_to_end/test_hosts.py`."""

import socket

import pytest

from torcd.protocol.silence import notice_silence


@pytest.mark.parametrize(
    ("within_s", "first_probe_s", "between_s", "most_s"),
    [(30.0, 9, 2, 15), (3 * 86400.0, 9, 2, 15), (2.5, 1, 1, 2), (0.5, 1, 1, 2), (14.0, 4, 1, 7)],
)
def test_an_idle_connection_is_probed_and_nothing_stays_unacknowledged_longer(
    within_s: float, first_probe_s: int, between_s: int, most_s: int
) -> None:
    """Each for half of the time: one may follow the other."""
    with socket.socket() as stream:
        notice_silence(stream, within_s)
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        found = [stream.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert found == [first_probe_s, between_s, 3, most_s * 1000]
        assert first_probe_s + between_s <= most_s, "at least one probe goes unanswered before the end"
