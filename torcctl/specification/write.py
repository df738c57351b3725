"""Writes specifications: as JSON, or as YAML that this package reads as what it was. Comments are not kept."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from torcd.protocol.errors import Refused
from torcd.protocol.specification import WorkflowSpec

JSON_SUFFIXES, YAML_SUFFIXES = (".json", ".json5"), (".yaml", ".yml")

_PLAIN_KEY = re.compile(r"(?!(?:null|true|false|yes|no|on|off|y|n)$)[a-z][a-z0-9_]*", re.ASCII)
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_BLOCK = re.compile(r"[!-~][ -~]*(?:\n+[ -~]+)*\n?", re.ASCII)
"""A text of several lines that may stand as it is."""


def check_target(path: Path) -> None:
    """Raises Refused for a file that is there, or whose suffix is that of no format that can be written."""
    if path.suffix.lower() not in (*JSON_SUFFIXES, *YAML_SUFFIXES):
        raise Refused(f"{path}: name a file that ends with .yaml, .yml or .json", output=str(path))
    if os.path.lexists(path):
        raise Refused(f"{path} exists, and is not replaced: name another file", output=str(path))


def save_specification(path: Path, spec: WorkflowSpec) -> None:
    """Writes a specification to a new file; its suffix says how. Raises Refused."""
    check_target(path)
    fields = msgspec.to_builtins(spec)
    if path.suffix.lower() in JSON_SUFFIXES:
        text = msgspec.json.format(msgspec.json.encode(fields), indent=2).decode() + "\n"
    else:
        text = format_yaml(fields)
    try:
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}", output=str(path)) from error


def format_yaml(fields: dict[str, Any]) -> str:
    """A mapping as YAML: in blocks, with texts in quotes or, of several lines, as they are."""
    return "".join(line + "\n" for line in _lines(fields))


def _lines(value: Any) -> Iterator[str]:
    """The lines of a value; the first of a scalar's stands behind its key."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _put(f"{key if _PLAIN_KEY.fullmatch(key) else _quote(key)}:", each)
    elif isinstance(value, list) and value:
        for each in value:
            first, *others = _lines(each)
            yield f"- {first}"
            yield from (f"  {line}" if line else "" for line in others)
    elif isinstance(value, str) and "\n" in value[:-1] and _BLOCK.fullmatch(value):
        yield "|" if value.endswith("\n") else "|-"
        yield from (f"  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    else:
        yield _quote(value)


def _put(start: str, value: Any) -> Iterator[str]:
    first, *others = _lines(value)
    if isinstance(value, dict | list) and value:
        yield start
        yield from (f"  {line}" if line else "" for line in (first, *others))
    else:
        yield f"{start} {first}"
        yield from others


def _quote(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
