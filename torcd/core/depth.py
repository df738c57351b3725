"""How deep the JSON values are that users may give: whatever is stored must fit into answers, lists and documents."""

from typing import Any

MAX_DEPTH = 100
"""Deepest nesting of what specifications, documents and user data leave free. A decoder and an encoder of JSON give up
somewhere below a thousand, and an answer nests a value deeper than the request did."""


def is_too_deep(value: Any) -> bool:
    """Whether a value is nested deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return False
        level = below
    return True
