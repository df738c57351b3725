"""`torcctl files …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import output
from torcctl.selection import check_id, check_workflow, choose_workflow, is_id, list_request
from torcd.protocol.lookups import GetFile, ListFileHistory
from torcd.protocol.model import File, FileVersion
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

HISTORY = {"version": "version", "recorded": "recorded", "size": "size", "mtime_ns": "mtime_ns"}


def list_files(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the files of a workflow and what was last accepted of them."""
    request = list_request(context, ListFiles, workflow, filters, COLUMNS)
    context.show_rows(request, "files", File, COLUMNS)


def get(file: str, /, *, context: Context) -> None:
    """Show a file and what was last accepted of it.

    Args:
        file: Its name in the selected workflow, or its id.
    """
    request = GetFile(file_id=_find(context, file).id)
    context.show(context.call(request), File, output.write_struct)


def history(file: str, /, *, context: Context) -> None:
    """List what was accepted of a file: its record and those that it replaced, the newest first.

    A version is a number of the workflow's counter, from which on the record was in force; a file that was never
    recorded has none.

    Args:
        file: Its name in the selected workflow, or its id.
    """
    found = _find(context, file)
    request = ListFileHistory(workflow_id=found.workflow_id, file_id=found.id)
    context.show_rows(request, "history", FileVersion, HISTORY)


def _find(context: Context, file: str) -> File:
    """The file with this id or, in the selected workflow, with this name. Raises NotFound."""
    if not is_id(file):
        return context.get(GetFile(workflow_id=choose_workflow(context), name=file), File)
    found = context.get(GetFile(file_id=check_id(int(file), "file")), File)
    check_workflow(context, found.workflow_id, "file", found.id)
    return found


VERBS: dict[str, Command] = {"list": list_files, "get": get, "history": history}
