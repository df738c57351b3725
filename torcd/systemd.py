"""What systemd and the daemon tell each other, see sd_notify(3), sd_listen_fds(3) and sd_watchdog_enabled(3)."""

import logging
import os
import socket
from collections.abc import Mapping

logger = logging.getLogger(__name__)

FIRST_DESCRIPTOR = 3


def notify(state: str) -> None:
    """Tells the service manager, if there is one, e.g. READY=1. One that cannot be told is no reason to end."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(address)
            channel.sendall(state.encode())
        except OSError as error:
            logger.warning("the service manager could not be told %s: %s", state, error)


def watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """How often the watchdog wants to be fed: three times as often as it must; None: there is none for this process."""
    wanted = environ.get("WATCHDOG_USEC", "")
    if not wanted.isdecimal() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(wanted) / 1e6 / 3


def inherited_listeners() -> list[int]:
    """The descriptors of listening sockets that the service manager passed; they are ours from now on."""
    if os.environ.pop("LISTEN_PID", None) != str(os.getpid()):
        return []
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    descriptors = list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors
