"""Turns plain data into a `WorkflowSpec` or says, in the user's words, which field is wrong.

Two things are taken more kindly than the schema says. A field whose value is null counts as left out, as an
empty `files:` is common in YAML (null is a value only in `metadata` and in the `data` of user data). And the
values of the environment may be integers and truth values, which become "4" and "true"; a float is refused,
as its text differs from what was written (1.10).
"""

import difflib
import math
import re
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from torcctl.specification.places import parse_path
from torcd.protocol.depth import MAX_DEPTH, levels_of
from torcd.protocol.specification import (
    ActionSpec,
    FailureHandlerRule,
    FailureHandlerSpec,
    FileSpec,
    JobSpec,
    ParameterValue,
    Part,
    ResourceRequirementsSpec,
    SlurmSchedulerSpec,
    UserDataSpec,
    WorkflowSpec,
)

MAX_SHOWN = 80
"""Longer values are cut in messages."""

_STRUCTS: dict[str, type[Part]] = {
    "jobs": JobSpec,
    "files": FileSpec,
    "user_data": UserDataSpec,
    "resource_requirements": ResourceRequirementsSpec,
    "failure_handlers": FailureHandlerSpec,
    "rules": FailureHandlerRule,
    "slurm_schedulers": SlurmSchedulerSpec,
    "actions": ActionSpec,
}
"""The lists of a specification and what they hold."""

_FREE = frozenset({"metadata", "data"})
"""Fields whose value is any JSON, null included."""

_MAPS: dict[str, Any] = {"env": dict[str, str], "parameters": dict[str, ParameterValue]}

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_EXPECTED = re.compile(r"Expected `(.*)`, got `(.*)`")
_ENUM = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_WORDS = {
    "str": "a text", "int": "an integer", "float": "a number", "bool": "true or false", "array": "a list",
    "object": "a mapping", "null": "nothing",
}  # fmt: skip


class Mismatch(NamedTuple):
    """The first place where a document does not fit the schema."""

    path: str
    value: Any
    message: str


def convert(data: Any) -> WorkflowSpec | Mismatch:
    """The specification that plain data stands for, or why it stands for none."""
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"is not a mapping but {_describe(data)}"
        return Mismatch("", None, f"the document {what}; a specification has name and jobs at its top")
    try:
        spec = msgspec.convert(data, WorkflowSpec)
    except msgspec.ValidationError:
        data = _relax(data, WorkflowSpec)
        try:
            spec = msgspec.convert(data, WorkflowSpec)
        except msgspec.ValidationError as error:
            return _explain(str(error), data)
    return find_unfit(spec) or spec


def find_unfit(spec: WorkflowSpec) -> Mismatch | None:
    """What the schema leaves free but JSON or a message cannot carry: depth, infinities."""
    free: list[tuple[str, Any]] = [("metadata", spec.metadata), ("slurm_defaults", spec.slurm_defaults)]
    free += [(f"user_data[{index}].data", item.data) for index, item in enumerate(spec.user_data)]
    free += [(f"parameters.{name}", value) for name, value in spec.parameters.items()]
    for part in ("jobs", "files", "user_data"):
        for index, item in enumerate(getattr(spec, part)):
            if item.parameters:
                free += [(f"{part}[{index}].parameters.{name}", item.parameters[name]) for name in item.parameters]
    for path, value in free:
        message = _why_unfit(value)
        if message:
            return Mismatch(path, None, message)
    return None


def _why_unfit(value: Any) -> str | None:
    if isinstance(value, (str, int)) or value is None:
        return None
    for depth, level in enumerate(levels_of(value)):
        if depth == MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} deep"
        for item in level:
            if isinstance(item, float) and not math.isfinite(item):
                return f"{item} is no number that JSON can hold"
    return None


# ---- kindness ----


def _relax(part: dict[str, Any], struct: type[Part]) -> dict[str, Any]:
    """A copy with what is taken kindly put right; aliases may share the original."""
    relaxed = {}
    for name, value in part.items():
        if value is None and name in struct.__struct_fields__ and name not in _FREE:
            continue
        if name == "env" and isinstance(value, dict):
            value = {key: _as_text(item) for key, item in value.items()}
        elif isinstance(value, list) and name in _STRUCTS and struct is not JobSpec:
            value = [_relax(item, _STRUCTS[name]) if isinstance(item, dict) else item for item in value]
        relaxed[name] = value
    return relaxed


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


# ---- explanations ----


def _explain(error: str, data: dict[str, Any]) -> Mismatch:
    """What a message of msgspec means for the user."""
    message, _, place = error.partition(" - at ")
    path = place.strip("`").removeprefix("$").removeprefix(".")
    while "[...]" in path:
        path = _fill_in(path, data)
    struct = _struct_at(path)
    if match := _UNKNOWN.fullmatch(message):
        path = f"{path}.{match[1]}".removeprefix(".")
        close = difflib.get_close_matches(match[1][:MAX_SHOWN], struct.__struct_encode_fields__, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return Mismatch(path, _shown(_value_at(data, path)), f"unknown field {match[1]!r}{hint}")
    if match := _MISSING.fullmatch(message):
        return Mismatch(path, None, f"the field {match[1]!r} is missing")
    value = _value_at(data, path)
    if match := _ENUM.fullmatch(message):
        choices = _choices(struct, path.rpartition(".")[2])
        return Mismatch(path, _shown(value), f"{_describe(value)} is not possible here; use {', '.join(choices)}")
    if match := _EXPECTED.fullmatch(message):
        wanted = " or ".join(_WORDS.get(word, word) for word in match[1].split(" | "))
        hint = "; quote it" if match[1] == "str" and isinstance(value, (int, float, bool)) else ""
        return Mismatch(path, _shown(value), f"expected {wanted}, not {_describe(value)}{hint}")
    return Mismatch(path, _shown(value), message)


def _fill_in(path: str, data: dict[str, Any]) -> str:
    """The path with its first `[...]` (some key, msgspec does not say which) replaced by the key."""
    before, _, after = path.partition("[...]")
    mapping = _value_at(data, before)
    kind = _MAPS.get(before.rpartition(".")[2])
    for key, value in mapping.items() if isinstance(mapping, dict) and kind else ():
        try:
            msgspec.convert({key: value}, kind)
        except msgspec.ValidationError:
            return f"{before}.{key}{after}"
    return f"{before}{after}"


def _value_at(data: Any, path: str) -> Any:
    """The value at a path, None where there is none."""
    for step in parse_path(path):
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _struct_at(path: str) -> type[Part]:
    """The struct that holds the field at a path, or that is there."""
    struct: type[Part] = WorkflowSpec
    for step in parse_path(path):
        if isinstance(step, str) and step in _STRUCTS and struct is not JobSpec:
            struct = _STRUCTS[step]
    return struct


def _choices(struct: type[Part], field: str) -> list[str]:
    """The values that a field may have, if those are a few words."""
    hint = get_type_hints(struct).get(field)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]


def _shown(value: Any) -> Any:
    """The value as data of an error: a large one would say no more than its place does."""
    if isinstance(value, (dict, list)):
        return None
    return value[:MAX_SHOWN] + "…" if isinstance(value, str) and len(value) > MAX_SHOWN else value


def _describe(value: Any) -> str:
    """A value in a message: itself if it is short, else what it is."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
