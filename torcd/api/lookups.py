"""Answers `protocol.lookups` from the database."""

from collections.abc import Mapping

from torcd.api.session import Handler, Session
from torcd.protocol.lookups import FindJobs
from torcd.protocol.requests import Request
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.job_keys import find_jobs


class Lookups:
    """The handlers of `protocol.lookups`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {FindJobs: self._find_jobs}

    async def _find_jobs(self, session: Session, request: FindJobs) -> object:
        if request.workflow_id is not None:
            await self._check_workflow(request.workflow_id)
        workflow_id, jobs = await self._database.read(
            lambda db: find_jobs(db, request.workflow_id, request.ids, request.names)
        )
        return {"workflow_id": workflow_id, "jobs": jobs}

    async def _check_workflow(self, workflow_id: int) -> None:
        await self._database.read(lambda db: nouns.check_workflow(db, workflow_id))
