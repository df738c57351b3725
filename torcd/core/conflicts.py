"""What a request is told that meets an active task (SEMANTICS 6.3)."""

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 5
"""How many members of a list are named."""


def describe_active(operation: str, params: Mapping[str, Any], *, requested_by: str, at: str) -> str:
    """`reinit with force=true, detect=content, asked for by ann@node at 2026-…`, without parameters that are off."""
    said = [
        f"{name}={_show(value)}"
        for name, value in params.items()
        if not (value is None or value is False or value == [])
    ]
    parameters = f" with {', '.join(said)}" if said else ""
    return f"{operation}{parameters}, asked for by {requested_by or 'an unnamed client'} at {at}"


def describe_differing(differing: Mapping[str, Sequence[Any]]) -> str:
    """`force (true there, false here)` for each parameter: the active task's value, and the request's."""
    return ", ".join(f"{name} ({_show(there)} there, {_show(here)} here)" for name, (there, here) in differing.items())


def _show(value: object) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
        return f"[{', '.join(map(_show, value[:SHOWN]))}{more}]"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
