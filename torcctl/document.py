"""Reads an exported workflow and takes it apart into the lines in which it is sent (see `AppendDocument`).

Only that it is a JSON object with lists is checked here; what they hold is the daemon's to judge.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from torcctl.specification import read_text
from torcctl.specification.json import read_json
from torcctl.specification.problem import Unreadable, refuse
from torcd.protocol.document import LISTS

_KEY = re.compile(rb'\s*[{,]\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:\s*')


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document with the text it was read from."""

    noun: ClassVar[str] = "document"
    format: ClassVar[Literal["json"]] = "json"
    source: str
    """The file as the user named it."""
    text: bytes
    head: dict[str, msgspec.Raw]
    """All of it but the lists, by key."""
    lists: dict[str, list[msgspec.Raw]]

    @property
    def directory(self) -> str | None:
        """The submission directory it names, if that is a text."""
        try:
            return msgspec.json.decode(self.head.get("directory", b"null"), type=str | None)
        except msgspec.ValidationError:
            return None

    def lines(self) -> Iterator[bytes]:
        """The lines to be sent."""
        yield _one_line(msgspec.json.encode(self.head))
        for name, items in self.lists.items():
            yield msgspec.json.encode(name) + b"\n"
            for item in items:
                yield _one_line(bytes(item))


def _one_line(text: bytes) -> bytes:
    return (msgspec.json.format(text, indent=-1) if b"\n" in text else text) + b"\n"


def load_document(path: Path) -> Document:
    """Reads a document; `-` is standard input. Raises Refused with the file, and the line where it is known."""
    source = "<stdin>" if str(path) == "-" else str(path)
    return parse_document(read_text(path, source), source)


def parse_document(text: bytes, source: str) -> Document:
    """The document in a text, which is UTF-8. Raises Refused."""
    try:
        parts = _split(text)
        lists = {name: _items(name, parts.pop(name)) for name in LISTS if name in parts}
    except Unreadable as error:
        column = f" (column {error.column})" if error.column is not None else ""
        raise refuse(source, f"no exported workflow: {error.message}{column}", line=error.line) from error
    return Document(source=source, text=text, head=parts, lists=lists)


def _split(text: bytes) -> dict[str, msgspec.Raw]:
    """The values of the object, by key, each once."""
    if not text.strip():
        raise Unreadable("it is empty")
    try:
        parts = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise Unreadable("it is not an object", 1) from error
    except (msgspec.DecodeError, RecursionError) as error:
        read_json(text.decode())  # knows the line
        raise Unreadable(f"not JSON: {error}") from error
    _check_keys(text, parts)
    return parts


def _check_keys(text: bytes, parts: dict[str, msgspec.Raw]) -> None:
    """Raises Unreadable for a key that stands twice: its last value is in `parts`, wherever that stands."""
    seen: set[str] = set()
    place = 0
    while match := _KEY.match(text, place):
        key = msgspec.json.decode(match[1], type=str)
        value = bytes(parts[key])
        if key in seen or not text.startswith(value, match.end()):
            line = text.count(b"\n", 0, match.start(1)) + 1
            raise Unreadable(f"the key {key!r} stands twice in the same object", line)
        seen.add(key)
        place = match.end() + len(value)


def _items(name: str, text: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise Unreadable(f"{name} is not a list") from error
