"""`torcctl results …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from torcctl import output
from torcctl.selection import check_id, check_workflow, list_request
from torcd.protocol.model import Result
from torcd.protocol.requests import GetResult, ListResults

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId

COLUMNS = {
    "id": "id",
    "job": "job_id",
    "name": "job_name",
    "run": "run_id",
    "attempt": "attempt_id",
    "return code": "return_code",
    "status": "status",
    "reason": "status_reason",
    "minutes": "exec_time_minutes",
    "completed": "completion_time",
    "host": "hostname",
}


def list_results(
    workflow: WorkflowId = None,
    /,
    *,
    filters: Filters = (),
    all_runs: bool = False,
    context: Context,
) -> None:
    """List what the latest attempts of the jobs left behind.

    Args:
        all_runs: Also the results of earlier attempts, and of jobs that were reset.
    """
    request = list_request(context, ListResults, workflow, filters, COLUMNS, all_runs=all_runs)
    context.show_rows(request, "results", Result, COLUMNS)


def get(result: int, /, *, context: Context) -> None:
    """Show a result."""
    raw = context.call(GetResult(result_id=check_id(result, "result")))
    check_workflow(context, msgspec.json.decode(raw, type=Result).workflow_id, "result", result)
    context.show(raw, Result, output.write_struct)


VERBS: dict[str, Command] = {"list": list_results, "get": get}
