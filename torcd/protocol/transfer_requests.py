"""Requests that carry whole workflows out of a database and into another (docs/export.md).

Both ways a document travels as text in pieces, each well below the size of a frame, whatever its parts may be long.
"""

from torcd.protocol.requests import Natural, Request, WorkflowRequest


class ExportWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Makes the document of a workflow, on one snapshot, and answers its first piece, as `exports.piece` does.

    With `results` it holds those of all attempts.
    """

    METHOD = "workflows.export"
    results: bool = False


class GetExportPiece(Request, frozen=True, kw_only=True):
    """A piece of a document that was made on this connection: {export, text, next_cursor}; the last one ends it."""

    METHOD = "exports.piece"
    export: str
    cursor: Natural


class AppendDocument(Request, frozen=True, kw_only=True):
    """Adds a piece of a document to an upload of this session, which may end anywhere in a line.

    The document is sent as lines of JSON: first everything of it but the lists, then of each list its name, a JSON
    string, and each of its items.
    """

    METHOD = "uploads.append_document"
    upload: str
    piece: str


class ImportWorkflow(Request, frozen=True, kw_only=True):
    """Creates a workflow from a document that was uploaded: all of it in one transaction, or nothing.

    Answers `model.Workflow` with `counts` and `warnings`. `directory` replaces the document's submission directory.
    """

    METHOD = "workflows.import"
    upload: str
    directory: str | None = None
    user: str
    request_key: str | None = None
