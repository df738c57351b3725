"""Carries workflows out of the database as documents, and into it."""

import sqlite3
from collections.abc import Mapping

import trio

from torcd.actors.clock import now_ms
from torcd.api.export_shelf import ExportShelf
from torcd.api.session import Handler, Session
from torcd.api.threads import work_in_thread
from torcd.memory import CollectionPause
from torcd.operations.exporting import write_document
from torcd.operations.importing import describe_import, prepare_import, write_import
from torcd.protocol import model
from torcd.protocol.requests import Request
from torcd.protocol.transfer_requests import ExportWorkflow, GetExportPiece, ImportWorkflow
from torcd.storage import nouns
from torcd.storage.create import find_created
from torcd.storage.database import Database
from torcd.storage.exported import load_exported


class Transfers:
    """The handlers of `protocol.transfer_requests`."""

    def __init__(self, database: Database, limiter: trio.CapacityLimiter) -> None:
        """`limiter`: how many documents, or specifications, are worked on at a time."""
        self._database = database
        self._limiter = limiter
        self._shelf = ExportShelf()
        self._pause = CollectionPause()

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {
            ExportWorkflow: self._export,
            GetExportPiece: self._get_piece,
            ImportWorkflow: self._import,
        }

    async def _export(self, session: Session, request: ExportWorkflow) -> object:
        async with self._limiter:
            with self._pause.held():
                pieces = await self._make_pieces(request)
        export = self._shelf.keep(pieces)
        session.on_close(lambda: self._shelf.drop(export))
        return self._shelf.show(export, 0)

    async def _make_pieces(self, request: ExportWorkflow) -> list[str]:
        """The document: rows from one snapshot, and what is made of them in a thread."""
        workflow_id = request.workflow_id
        exported = await self._database.read(
            lambda db: load_exported(db, workflow_id, results=request.results), long=True
        )
        return await trio.to_thread.run_sync(write_document, exported, workflow_id, now_ms(), abandon_on_cancel=True)

    async def _get_piece(self, session: Session, request: GetExportPiece) -> object:
        return self._shelf.show(request.export, request.cursor)

    async def _import(self, session: Session, request: ImportWorkflow) -> object:
        created = None
        if request.request_key is not None:
            created = await self._database.read(lambda db: find_created(db, request.request_key))
        if created is None:
            pieces = session.uploads.take(request.upload, str)
            async with self._limiter:
                with self._pause.held():
                    created = await self._create(request, pieces)
        return await self._describe(created)

    async def _create(self, request: ImportWorkflow, pieces: list[str]) -> int:
        """Checks a document in a thread and writes all of it; `pieces` are empty then."""
        wanted = await work_in_thread(prepare_import, request, pieces, now_ms())
        return await self._database.commit(lambda db: write_import(db, wanted))

    async def _describe(self, workflow_id: int) -> dict[str, object]:
        def work(db: sqlite3.Connection) -> tuple[model.Workflow, dict[str, int], list[str]]:
            return nouns.load_workflow(db, workflow_id), *describe_import(db, workflow_id)

        workflow, counts, warnings = await self._database.read(work)
        fields = {name: getattr(workflow, name) for name in workflow.__struct_fields__}
        return {**fields, "counts": counts, "warnings": warnings, "dry_run": False}
