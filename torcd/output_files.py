"""Files of the daemon's own in a workflow's output directory, which may lie where other users write, too.

What is there already may be theirs: it is neither written through, nor handed to anybody who would run it.
"""

import errno
import os
import stat


def check_links(path: str, directory: str) -> None:
    """Raises PermissionError where a step of the path below a directory is a link that another user made."""
    owners = {os.getuid(), 0}
    while path.startswith(os.path.join(directory, "")):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in owners:
            raise PermissionError(errno.EPERM, "it is a link that another user made", path)
        path = os.path.dirname(path)


def create_file(path: str, mode: int = 0o600) -> int:
    """A descriptor of a new file; what was in its place is removed. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, mode)
