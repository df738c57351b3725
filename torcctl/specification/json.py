"""Reads JSON and JSON5 into plain data, and tells where things stand in such a text."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pyjson5

from torcctl.specification.places import Kind, Mark
from torcctl.specification.problem import Unreadable

MAX_DEPTH = 100
"""Deepest nesting, as for YAML."""

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n\r\u2028\u2029]*|/\*.*?\*/|[,:])
    | (?P<open>[{\[])
    | (?P<close>[}\]])
    | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
    | (?P<word>[^\s{}\[\],:"'/]+)
    """,
    re.VERBOSE | re.DOTALL,
)

_NEAR = re.compile(r" (?:starting )?near (\d+)")


def read_json(text: str) -> Any:
    """The value of a JSON text. Raises Unreadable, also for a key that stands twice in one object."""
    try:
        return json.loads(text, object_pairs_hook=_to_dict, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg}", error.lineno, error.colno) from error
    except _DuplicateKey:
        raise _duplicate(text) from None
    except RecursionError:
        raise Unreadable(f"nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:  # a constant, or more digits than Python converts
        raise Unreadable(f"not JSON: {error}") from error


def read_json5(text: str) -> Any:
    """The value of a JSON5 text. Raises Unreadable, also for a key that stands twice in one object."""
    try:
        value = pyjson5.decode(text, maxdepth=MAX_DEPTH)
    except pyjson5.Json5NestingTooDeep as error:
        raise Unreadable(f"nested more than {MAX_DEPTH} deep", *_position(text, error)) from error
    except pyjson5.Json5DecoderException as error:
        message = _NEAR.sub("", error.message or "").replace("b'", "'")
        raise Unreadable(f"not JSON5: {message}", *_position(text, error)) from error
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise Unreadable("a text holds half of a surrogate pair, which is no character") from error
    if duplicate := _find_duplicate(read_json_marks(text)):
        raise Unreadable(f"the key {duplicate.text!r} stands twice in the same object", duplicate.line)
    return value


def read_json_marks(text: str) -> Iterator[Mark]:
    """The marks of a text that one of the readers accepts."""
    line, place = 1, 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "space":
            continue
        line += text.count("\n", place, match.start())
        place = match.start()
        if kind == "open":
            yield Mark(Kind.MAPPING if match[0] == "{" else Kind.SEQUENCE, line)
        elif kind == "close":
            yield Mark(Kind.END, line)
        elif kind == "word":
            yield Mark(Kind.SCALAR, line, match[0])
        else:
            token = match[0]
            yield Mark(Kind.SCALAR, line, pyjson5.decode(token) if "\\" in token else token[1:-1])


class _DuplicateKey(Exception):
    """An object has a key twice."""


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _DuplicateKey
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON can hold")


def _duplicate(text: str) -> Unreadable:
    mark = _find_duplicate(read_json_marks(text))
    assert mark is not None
    return Unreadable(f"the key {mark.text!r} stands twice in the same object", mark.line)


def _find_duplicate(marks: Iterator[Mark]) -> Mark | None:
    """The first key that stands in its object for a second time."""
    open_keys: list[set[str] | None] = []  # of the objects and arrays (None) around
    is_key = False
    for mark in marks:
        if mark.kind is Kind.END:
            open_keys.pop()
        elif is_key:
            keys = open_keys[-1]
            assert keys is not None
            if mark.text in keys:
                return mark
            keys.add(mark.text)
            is_key = False
            continue
        elif mark.kind is not Kind.SCALAR:
            open_keys.append(set() if mark.kind is Kind.MAPPING else None)
        is_key = bool(open_keys) and open_keys[-1] is not None
    return None


def _position(text: str, error: pyjson5.Json5DecoderException) -> tuple[int | None, int | None]:
    """The line and column that the number in an error's message stands for."""
    match = _NEAR.search(error.message or "")
    if match is None:
        return None, None
    place = max(0, min(int(match[1]), len(text)) - 1)
    return text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
