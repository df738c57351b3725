"""Requests about the database as a whole."""

from torcd.protocol.requests import Request


class BackUp(Request, frozen=True, kw_only=True):
    """Copies the database to a file on the daemon's host, while everything goes on; answers `model.Backup`.

    The copy is one moment's state. It is checked in full before it gets its name.
    """

    METHOD = "daemon.backup"
    path: str | None = None
    """Absolute; a directory gets a dated file. Null: a dated file in `backups` beside the database."""
    overwrite: bool = False
