"""Answers `protocol.resource_report` from the database."""

from collections.abc import Callable, Mapping
from typing import Any

from torcd.api.session import Handler, Session
from torcd.protocol.errors import Refused
from torcd.protocol.requests import Request
from torcd.protocol.resource_report import ReportJobResources, ReportResources
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.resource_use import report_jobs, report_requirements

MOST_ROWS = 1000
"""A page: with a row of half a KiB it is as long as other lists' pages."""


class Reports:
    """The handlers of `protocol.resource_report`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {
            ReportResources: self._report("requirements", report_requirements),
            ReportJobResources: self._report("jobs", report_jobs),
        }

    def _report(self, plural: str, load: Callable[..., tuple[list[Any], int | None]]) -> Handler:
        async def handler(session: Session, request: ReportResources | ReportJobResources) -> object:
            if request.filters:
                raise Refused("a report takes no filters: filter what it prints", field="filters")
            workflow_id, limit = request.workflow_id, min(request.limit, MOST_ROWS)
            await self._database.read(lambda db: nouns.check_workflow(db, workflow_id))
            rows, cursor = await self._database.read(  # of a million attempts it takes seconds
                lambda db: load(db, workflow_id, request.cursor, limit, all_runs=request.all_runs), long=True
            )
            return {plural: rows, "next_cursor": cursor}

        return handler
