"""One daemon for one database: a kernel lock on a file beside it, held for the daemon's whole life.

The kernel drops the lock when the process ends, however it ends, so there is never a stale lock to remove;
the file itself stays. Inside stands who holds it, for people, and the boot of the machine in which the database was
last opened and not closed in order: what the daemon then left in shared memory still counts.
"""

import errno
import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType

from torcd.protocol.errors import Conflict, Refused

USE_THAT = "Use that, or stop it with `torcctl daemon stop`"


class Lock:
    """A held lock: by this process until `release` or its end, and by children forked without exec."""

    def __init__(self, path: Path, descriptor: int, left_open_in: str) -> None:
        self.path = path
        self.was_left_open = left_open_in != "" and left_open_in == read_boot_id()
        """Whether a former holder opened the database, since the machine was started, and never closed it."""
        self._descriptor: int | None = descriptor
        self._write(left_open_in)

    def note_opened(self) -> None:
        """Notes that the database is in use from now on."""
        self._write(read_boot_id())

    def note_closed(self) -> None:
        """Notes that the database was closed in order."""
        self._write("")

    def _write(self, open_in: str) -> None:
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()} {socket.gethostname()} {open_in}\n".encode(), 0)

    def release(self) -> None:
        """Gives the lock up; again is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Refused(
            f"lock file {path}: cannot be opened: {error.strerror}. Its directory must be yours to write: "
            "make it so, or set `database` to a path elsewhere",
            lock=str(path),
        ) from error


def read_boot_id() -> str:
    """What tells this run of the machine from others; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _read(descriptor: int) -> list[str]:
    """Process, host and boot, each empty where it is not told."""
    words = os.pread(descriptor, 300, 0).decode(errors="replace").split()
    return [*words, "", "", ""][:3]


def _read_holder(descriptor: int) -> str:
    """Who wrote itself into the file, as far as that can be told."""
    pid, host, _ = _read(descriptor)
    if not pid.isdecimal():
        return "another process"
    return f"process {pid}" if host in ("", socket.gethostname()) else f"process {pid} on {host}"


def acquire_lock(path: Path, *, advice: str = USE_THAT) -> Lock:
    """Takes the lock on the file `path`, creating it (0600) and its directory (0700) if need be; never waits.

    Raises `Conflict` if another process holds it, with `advice`, and `Refused` if the file cannot be used.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Lock(path, descriptor, _read(descriptor)[2])
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise Conflict(
                f"lock file {path}: {holder} holds it, so a daemon runs for this database already. {advice}",
                lock=str(path),
            ) from error
        os.close(descriptor)
        raise Refused(
            f"lock file {path}: cannot be locked: {error.strerror}. Its file system must support locks and "
            "have space left; else set `database` to a path on a local disk",
            lock=str(path),
        ) from error
