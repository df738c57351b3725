"""The daemon's TCP listener, always with TLS, and the addresses under which other hosts may find it."""

import ipaddress
import shutil
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import trio

from torcd.api.listener import BACKLOG
from torcd.protocol.errors import Refused
from torcd.protocol.mounts import find_file_system

MOST_ADDRESSES = 16
"""A host with more has them for its containers."""

# fmt: off
SHARED = frozenset({
    "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "gfs2", "gpfs", "lustre", "nfs",
    "nfs4", "ocfs2", "panfs", "pvfs2", "smb3", "wekafs",
})
"""File systems that several hosts have at the same time."""
# fmt: on


class Listen(msgspec.Struct, frozen=True):
    """Where to listen: a name or number of this host, or "" for all of them; port 0 is any that is free."""

    host: str
    port: int


EVERYWHERE = Listen("", 0)


def plan_listen(setting: str, connection_file: Path) -> Listen | None:
    """What a setting asks for, None for no listener; raises Refused.

    `auto` listens where other hosts are to be expected: where the connection file lies on a file system that they
    see too, and where there is Slurm, whose nodes run workers.
    """
    if setting == "off":
        return None
    if setting == "auto":
        shared = find_file_system(connection_file.parent) in SHARED
        return EVERYWHERE if shared or shutil.which("sbatch") is not None else None
    try:
        parts = urlsplit(f"//{setting}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        port = None
    if port is None or parts.netloc != setting:
        raise Refused(
            f"listen: {setting!r} is neither auto, off nor HOST:PORT (as :0, head:7000, [::1]:7000)", value=setting
        )
    return Listen("" if host in ("0.0.0.0", "::", "*") else host, port)


def open_tcp_listener(listen: Listen, context: ssl.SSLContext) -> trio.SSLListener[trio.SocketStream]:
    """Listens there. Raises Refused."""
    try:
        made = _open(listen)
    except OSError as error:
        raise Refused(
            f"listen: cannot listen at {listen.host or '*'}:{listen.port}: {error.strerror}; choose another host or "
            "port (TORCD_LISTEN), or `off`",
            host=listen.host,
            port=listen.port,
        ) from error
    # Websocket frames have their own ends: whether TLS was closed in order tells nothing more.
    return trio.SSLListener(trio.SocketListener(trio.socket.from_stdlib_socket(made)), context, https_compatible=True)


def _open(listen: Listen) -> socket.socket:
    if listen.host:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", listen.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", listen.port), backlog=BACKLOG)


def find_addresses(listener: trio.SSLListener[trio.SocketStream]) -> tuple[list[str], int]:
    """Under which names and numbers the listener may be reached, the likeliest first, and its port."""
    inner = listener.transport_listener
    assert isinstance(inner, trio.SocketListener)
    host, port, *_ = inner.socket.getsockname()
    if not ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        return [host], port
    return list(dict.fromkeys([socket.gethostname(), *_own_addresses()]))[:MOST_ADDRESSES], port


def _own_addresses() -> list[str]:
    """The numbers of this host's interfaces that work, IPv4 first, without those that only it can reach."""
    import psutil  # takes 30 ms, and few daemons listen

    working = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = []
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if name in working and entry.family in (socket.AF_INET, socket.AF_INET6):
                number = ipaddress.ip_address(entry.address.partition("%")[0])
                if not (number.is_loopback or number.is_link_local):
                    found.append(number)
    return [str(number) for number in sorted(found, key=lambda number: number.version)]
