"""Creating a workflow from a specification file: load it here, send it in pieces, have it created at once."""

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.context import user_name
from torcctl.follow import new_request_key
from torcctl.specification import find_lines_of, load_specification, split
from torcd.protocol.errors import Refused
from torcd.protocol.model import Workflow
from torcd.protocol.requests import AppendUpload, CreateWorkflow, ListWorkflows, Request

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.document import Document
    from torcctl.specification import Loaded
    from torcd.protocol.client import Connection
    from torcd.protocol.specification import Header, WorkflowSpec

PIECE_BYTES = 512 * 1024
"""Size of the pieces: well below what would hold up the daemon's event loop."""

PIECES_IN_FLIGHT = 4
"""Pieces sent ahead of their answers: the daemon decodes one while the next is on its way."""


def create_workflow(
    context: "Context", path: Path, *, directory: Path | None, dry_run: bool = False, warn: bool = False
) -> dict[str, Any]:
    """Creates a workflow, or only has its specification checked.

    The answer is the workflow (none of its fields after a dry run) with `counts` of what it holds. With `warn`
    the user is told of a workflow that has the same name and directory. Raises Refused, with the line of each
    error where the format gives one.
    """
    loaded = load_specification(path)
    where = os.path.abspath(directory or Path.cwd())
    if not os.path.isdir(where):
        raise Refused(f"there is no directory {where}: it is where the jobs run", directory=where)
    if warn:
        _warn_of_twin(context, loaded.spec.name, where)
    user = loaded.spec.user or user_name(context.environ)
    key = None if dry_run else new_request_key()

    def attempt() -> dict[str, Any]:
        session = context.connection
        header, upload = send_specification(session, loaded.spec)
        request = CreateWorkflow(
            header=header,
            upload=upload,
            directory=where,
            user=user,
            dry_run=dry_run,
            request_key=key,
        )
        return msgspec.json.decode(session.call(request, timeout_s=None), type=dict[str, Any])

    try:
        answer = context.persistently(attempt)
    except Refused as error:
        raise with_lines(error, loaded) from error
    for warning in answer.get("warnings", []):
        context.warn(warning)
    if answer["counts"].get("jobs") == 0:
        context.warn(f"{path} has no jobs: there is nothing to run")
    return answer


def send_specification(session: "Connection", spec: "WorkflowSpec") -> tuple["Header", str | None]:
    """Sends a specification's long lists; its header, and the upload that holds them (None: they are empty).

    An upload lives as long as its session, so that a repetition on another one sends all of it again.
    """
    upload = new_request_key()
    header, pieces = split(spec, PIECE_BYTES)
    uploads = [AppendUpload(upload=upload, piece=piece) for piece in pieces]
    send_pieces(session, uploads)
    return header, upload if uploads else None


def send_pieces(session: "Connection", pieces: Iterable[Request]) -> None:
    """Sends the pieces of an upload, some ahead of their answers."""
    calls: deque[int] = deque()
    for piece in pieces:
        if len(calls) == PIECES_IN_FLIGHT:
            session.finish(calls.popleft())
        calls.append(session.begin(piece))
    while calls:
        session.finish(calls.popleft())


def with_lines(error: Refused, read: "Loaded | Document") -> Refused:
    """The same error with `FILE:LINE` before each of its parts, where the line is known."""
    parts = error.data.get("errors")
    if not parts:
        return error
    lines = find_lines_of(read.text, read.format, [part["path"] for part in parts])
    located = [{**part, "file": read.source, "line": lines.get(part["path"])} for part in parts]
    texts = [_located_text(part) for part in located]
    count = error.data.get("count", len(parts))
    if count > len(texts):
        texts.append(f"… and {count - len(texts)} more")
    if count > 1:
        texts.insert(0, f"the {read.noun} has {count} errors:")
    return Refused("\n".join(texts), **{**error.data, "errors": located})


def _located_text(part: dict[str, Any]) -> str:
    place = part["file"] if part["line"] is None else f"{part['file']}:{part['line']}"
    return f"{place}: {part['path']}: {part['message']}"


def _warn_of_twin(context: "Context", name: str, directory: str) -> None:
    same_name = context.rows(ListWorkflows(filters=[("name", name)]), "workflows", Workflow)
    twins = [found.id for found in same_name if found.submission_directory == directory and not found.is_archived]
    if twins:
        latest = max(twins)
        context.warn(
            f"workflow {latest} has the same name {name!r} and directory; this creates another one. "
            f"To rerun only what changed: torcctl workflows reinit {latest}, then torcctl run {latest}"
        )


def write_created(answer: dict[str, Any]) -> None:
    """Prints what was created, or what would be."""
    counts = ", ".join(f"{count} {_noun(noun, count)}" for noun, count in answer["counts"].items())
    if answer["dry_run"]:
        print(f"Dry run: a workflow would be created with {counts}")
    else:
        print(f"Created workflow {answer['workflow_id']}" + (f" with {counts}" if counts else ""))


def _noun(section: str, count: int) -> str:
    """`jobs`, `files`, `user_data` … as words; of one object without the plural's ending."""
    words = section.replace("_", " ")
    return words.removesuffix("s") if count == 1 else words
