"""Reads a document that was uploaded: from pieces of text to entries, or a refusal with all that does not fit.

Only the form is checked here: JSON, types, unknown fields, keys that stand twice, depth. What the entries mean
together is `restoration`'s to judge. The text may be anything: nothing here takes longer than its length allows.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec

from torcd.core.problems import MAX_VALUE, Problems
from torcd.protocol.depth import MAX_DEPTH, is_too_deep
from torcd.protocol.document import (
    FORMAT,
    LISTS,
    VERSION,
    FileEntry,
    Head,
    JobEntry,
    ResultEntry,
    ScriptEntry,
    UserDataEntry,
)
from torcd.protocol.errors import Refused, TooLarge
from torcd.protocol.specification import Part

MAX_LINE = 64 * 1024 * 1024
"""Longest entry, in characters: a job with some million inputs. Decoding it holds up the daemon for that long."""


_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document in the form it must have."""

    head: Head
    files: list[FileEntry] = msgspec.field(default_factory=list)
    scripts: list[ScriptEntry] = msgspec.field(default_factory=list)
    user_data: list[UserDataEntry] = msgspec.field(default_factory=list)
    jobs: list[JobEntry] = msgspec.field(default_factory=list)
    results: list[ResultEntry] = msgspec.field(default_factory=list)


def read_document(pieces: Iterable[str]) -> Document:
    """The document that was sent in these pieces (see `AppendDocument`); raises Refused, or TooLarge."""
    problems = Problems("document")
    lines = split_lines(pieces)
    head = _read_head(next(lines, ""), problems)
    lists: dict[str, list[Any]] = {}
    name = ""
    for line in lines:
        if line[0:1] == '"':
            name = line.strip('"')
            if name not in LISTS:
                raise Refused(f"a document has no list {name!r}; it has {', '.join(LISTS)}", field=name)
            lists.setdefault(name, [])
            continue
        if not name:
            raise Refused("the name of a list has to come before its items")
        lists[name].append(_decode(line, LISTS[name], f"{name}[{len(lists[name])}]", problems))
        if problems.is_full:
            break
    else:
        if "jobs" not in lists:
            problems.add("jobs", None, "the list of jobs is missing")
    problems.raise_any()
    assert head is not None  # else there was a problem
    return Document(head=head, **lists)


def split_lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of a text in pieces; raises TooLarge for one that is too long."""
    begun: list[str] = []
    length = 0
    for piece in pieces:
        first, *others = piece.split("\n")
        begun.append(first)
        length += len(first)
        if length > MAX_LINE:
            raise TooLarge(f"an entry of the document is longer than {MAX_LINE} characters", limit=MAX_LINE)
        if others:
            yield "".join(begun)
            yield from others[:-1]
            begun, length = others[-1:], len(others[-1])
    if length:
        yield "".join(begun)


@cache
def _decoder(kind: type[Part]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


_encode = msgspec.json.Encoder().encode


class _Opening(msgspec.Struct):
    """What tells whether the rest can be understood."""

    format: Any = None
    version: Any = None


def _read_head(line: str, problems: Problems) -> Head | None:
    try:
        opening = msgspec.json.decode(line, type=_Opening)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"this is no exported workflow: {_plain(error)}") from error
    if opening.format != FORMAT:
        raise Refused(
            f"this is no exported workflow: its format is {_shown(opening.format)!r}, not {FORMAT!r}. A workflow is "
            "created from a specification with `torcctl workflows create`",
            field="format",
            value=_shown(opening.format),
        )
    if type(opening.version) is not int or not 1 <= opening.version <= VERSION:
        raise Refused(
            f"version {_shown(opening.version)} of the format is not known to this torcd, which reads 1 to {VERSION}: "
            "update torcd",
            field="version",
            value=_shown(opening.version),
        )
    head: Head | None = _decode(line, Head, "", problems)
    if head is not None:
        for name, value in (("metadata", head.metadata), ("slurm_defaults", head.slurm_defaults)):
            if is_too_deep(value):
                problems.add(name, None, f"nested more than {MAX_DEPTH} deep")
    return head


def _decode(line: str, kind: type[Part], where: str, problems: Problems) -> Any:
    """The struct of a line; None when it does not fit, which is noted."""
    try:
        entry = _decoder(kind).decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        path, field, message, near = _explain(_plain(error), kind)
        problems.add((where + path).removeprefix("."), field, message, near)
        return None
    if _encode(entry) != line.encode() and (key := find_duplicate(line)) is not None:
        problems.add(where or key, key, f"the key {key!r} stands twice in the same object")
    return entry


def _explain(error: str, kind: type[Part]) -> tuple[str, str | None, str, tuple[str, ...]]:
    """The place within an entry, the field if that is wrong, why, and which fields may have been meant."""
    message, _, path = error.partition(" - at ")
    path = path.strip("`").removeprefix("$")
    if match := _UNKNOWN.fullmatch(message):
        field = match[1][:MAX_VALUE]
        return f"{path}.{field}", field, f"unknown field {field!r}", () if path else kind.__struct_fields__
    if match := _MISSING.fullmatch(message):
        return f"{path}.{match[1]}", None, f"the field {match[1]!r} is missing", ()
    return path, None, message, ()


def _plain(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _shown(value: Any) -> Any:
    """A value in a message: itself if it is short."""
    return value if len(repr(value)) < 50 else "something long"


class _DuplicateKey(Exception):
    """An object has a key twice."""


def find_duplicate(text: str) -> str | None:
    """A key that stands twice in one object. Slow: only for what is not written as an export writes it."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKey(key)
            seen.add(key)

    try:
        json.loads(text, object_pairs_hook=check)
    except _DuplicateKey as duplicate:
        return str(duplicate)
    except (RecursionError, ValueError):
        return None  # a number, or a depth, that Python's reader does not take: the value is judged elsewhere
    return None
