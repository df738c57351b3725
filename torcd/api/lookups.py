"""Answers `protocol.lookups` from the database."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torcd.api.session import Handler, Session
from torcd.protocol.errors import BadRequest, NotFound
from torcd.protocol.lookups import FindJobs, GetFile, ListFileHistory, ListUserDataHistory
from torcd.protocol.requests import ListRequest, Request
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.histories import FILE_HISTORY, USER_DATA_HISTORY
from torcd.storage.job_keys import find_jobs
from torcd.storage.lists import Listing, load_page

T = TypeVar("T")


class Lookups:
    """The handlers of `protocol.lookups`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {
            FindJobs: self._find_jobs,
            GetFile: self._get_file,
            ListFileHistory: self._list_file_history,
            ListUserDataHistory: self._list_user_data_history,
        }

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._database.read(work)

    async def _find_jobs(self, session: Session, request: FindJobs) -> object:
        if request.workflow_id is not None:
            await self._check_workflow(request.workflow_id)
        workflow_id, jobs = await self._read(lambda db: find_jobs(db, request.workflow_id, request.ids, request.names))
        return {"workflow_id": workflow_id, "jobs": jobs}

    async def _get_file(self, session: Session, request: GetFile) -> object:
        if request.file_id is not None:
            wanted = request.file_id
            return await self._read(lambda db: nouns.load_one(db, nouns.FILES, "file", "f.id = ?", (wanted,), wanted))
        workflow_id, name = request.workflow_id, request.name
        if workflow_id is None or name is None:
            raise BadRequest("name a file by file_id, or by workflow_id and name", path="$")
        await self._check_workflow(workflow_id)
        condition = "f.workflow_id = ? AND f.name = ? ORDER BY f.is_script"
        return await self._read(
            lambda db: nouns.load_one(db, nouns.FILES, "file", condition, (workflow_id, name), name)
        )

    async def _list_file_history(self, session: Session, request: ListFileHistory) -> object:
        return await self._list_history(request, FILE_HISTORY, "file", request.file_id)

    async def _list_user_data_history(self, session: Session, request: ListUserDataHistory) -> object:
        return await self._list_history(request, USER_DATA_HISTORY, "user_data", request.user_data_id)

    async def _list_history(self, request: ListRequest, listing: Listing[Any], noun: str, object_id: int) -> object:
        def work(db: sqlite3.Connection) -> tuple[list[Any], int | None]:
            nouns.check_workflow(db, request.workflow_id)
            if nouns.find_owner(db, noun, object_id) != request.workflow_id:
                named = noun.replace("_", " ")
                raise NotFound(f"workflow {request.workflow_id} has no {named} {object_id}", noun=noun, id=object_id)
            key = (request.workflow_id, object_id)
            return load_page(db, listing, key, request.filters, request.cursor, request.limit)

        rows, cursor = await self._read(work)
        return {"history": rows, "next_cursor": cursor}

    async def _check_workflow(self, workflow_id: int) -> None:
        await self._read(lambda db: nouns.check_workflow(db, workflow_id))
