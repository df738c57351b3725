"""Cuts a specification into pieces that fit into messages."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from torcd.protocol.errors import TooLarge
from torcd.protocol.rpc import SOFT_FRAME
from torcd.protocol.specification import FileSpec, Header, JobSpec, Piece, UserDataSpec, WorkflowSpec

SpecT = TypeVar("SpecT", JobSpec, FileSpec, UserDataSpec)

ENVELOPE_BYTES = 4096
"""Room in a message for what stands around a piece."""


def split(spec: WorkflowSpec, limit_bytes: int = 512 * 1024) -> tuple[Header, Iterator[Piece]]:
    """The header and the long lists in pieces, in order, whose JSON stays below a limit.

    A single job, file or user data above the limit gets a piece of its own. Raises TooLarge (at once for the
    header, else from the iterator) when one does not fit into a message at all.
    """
    header = Header(**{name: getattr(spec, name) for name in Header.__struct_fields__})
    _check_size("everything but jobs, files and user data", len(msgspec.json.encode(header)))
    return header, _pieces(spec, limit_bytes)


def _pieces(spec: WorkflowSpec, limit_bytes: int) -> Iterator[Piece]:
    room = limit_bytes - len(b'{"user_data":[]}')
    for jobs in _cut(spec.jobs, "jobs", room):
        yield Piece(jobs=jobs)
    for files in _cut(spec.files, "files", room):
        yield Piece(files=files)
    for user_data in _cut(spec.user_data, "user_data", room):
        yield Piece(user_data=user_data)


def _cut(items: list[SpecT], noun: str, room: int) -> Iterator[list[SpecT]]:
    """Runs of items whose JSON, with commas, has at most `room` bytes (or of one larger item)."""
    encode = msgspec.json.Encoder().encode
    first = total = 0
    for index, item in enumerate(items):
        size = len(encode(item)) + 1
        if total + size > room:
            if index > first:
                yield items[first:index]
            first, total = index, 0
            _check_size(f"{noun}[{index}], {item.name!r},", size)
        total += size
    if items:
        yield items[first:]


def _check_size(what: str, size: int) -> None:
    limit = SOFT_FRAME - ENVELOPE_BYTES
    if size > limit:
        raise TooLarge(f"{what} takes {size} bytes; at most {limit} fit into a message", limit=limit)
