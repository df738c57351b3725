"""How deep the JSON values are that users may give: whatever is stored must fit into answers, lists and documents."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

MAX_DEPTH = 100
"""Deepest nesting of what specifications, documents and user data leave free. A decoder and an encoder of JSON give up
somewhere below a thousand, and an answer nests a value deeper than the request did."""


def levels_of(value: Any) -> Iterator[list[Any]]:
    """What a value consists of, level by level: the value itself, then what it holds, then what that holds."""
    level = [value]
    while level:
        yield level
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below


def is_too_deep(value: Any) -> bool:
    """Whether a value is nested deeper than MAX_DEPTH."""
    return next(islice(levels_of(value), MAX_DEPTH, None), None) is not None
