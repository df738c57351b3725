"""Carries out `protocol.slurm`: everything that needs Slurm is the allocator's."""

from collections.abc import Mapping
from typing import cast

from torcd.actors.allocator import Allocator
from torcd.api.session import Handler, Session
from torcd.protocol.requests import Request, WorkflowRequest
from torcd.protocol.slurm import (
    CancelAllocations,
    GetAccount,
    GetAllocation,
    ListAllocations,
    RefreshAllocations,
    ScheduleNodes,
)
from torcd.storage import nouns
from torcd.storage.allocations import ALLOCATIONS
from torcd.storage.database import Database
from torcd.storage.lists import load_page


class Allocations:
    """The handlers of `protocol.slurm`."""

    def __init__(self, database: Database, allocator: Allocator) -> None:
        self._database = database
        self._allocator = allocator

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {
            ScheduleNodes: self._schedule,
            ListAllocations: self._list,
            GetAllocation: self._get,
            CancelAllocations: self._cancel,
            RefreshAllocations: self._refresh,
            GetAccount: self._account,
        }

    async def _check(self, request: WorkflowRequest) -> int:
        await self._database.read(lambda db: nouns.check_workflow(db, request.workflow_id))
        return request.workflow_id

    async def _schedule(self, session: Session, request: ScheduleNodes) -> object:
        return await self._allocator.schedule(await self._check(request), request)

    async def _list(self, session: Session, request: ListAllocations) -> object:
        workflow_id = await self._check(request)
        found, cursor = await self._database.read(
            lambda db: load_page(db, ALLOCATIONS, (workflow_id,), request.filters, request.cursor, request.limit)
        )
        return {"allocations": [self._allocator.show(each) for each in found], "next_cursor": cursor}

    async def _get(self, session: Session, request: GetAllocation) -> object:
        wanted = request.allocation_id
        found = await self._database.read(
            lambda db: nouns.load_one(db, ALLOCATIONS, "allocation", "a.id = ?", (wanted,), wanted)
        )
        return self._allocator.show(found)

    async def _cancel(self, session: Session, request: CancelAllocations) -> object:
        return await self._allocator.cancel(await self._check(request), request.ids, request.requested_by)

    async def _refresh(self, session: Session, request: RefreshAllocations) -> object:
        return await self._allocator.load_open(await self._check(request))

    async def _account(self, session: Session, request: GetAccount) -> object:
        return {"account": await self._allocator.load_account(await self._check(request))}


def wakes_allocator(handler: Handler, allocator: Allocator) -> Handler:
    """The handler, after which the allocator looks whether allocations have become superfluous."""

    async def handled(session: Session, request: Request) -> object:
        answer = await handler(session, request)
        allocator.wake()
        return answer

    return cast(Handler, handled)
