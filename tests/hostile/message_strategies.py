"""Requests generated from the message types: valid ones, ones that are wrong in one place, and absurd ones.

A message is text, because what is worst about it cannot be said with values: keys that stand twice, halves of
surrogate pairs, numbers without end.
"""

import json
import math
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from torcd.protocol.methods import METHODS

Values = st.SearchStrategy[Any]

WORDS = (
    "maker", "user", "in", "out", "value", "default", "a{i}", "{i:3000d}", "$(id)", "../..", "/", "", "\0", "\n", "1:3",
    "0:1e18", "[1,2", ".*", "(a+)+$", "(", "-x", "/tmp", "mtime", "completed", "id", "name", "status", "1g", "PT1H",
    "\u202e", "\x1b[2J", "a" * 300,
)  # fmt: skip
"""Texts that some field may take for what it wants, and some that no field should choke on."""

HOSTILE: tuple[Any, ...] = (
    2**31, 2**53 + 1, 2**62, 2**62 + 1, 2**63, 2**64, -(2**63), -(2**64), 10**400, 1e308, -0.0, 5e-324, math.nan,
    math.inf, -math.inf, "\ud800", "\udfff\ud800", "\0", "a" * 200_000, "\u202e\x1b]0;x\x07", None, True, False, [], {},
    [[]], {"": None}, [None] * 1000, {"a": {"b": [{}]}},
)  # fmt: skip
"""Values that fit almost nowhere. `json.dumps` writes all of them."""


def _nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


texts = st.sampled_from(WORDS) | st.text(max_size=12)
plain = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | texts
any_json = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
hostile = st.sampled_from(HOSTILE) | st.sampled_from([50, 300]).map(_nested)


@cache
def values_of(method: str) -> Values:
    """Params that fit a method's struct, as far as types can tell."""
    return _of(inspect.type_info(METHODS[method]))


def _of(kind: inspect.Type) -> Values:
    match kind:
        case inspect.StructType():
            fields = {field.encode_name: _of(field.type) for field in kind.fields}
            needed = {field.encode_name for field in kind.fields if field.required}
            return st.fixed_dictionaries(
                {name: values for name, values in fields.items() if name in needed},
                optional={name: values for name, values in fields.items() if name not in needed},
            )
        case inspect.IntType():
            least = -(2**63) if kind.ge is None else kind.ge
            most = 2**63 if kind.le is None and kind.lt is None else kind.le if kind.le is not None else kind.lt - 1
            small = st.integers(max(least, 0), min(most, 8))
            return st.one_of(small, small, small, small, small, st.sampled_from([least, most]))
        case inspect.FloatType():
            return st.sampled_from([0.0, 0.01, 1e-9, 1e308]) if kind.ge is not None else st.floats(-1, 0.05)
        case inspect.StrType():
            return st.from_regex(kind.pattern, fullmatch=True) if kind.pattern else texts
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.ListType():
            return st.lists(_of(kind.item_type), max_size=3)
        case inspect.TupleType():
            return st.tuples(*map(_of, kind.item_types)).map(list)
        case inspect.DictType():
            return st.dictionaries(_of(kind.key_type), _of(kind.value_type), max_size=3)
        case inspect.UnionType():
            return st.one_of([_of(each) for each in kind.types if not _is_unset(each)])
        case inspect.AnyType() | inspect.RawType():
            return any_json
    raise NotImplementedError(f"values for {kind}: teach this function")


def _is_unset(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.CustomType) and kind.cls is msgspec.UnsetType


@st.composite
def params(draw: st.DrawFn, method: str) -> Any:
    """Params of a method: as they should be, or wrong in one place, or anything."""
    fitting = draw(values_of(method))
    match draw(st.integers(0, 9)):
        case 0:
            return draw(any_json | hostile)
        case 1 | 2 | 3 | 4:
            return _spoilt(draw, fitting)
        case _:
            return fitting


def _spoilt(draw: st.DrawFn, value: Any) -> Any:
    """The value with one thing in it replaced, added or left out."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _spoilt(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 2)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _spoilt(draw, value[place]), *value[place + 1 :]]
    if isinstance(value, dict) and value and draw(st.booleans()):
        value = dict(value)
        del value[draw(st.sampled_from(sorted(value)))]
        return value
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(texts): draw(any_json)}
    return draw(hostile | any_json)


@st.composite
def messages(draw: st.DrawFn, method: str, call_id: str) -> tuple[str, bool]:
    """The text of a call, and whether it is JSON with this id in its place, so that the answer must have it."""
    wanted = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": draw(params(method))}
    text = json.dumps(wanted)
    if draw(st.booleans()):  # as it stands, unless it has halves of surrogate pairs, which UTF-8 has not
        text = json.dumps(wanted, ensure_ascii=False).encode(errors="replace").decode()
    match draw(st.integers(0, 24)):
        case 0:  # a key twice
            key = draw(st.sampled_from(["params", "jsonrpc", "method"]))
            return text[:-1] + f', "{key}": {json.dumps(wanted[key])}' + "}", True
        case 1:  # cut off
            return text[: draw(st.integers(0, max(0, len(text) - 1)))], False
        case 2:
            return json.dumps(draw(any_json)), False
        case 3:
            return draw(st.sampled_from(["[" * 100_000, '{"a":' * 100_000, '{"id":1e999999999}', "9" * 100_000])), False
    return text, True
