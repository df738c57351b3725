"""Carries out edits: each is one message to the workflow's actor, answered with what it changed."""

from collections.abc import Mapping

from torcd.actors.supervisor import Supervisor
from torcd.api.session import Handler, Session
from torcd.protocol.edits import ArchiveWorkflow, DisableJobs, EnableJobs, UnarchiveWorkflow
from torcd.protocol.requests import Request, WorkflowRequest
from torcd.storage import nouns
from torcd.storage.database import Database


class Edits:
    """The handlers of `protocol.edits`."""

    def __init__(self, database: Database, supervisor: Supervisor) -> None:
        self._database = database
        self._supervisor = supervisor

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {
            ArchiveWorkflow: self._archive,
            UnarchiveWorkflow: self._archive,
            DisableJobs: self._send,
            EnableJobs: self._send,
        }

    async def _send(self, session: Session, request: WorkflowRequest) -> object:
        await self._database.read(lambda db: nouns.check_workflow(db, request.workflow_id))
        return await self._supervisor.send(request.workflow_id, request)

    async def _archive(self, session: Session, request: ArchiveWorkflow | UnarchiveWorkflow) -> object:
        await self._send(session, request)
        return await self._database.read(lambda db: nouns.load_workflow(db, request.workflow_id))
