"""Importing a workflow: read the document here, send it in pieces, have all of it created at once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.context import user_name
from torcctl.create import send_pieces, with_lines
from torcctl.document import load_document
from torcctl.follow import new_request_key
from torcd.protocol.errors import Refused
from torcd.protocol.pieces import cut
from torcd.protocol.transfer_requests import AppendDocument, ImportWorkflow

if TYPE_CHECKING:
    from torcctl.context import Context


def import_workflow(context: "Context", path: Path, *, directory: Path | None) -> dict[str, Any]:
    """Creates a workflow from an exported one.

    The answer is the workflow with `counts` of what it holds and `warnings`, of which the user is told. Raises
    Refused, with the line of each error.
    """
    document = load_document(path)
    where = document.directory if directory is None else os.path.abspath(directory)
    if where is not None and not os.path.isdir(where):
        raise Refused(f"there is no directory {where}: it is where the jobs run; see --directory", directory=where)
    key = new_request_key()

    def attempt() -> dict[str, Any]:
        """An upload lives as long as its session, so that a repetition sends all of it again."""
        session = context.connection
        upload = new_request_key()
        send_pieces(session, (AppendDocument(upload=upload, piece=piece) for piece in cut(document.lines())))
        request = ImportWorkflow(
            upload=upload,
            directory=None if directory is None else where,
            user=user_name(context.environ),
            request_key=key,
        )
        return msgspec.json.decode(session.call(request, timeout_s=None), type=dict[str, Any])

    try:
        answer = context.persistently(attempt)
    except Refused as error:
        raise with_lines(error, document) from error
    for warning in answer["warnings"]:
        context.warn(warning)
    return answer
