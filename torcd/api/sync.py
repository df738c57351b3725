"""The handler of `workflows.sync_status`: asks the actor, and puts names to its jobs."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from msgspec import structs

from torcd.actors.messages import SyncWorkers
from torcd.actors.supervisor import Supervisor
from torcd.api.session import Handler, Session
from torcd.protocol.requests import Request
from torcd.protocol.sync import Synced, SyncStatus
from torcd.storage import nouns
from torcd.storage.database import Database


class Syncs:
    """Compares with what is."""

    def __init__(
        self, database: Database, supervisor: Supervisor, find_ended: Callable[[int], Awaitable[dict[int, str]]]
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._find_ended = find_ended
        """The allocations of a workflow that have ended, and how."""

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {SyncStatus: self._sync}

    async def _sync(self, session: Session, request: SyncStatus) -> object:
        workflow_id = request.workflow_id
        await self._database.read(lambda db: nouns.check_workflow(db, workflow_id))
        ended = await self._find_ended(workflow_id)
        synced = cast(Synced, await self._supervisor.send(workflow_id, SyncWorkers(request.dry_run, ended)))
        names = await self._database.read(lambda db: _load_names(db, [job.id for job in synced.jobs]))
        return structs.replace(synced, jobs=[structs.replace(job, name=names[job.id]) for job in synced.jobs])


def _load_names(db: sqlite3.Connection, job_ids: list[int]) -> dict[int, str]:
    rows = db.execute("SELECT id, name FROM job WHERE id IN (SELECT value FROM json_each(?))", (str(job_ids),))
    return dict(rows.fetchall())
