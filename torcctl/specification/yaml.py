"""Reads YAML into plain data, from libyaml's events.

The builder is our own: PyYAML's loaders are several times slower for large documents, resolve `no` and
`12:30:00` as YAML 1.1 does, keep the last of two equal keys and can be made to construct objects. Scalars
follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

import gc
import re
from collections.abc import Iterator
from typing import Any

from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from torcctl.specification.places import Kind, Mark
from torcctl.specification.problem import Unreadable

MAX_DEPTH = 100
"""Deepest nesting; a specification needs five levels, its user data some more."""

MAX_ALIASED = 1_000_000
"""Most values that aliases may repeat in all: a few lines of aliases can stand for billions."""

_SPECIAL_FIRST = frozenset("-+.0123456789~nNtTfF")
"""What a plain scalar starts with that may be something else than text."""

_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

_TAG = "tag:yaml.org,2002:"
_TAGGED = {_TAG + "int": int, _TAG + "float": float, _TAG + "bool": bool, _TAG + "null": type(None)}
_MERGE = "<<"


def read_yaml(text: bytes) -> Any:
    """The one document in a UTF-8 text as dicts, lists, str, int, float, bool and None.

    Keys are always the text that is written. The values of the environment (`env` of the workflow and of
    jobs) stay text too, so that 1.10 or 007 reaches a job as it is written. Aliases share what they repeat:
    do not change the result in place. Raises Unreadable.
    """
    was_enabled = gc.isenabled()
    gc.disable()  # millions of events and no cycles: collections would double the time
    try:
        return _Builder(text).build()
    except MarkedYAMLError as error:
        raise _unreadable(error) from error
    except YAMLError as error:
        raise Unreadable(f"not YAML: {error}") from error
    finally:
        if was_enabled:
            gc.enable()


def read_yaml_marks(text: bytes) -> Iterator[Mark]:
    """The marks of a text that `read_yaml` accepts. An alias is a scalar: what it stands for is elsewhere."""
    next_event: Any = CParser(text).get_event
    while (event := next_event()) is not None:
        kind = _KINDS.get(type(event))
        if kind is not None:
            value = event.value if type(event) is ScalarEvent else ""
            yield Mark(kind, event.start_mark.line + 1, value)


_KINDS = {
    MappingStartEvent: Kind.MAPPING,
    SequenceStartEvent: Kind.SEQUENCE,
    MappingEndEvent: Kind.END,
    SequenceEndEvent: Kind.END,
    ScalarEvent: Kind.SCALAR,
    AliasEvent: Kind.SCALAR,
}


def _unreadable(error: MarkedYAMLError) -> Unreadable:
    mark: Any = error.problem_mark or error.context_mark
    message = ", ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return Unreadable(f"not YAML: {message}")
    return Unreadable(f"not YAML: {message}", mark.line + 1, mark.column + 1)


class _Builder:
    """Builds one document. Anchored values are kept with the number of values in them."""

    def __init__(self, text: bytes) -> None:
        self._parser = CParser(text)
        self._next: Any = self._parser.get_event
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        """A bound of the values so far, with those that aliases repeat."""
        self._aliased = 0
        self._in_jobs = False

    def build(self) -> Any:
        event = self._next()
        while type(event) in (StreamStartEvent, DocumentStartEvent):
            event = self._next()
        if type(event) is StreamEndEvent:
            return None
        value = self._value(event, 0, False)
        self._next()  # the end of the document
        event = self._next()
        if type(event) is not StreamEndEvent:
            raise self._error(event, "there is a second document; a specification is one")
        return value

    def _value(self, event: Any, depth: int, as_text: bool) -> Any:
        """The value that starts with an event. With `as_text` scalars are not resolved."""
        kind = type(event)
        if kind is ScalarEvent:
            value = self._scalar(event, as_text)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1)
            return value
        if kind is AliasEvent:
            return self._alias(event)
        if depth == MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} deep")
        before = self._count
        is_mapping = kind is MappingStartEvent
        if event.tag is not None and event.tag != _TAG + ("map" if is_mapping else "seq"):
            raise self._error(event, f"the tag {event.tag!r} has no meaning in a specification")
        value = self._mapping(depth + 1, as_text) if is_mapping else self._sequence(depth + 1, as_text)
        self._count += 1 + len(value)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _sequence(self, depth: int, as_text: bool) -> list[Any]:
        items = []
        while type(event := self._next()) is not SequenceEndEvent:
            items.append(self._value(event, depth, as_text))
        return items

    def _mapping(self, depth: int, as_text: bool) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        next_event = self._next
        while type(key := next_event()) is not MappingEndEvent:
            if type(key) is not ScalarEvent or key.tag is not None or key.anchor is not None:
                self._check_key(key)
            name = key.value
            if name in mapping:
                raise self._error(key, f"the key {name!r} stands twice in the same mapping")
            event = next_event()
            is_text = as_text
            if name == "env":
                is_text = as_text or depth == 1 or (depth == 3 and self._in_jobs)
            elif name == _MERGE and key.implicit[0]:
                merged += self._merge(event, self._value(event, depth, as_text))
                continue
            elif depth == 1:
                self._in_jobs = name == "jobs"
            if type(event) is ScalarEvent and event.anchor is None:
                mapping[name] = self._scalar(event, is_text)
            else:
                mapping[name] = self._value(event, depth, is_text)
        if not merged:
            return mapping
        whole: dict[str, Any] = {}
        for other in (mapping, *merged):  # what comes first wins
            for name, value in other.items():
                whole.setdefault(name, value)
        return whole

    def _check_key(self, key: Any) -> None:
        """Checks a key that is more than a plain or quoted text."""
        if type(key) is not ScalarEvent:
            raise self._error(key, "a key must be a plain word or a quoted text")
        if key.tag is not None and key.tag not in (_TAG + "str", "!"):
            raise self._error(key, f"the tag {key.tag!r} has no meaning in a key")
        if key.anchor is not None:
            self._anchors[key.anchor] = (key.value, 1)

    def _merge(self, event: Any, value: Any) -> list[dict[str, Any]]:
        """The mappings that `<<` adds; what comes first wins."""
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise self._error(event, "the value of << must be a mapping or a list of mappings")
        return mappings

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(event, f"there is no anchor &{event.anchor} before this alias")
        value, count = self._anchors[event.anchor]
        self._count += count
        self._aliased += count
        if self._aliased > MAX_ALIASED:
            raise self._error(event, f"aliases repeat more than {MAX_ALIASED} values")
        return value

    def _scalar(self, event: Any, as_text: bool) -> Any:
        text: str = event.value
        if event.implicit[0]:  # plain, without a tag
            if text and text[0] not in _SPECIAL_FIRST:
                return text
            return self._resolve(event, text, as_text or event.tag == "!")
        if event.implicit[1] or event.tag in (_TAG + "str", "!"):  # quoted, or said to be text
            return text
        kind = _TAGGED.get(event.tag)
        if kind is None:
            raise self._error(event, f"the tag {event.tag!r} has no meaning in a specification")
        value = self._resolve(event, text, False)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self._error(event, f"{text!r} does not fit its tag {event.tag!r}")
        return value

    def _resolve(self, event: Any, text: str, as_text: bool) -> Any:
        if text in _WORDS:
            value = _WORDS[text]
            return text if as_text and value is not None else value
        if as_text:
            return text
        try:
            if _INTEGER.fullmatch(text):
                return int(text)
            if _FLOAT.fullmatch(text):
                number = float(text)
                if number in (float("inf"), float("-inf")):
                    raise self._error(event, f"{text!r} is too large a number; quote it if it is a text")
                return number
            if _OCTAL.fullmatch(text):
                return int(text[2:], 8)
            if _HEX.fullmatch(text):
                return int(text[2:], 16)
        except ValueError:  # more digits than Python converts
            raise self._error(event, "the number has too many digits; quote it if it is a text") from None
        if _NOT_FINITE.fullmatch(text):
            raise self._error(event, f"{text!r} is no number that JSON can hold; quote it if it is a text")
        return text

    def _error(self, event: Any, message: str) -> Unreadable:
        return Unreadable(message, event.start_mark.line + 1, event.start_mark.column + 1)
