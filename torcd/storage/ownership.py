"""Whether other users could put a database of theirs in the place of this one: its commands run as this user."""

import logging
import os
import stat
from pathlib import Path

from torcd.protocol.errors import Refused

logger = logging.getLogger(__name__)


def check_ownership(database: Path) -> None:
    """Raises Refused where anybody may write, or where the database is another user's; nothing need be there yet.

    A directory shared with a group is its members' decision, and only told.
    """
    try:
        directory = database.parent.stat()
    except OSError:
        return  # it is made, private, or its absence is told by whoever needs it
    for place in database.parents:
        mode = place.stat().st_mode
        # In a directory with the sticky bit, as /tmp is, nobody can put another one in the place of ours.
        if mode & stat.S_IWOTH and not (mode & stat.S_ISVTX and place != database.parent):
            raise Refused(
                f"{place}: every user may write there, and could replace the database, whose commands run as you: "
                "keep it in a directory of your own",
                directory=str(place),
            )
    if directory.st_mode & stat.S_IWGRP or directory.st_uid not in (os.getuid(), 0):
        logger.warning("%s: others may write there, and could replace the database", database.parent)
    for suffix in ("", "-wal", "-journal", ".lock"):
        path = Path(f"{database}{suffix}")
        if path.exists() and path.stat().st_uid != os.getuid():
            raise Refused(f"{path}: belongs to user {path.stat().st_uid}, not to you", path=str(path))
