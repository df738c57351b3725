"""Files that only their owner may read or write: keys and tokens.

They are written whole or not at all, and what another user can read or could have written is never believed.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from torcd.protocol.errors import Refused

PRIVATE = 0o600


def read_private(path: Path, limit_bytes: int) -> bytes:
    """The content. Raises FileNotFoundError or NotADirectoryError, or Refused for what is no private file of ours."""
    try:
        # Neither a link nor a pipe is followed or waited for: somebody else may have put it there.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}; remove it", path=str(path)) from error
    try:
        _check(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(limit_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit_bytes:
        raise Refused(f"{path}: has more than {limit_bytes} bytes; remove it", path=str(path))
    return content


def _check(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path}: is no file; remove it", path=str(path))
    if found.st_uid != os.getuid():
        raise Refused(f"{path}: belongs to user {found.st_uid}, not to you; remove it", path=str(path))
    if mode & 0o077:
        raise Refused(
            f"{path}: is open to other users (mode {mode:04o}), who may know what it says; remove it",
            path=str(path),
        )


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file in one step, durably. Raises OSError; a crash leaves the old file or the new one."""
    new = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        new.unlink()  # of a writer that was killed
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.rename(path)
    except BaseException:
        with suppress(FileNotFoundError):
            new.unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems cannot; the new file is in place, and whole
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
