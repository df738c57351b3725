"""The connection file: by it clients on other hosts find the daemon, through a home that the hosts share.

It is there while a daemon runs, and says which host that is on; without a TCP listener (`port` is None) it only
says that. It holds the token, so it is as private as a key. Whether its daemon still lives can be known on that
daemon's own host only; elsewhere it either answers or it does not.
"""

import os
import socket
from pathlib import Path

import msgspec

from torcd.protocol.address import Address, tcp_url
from torcd.protocol.errors import Refused
from torcd.protocol.private_files import read_private

LIMIT_BYTES = 16 * 1024
"""Sixteen addresses and the rest take 2 KB."""

ANEW = "on the daemon's host its next start, or `torcctl daemon rotate-token`, writes it anew"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ConnectionFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says. Unknown fields are ignored: a newer daemon may say more."""

    host: str
    boot_id: str
    pid: int
    database: str
    socket: str
    addresses: list[str] = []
    """Host names and numbers, the likeliest first. Which of them lead to the daemon depends on where one stands."""
    port: int | None = None
    token: str | None = None
    fingerprint: str | None = None

    def __repr__(self) -> str:
        return f"ConnectionFile(host={self.host!r}, port={self.port!r}, pid={self.pid!r})"  # never the token

    @property
    def is_of_this_boot(self) -> bool:
        """Whether it was written under the kernel that runs here: that kernel's locks are then the truth."""
        return self.boot_id == read_boot_id()

    @property
    def is_here(self) -> bool:
        """Whether its daemon's Unix socket is one of this host: containers share the kernel but not the name."""
        return self.is_of_this_boot and self.host == socket.gethostname()

    @property
    def is_of_dead(self) -> bool:
        """Whether its daemon is certainly gone: the host has started anew, or there is no such process."""
        if self.is_of_this_boot:
            return self.is_here and not Path(f"/proc/{self.pid}").exists()
        return self.host == socket.gethostname()

    def find_ways(self, path: Path) -> list[Address]:
        """The addresses to try, in order; `path` is the file's own."""
        if self.port is None:
            return []
        return [
            Address(url=tcp_url(host, self.port), token=self.token, fingerprint=self.fingerprint, file=str(path))
            for host in self.addresses
        ]


def read_boot_id() -> str:
    """What tells this run of the kernel from all others."""
    return _BOOT_ID.read_text().strip()


def this_process() -> tuple[str, str, int]:
    """Host, boot and process as they stand in the file."""
    return socket.gethostname(), read_boot_id(), os.getpid()


def read_connection_file(path: Path) -> ConnectionFile | None:
    """What the file says; None without one. Raises Refused for one that is not to be believed."""
    try:
        content = read_private(path, LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Refused as error:
        raise Refused(f"{error.message}; {ANEW}", **error.data) from error
    return decode_connection_file(content, path)


def decode_connection_file(content: bytes, path: Path) -> ConnectionFile:
    """What a content says; raises Refused, without quoting it."""
    try:
        file = msgspec.json.decode(content, type=ConnectionFile)
        if file.port is not None and None in (file.token, file.fingerprint):
            raise ValueError("a port without what it takes to be let in")
    except (ValueError, UnicodeError) as error:  # of msgspec, too
        raise Refused(f"{path}: is no connection file of torcd; remove it; {ANEW}", path=str(path)) from error
    return file
