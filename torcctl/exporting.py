"""Exporting a workflow: fetch its document piece by piece; what is printed or left in a file is all of it."""

import os
import secrets
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from torcctl import output
from torcd.protocol.errors import Refused
from torcd.protocol.transfer_requests import ExportWorkflow, GetExportPiece

if TYPE_CHECKING:
    from torcctl.context import Context

MOST_IN_MEMORY = 16 * 1024 * 1024
"""Of a document that is not complete yet; a longer one waits in a temporary file."""


class Answer(msgspec.Struct, frozen=True):
    """A piece, and where the next one is."""

    export: str
    text: str
    next_cursor: int | None


def print_document(context: "Context", request: ExportWorkflow) -> None:
    """Prints a document, once all of it is here."""
    with tempfile.SpooledTemporaryFile(MOST_IN_MEMORY) as file:
        try:
            fetch(context, request, file)
        except OSError as error:
            where = tempfile.gettempdir()
            raise Refused(f"there is no room for the document in {where}: {error.strerror or error}") from error
        file.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(file, sys.stdout.buffer)


def save_document(context: "Context", request: ExportWorkflow, path: Path, *, force: bool) -> None:
    """Writes a document to a file, which appears when it is complete, and says so."""
    target = Path(os.path.realpath(path))
    try:
        _check_target(path, target, force)
        size = _save(context, request, target)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror or error}", output=str(path)) from error
    if context.options.json:
        output.write_json({"workflow_id": request.workflow_id, "output": str(target), "bytes": size})
    else:
        print(f"Exported workflow {request.workflow_id} to {output.cell(str(path))}")


def _check_target(path: Path, target: Path, force: bool) -> None:
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise Refused(f"{path} is not a regular file: name another, or write to stdout", output=str(path))
    if not force:
        raise Refused(f"{path} exists: --force replaces it", output=str(path))


def _save(context: "Context", request: ExportWorkflow, target: Path) -> int:
    """The size of the document, which is at its place then."""
    part = target.with_name(f".torc-{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            fetch(context, request, file)
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size


def fetch(context: "Context", request: ExportWorkflow, file: IO[bytes]) -> None:
    """Writes a document to a file. All of its pieces come from one session: a new one begins anew."""

    def attempt() -> None:
        file.seek(0)
        file.truncate()
        session = context.connection
        answer = msgspec.json.decode(session.call(request, timeout_s=None), type=Answer)
        file.write(answer.text.encode())
        while answer.next_cursor is not None:
            following = GetExportPiece(export=answer.export, cursor=answer.next_cursor)
            answer = msgspec.json.decode(session.call(following), type=Answer)
            file.write(answer.text.encode())

    context.persistently(attempt)
