"""The daemon's Unix socket: made in a directory closed to others, or inherited from a service manager.

trio has no Unix listener of its own, so the socket is made by hand.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path

from torcd.api.batch_listener import BatchListener
from torcd.protocol.errors import Refused

PATH_BYTES = 107
"""Longest path of a Unix socket: `sun_path` of unix(7) has 108 bytes, one of them for the final NUL."""

BACKLOG = 4096
"""Clients that may wait to be accepted, as when all workers of a cluster reconnect; the kernel caps it. One beyond it
is refused at once, and not all programs try again."""


class UnixListener:
    """A listening socket and the file by which clients find it."""

    def __init__(self, path: Path, made: socket.socket) -> None:
        self.path = path
        self.listener = BatchListener(made)
        self._identity = _identity(path)

    def remove(self) -> None:
        """Removes the file unless it is another socket's by now. Called after the listener was closed."""
        with contextlib.suppress(FileNotFoundError):
            if _identity(self.path) == self._identity:
                self.path.unlink()


def open_unix_listener(path: Path) -> UnixListener:
    """Listens at `path`, mode 0600; replaces the socket file of a dead daemon. Raises Refused.

    Call it with the daemon's lock held: between the look at an old file and its removal nobody else may bind.
    """
    if len(os.fsencode(path)) > PATH_BYTES:
        raise Refused(
            f"{path}: the path of a Unix socket has at most {PATH_BYTES} bytes: set TORCD_SOCKET to a shorter one",
            path=str(path),
        )
    _ensure_private(path.parent)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        made.bind(str(path))
        # Nobody connects before listen(), and no other user reaches into the directory.
        path.chmod(0o600)
        made.listen(BACKLOG)
        return UnixListener(path, made)
    except OSError as error:
        made.close()
        raise Refused(f"{path}: cannot listen there: {error.strerror}", path=str(path)) from error
    except BaseException:
        made.close()
        raise


def adopt_unix_listener(descriptor: int) -> BatchListener:
    """The listener for a listening Unix socket that a service manager passed; takes the descriptor over."""
    inherited = socket.socket(fileno=descriptor)
    if inherited.family != socket.AF_UNIX or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()
        raise Refused(
            f"descriptor {descriptor} is no listening Unix socket: check ListenStream= of the socket unit",
            descriptor=descriptor,
        )
    inherited.set_inheritable(False)
    return BatchListener(inherited)


def _identity(path: Path) -> tuple[int, int, int]:
    # The time too: file systems give the number of a removed inode to the next file.
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _ensure_private(directory: Path) -> None:
    """Makes the directory if need be; refuses one that others own or reach into."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The link and what it points to: in /tmp anybody can make a link to a directory of ours.
        owners = {directory.lstat().st_uid, directory.stat().st_uid}
        mode = stat.S_IMODE(directory.stat().st_mode)
    except OSError as error:
        raise Refused(
            f"{directory}: no directory for the daemon's socket: {error.strerror}. Set TORCD_SOCKET to a path in a "
            "directory of yours",
            path=str(directory),
        ) from error
    if owners != {os.getuid()}:
        raise Refused(
            f"{directory} belongs to another user: set TORCD_SOCKET to a path in a directory of yours",
            path=str(directory),
        )
    if mode & 0o077:
        raise Refused(
            f"{directory} is open to other users (mode {mode:04o}): chmod 700 it, or set TORCD_SOCKET to "
            "a path in a private directory",
            path=str(directory),
        )


def _remove_dead(path: Path) -> None:
    """Removes a socket file on which nobody listens; refuses one that is alive or no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Refused(f"{path} exists and is no socket: move it away or set TORCD_SOCKET", path=str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full queue of connections (EAGAIN) is a sign of life as well.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise Refused(
        f"{path}: a daemon with another database answers there: stop it, or set TORCD_SOCKET for this one",
        path=str(path),
    )
