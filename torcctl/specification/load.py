"""Loads a specification from a file or from standard input, and finds lines in it again."""

import gc
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

import msgspec

from torcctl.specification.convert import Mismatch, convert, find_unfit
from torcctl.specification.json import read_json, read_json5, read_json_marks
from torcctl.specification.places import Mark, locate, parse_path
from torcctl.specification.problem import Unreadable, refuse
from torcctl.specification.toml import read_toml
from torcctl.specification.yaml import read_yaml, read_yaml_marks
from torcd.protocol.specification import WorkflowSpec

MAX_BYTES = 1024**3
"""Largest specification: forty times one of 100,000 jobs."""

Format = Literal["yaml", "json", "json5", "toml"]
_SUFFIXES: dict[str, Format] = {
    ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".json5": "json5", ".toml": "toml",
}  # fmt: skip


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A specification with the text it was read from."""

    noun: ClassVar[str] = "specification"
    spec: WorkflowSpec
    source: str
    """The file as the user named it."""
    format: Format
    text: bytes


def load_specification(path: Path) -> Loaded:
    """Reads a specification; its format is that of the suffix. `-` is standard input.

    Without a known suffix the text decides: what starts with a brace is JSON5 (of which JSON is a part), what
    is no YAML mapping may be TOML, anything else is YAML. Raises Refused with file, line (where the format
    tells it), field and value.
    """
    source = "<stdin>" if str(path) == "-" else str(path)
    text = read_text(path, source, "; use parameters instead of listing jobs")
    known = _SUFFIXES.get(path.suffix.lower())
    if known is None and path.suffix.lower() == ".kdl":
        raise refuse(source, "KDL specifications cannot be read yet; write YAML, JSON, JSON5 or TOML")
    was_enabled = gc.isenabled()
    gc.disable()  # nothing here makes cycles, and collections would double the time
    try:
        return _load(text, known or _guess(text), source)
    finally:
        if was_enabled:
            gc.enable()


def find_line(loaded: Loaded, path: str | None) -> int | None:
    """The line of a position such as `jobs[3].depends_on[0]`, or of the nearest thing that holds it.

    Reads the text again: use `find_lines` for several. None for TOML, whose reader tells no positions.
    """
    return find_lines(loaded, [path or ""]).get(path or "")


def find_lines(loaded: Loaded, paths: Iterable[str]) -> dict[str, int]:
    """The lines of several positions, in one pass; those without a line are left out."""
    return find_lines_of(loaded.text, loaded.format, paths)


def find_lines_of(text: bytes, kind: Format, paths: Iterable[str]) -> dict[str, int]:
    """The same for a text."""
    marks: Iterator[Mark]
    if kind == "toml":
        return {}
    marks = read_yaml_marks(text) if kind == "yaml" else read_json_marks(text.decode())
    steps = {path: parse_path(path) for path in paths}
    lines = locate(marks, steps.values())
    return {path: lines[place] for path, place in steps.items() if place in lines}


def read_text(path: Path, source: str, advice: str = "") -> bytes:
    """The text of a file, or of standard input: UTF-8 without a byte order mark.

    Raises Refused; for a file that is too large with `advice`.
    """
    try:
        if source == "<stdin>":
            text = _read_all(sys.stdin.buffer, source, advice)
        else:
            with path.open("rb") as file:
                text = _read_all(file, source, advice)
    except OSError as error:
        raise refuse(source, f"cannot be read: {error.strerror or error}") from error
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise refuse(source, f"not UTF-8: {error.reason} (byte {error.start})", line=line) from error
    return text


def _read_all(file: BinaryIO, source: str, advice: str) -> bytes:
    text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise refuse(source, f"larger than {MAX_BYTES // 1024**2} MiB{advice}")
    return text


def _guess(text: bytes) -> Format:
    """The format of a text whose name does not tell."""
    if text.lstrip()[:1] in (b"{", b"/"):
        return "json5"
    try:
        if isinstance(read_yaml(text), dict):
            return "yaml"
    except Unreadable:
        pass  # told below, unless it is TOML
    try:
        read_toml(text.decode())
    except Unreadable:
        return "yaml"
    return "toml"


def _load(text: bytes, kind: Format, source: str) -> Loaded:
    try:
        spec = _convert(text, kind)
    except Unreadable as error:
        column = f" (column {error.column})" if error.column is not None else ""
        raise refuse(source, f"{error.message}{column}", line=error.line) from error
    if isinstance(spec, Mismatch):
        line = find_lines_of(text, kind, [spec.path]).get(spec.path)
        raise refuse(source, spec.message, line=line, path=spec.path or None, value=spec.value)
    return Loaded(spec=spec, source=source, format=kind, text=text)


def _convert(text: bytes, kind: Format) -> WorkflowSpec | Mismatch:
    if kind == "yaml":
        return convert(read_yaml(text))
    if kind == "json5":
        return convert(read_json5(text.decode()))
    if kind == "toml":
        return convert(read_toml(text.decode()))
    data = read_json(text.decode())
    try:  # five times faster than from the data, which only tells that no key stands twice
        spec = msgspec.json.decode(text, type=WorkflowSpec)
    except msgspec.ValidationError:
        return convert(data)
    except (msgspec.DecodeError, UnicodeError) as error:  # stricter than the reader in this only
        raise Unreadable("a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character") from error
    return find_unfit(spec) or spec
