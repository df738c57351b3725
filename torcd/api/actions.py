"""Lists actions and their firings."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from torcd.api.session import Handler, Session
from torcd.protocol.actions import ListActions, ListFirings
from torcd.protocol.requests import ListRequest, Request
from torcd.storage import nouns
from torcd.storage.action_lists import ACTIONS, FIRINGS
from torcd.storage.database import Database
from torcd.storage.lists import Listing, load_page


class Actions:
    """The handlers of `protocol.actions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {ListActions: self._list_actions, ListFirings: self._list_firings}

    async def _list_actions(self, session: Session, request: ListActions) -> object:
        return await self._list(request, "actions", ACTIONS)

    async def _list_firings(self, session: Session, request: ListFirings) -> object:
        return await self._list(request, "firings", FIRINGS)

    async def _list(self, request: ListRequest, plural: str, listing: Listing[Any]) -> object:
        def work(db: sqlite3.Connection) -> tuple[list[Any], int | None]:
            nouns.check_workflow(db, request.workflow_id)
            return load_page(db, listing, (request.workflow_id,), request.filters, request.cursor, request.limit)

        rows, cursor = await self._database.read(work)
        return {plural: rows, "next_cursor": cursor}
