"""Making the files of jobs' output where others may have been at work: jobs, or other users of a shared directory.

What lies in the place of a log is never written through: a link could lead to any file of this user, a pipe would let
nobody go on.
"""

import errno
import os
import stat

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create_log(path: str) -> int:
    """A descriptor of a new file, 0600. What was in its place is removed, or it is an error: a directory is not.

    Attempts are numbered, so that an honest log is in the way only when the database has been replaced.
    """
    try:
        return os.open(path, NEW, 0o600)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, NEW, 0o600)


def append_log(path: str) -> int:
    """A descriptor of a file that was made so, to go on at its end; of a new one when it was removed meanwhile."""
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return create_log(path)


def check_links(directory: str, base: str) -> None:
    """Raises PermissionError if `directory`, or one between it and `base`, is a link that another user made.

    One's own link is one's own wish: a `.torc` on another disk.
    """
    owners = {os.getuid(), 0}
    path = directory
    while True:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in owners:
            raise PermissionError(errno.EPERM, f"{path} is a link that another user made")
        path = os.path.dirname(path)
        if not path.startswith(os.path.join(base, "")):
            return
