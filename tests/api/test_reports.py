"""Reports over all attempts of a workflow do not make other queries wait."""

import sqlite3
from collections.abc import Callable
from typing import Any, cast

import pytest
from builders import job, new_workflow
from workbench import Workbench

from torcd.api.reports import Reports
from torcd.api.session import Session
from torcd.protocol.resource_report import ReportJobResources, ReportResources
from torcd.storage.database import Database


class Lanes:
    """Stands in for the database; `long` is how each query was asked for."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.long: list[bool] = []

    async def read(self, work: Callable[[sqlite3.Connection], Any], *, long: bool = False) -> Any:
        self.long.append(long)
        return work(self.db)


@pytest.mark.parametrize("kind", [ReportResources, ReportJobResources])
async def test_what_reads_all_attempts_is_no_short_query(kind: type[ReportResources | ReportJobResources]) -> None:
    bench = Workbench(new_workflow([job("a")]))
    lanes = Lanes(bench.db)
    handler = Reports(cast(Database, lanes)).handlers()[kind]
    await handler(cast(Session, None), kind(workflow_id=bench.workflow_id))
    assert lanes.long == [False, True]
    bench.close()
