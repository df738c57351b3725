"""`torcctl files …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl.selection import list_request
from torcd.protocol.model import File
from torcd.protocol.requests import ListFiles

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId

COLUMNS = {
    "id": "id",
    "name": "name",
    "recorded": "recorded",
    "size": "size",
    "mtime_ns": "mtime_ns",
    "version": "version",
    "script": "is_script",
    "path": "path",
}


def list_files(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the files of a workflow and what was last accepted of them."""
    request = list_request(context, ListFiles, workflow, filters)
    context.show_rows(request, "files", File, COLUMNS)


VERBS: dict[str, Command] = {"list": list_files}
