"""Makes backups, one at a time: each reads all of the database."""

from collections.abc import Mapping

import trio

from torcd.api.session import Handler, Session
from torcd.operations.backup import back_up
from torcd.protocol.backups import BackUp
from torcd.protocol.requests import Request
from torcd.storage.database import Database


class Backups:
    """The handlers of `protocol.backups`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._limiter = trio.CapacityLimiter(1)

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {BackUp: self._back_up}

    async def _back_up(self, session: Session, request: BackUp) -> object:
        async with self._limiter:
            return await back_up(self._database, request.path, overwrite=request.overwrite)
