"""`torcctl allocations …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from torcctl import output
from torcctl.allocating import SHOWN
from torcctl.selection import check_id, check_workflow, list_request
from torcd.protocol.slurm import Allocation, GetAllocation, ListAllocations

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId


def list_allocations(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the allocations of a workflow, also those that have ended, as they were last seen."""
    request = list_request(context, ListAllocations, workflow, filters, SHOWN)
    context.show_rows(request, "allocations", Allocation, SHOWN)


def get(allocation: int, /, *, context: Context) -> None:
    """Show an allocation."""
    raw = context.call(GetAllocation(allocation_id=check_id(allocation, "allocation")))
    check_workflow(context, msgspec.json.decode(raw, type=Allocation).workflow_id, "allocation", allocation)
    context.show(raw, Allocation, output.write_struct)


VERBS: dict[str, Command] = {"list": list_allocations, "get": get}
