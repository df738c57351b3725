"""Reads TOML into plain data."""

from typing import Any

import tomli

from torcctl.specification.problem import Unreadable


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises Unreadable; TOML itself forbids equal keys."""
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise Unreadable(f"not TOML: {error.msg}", error.lineno, error.colno) from error
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    except ValueError as error:  # more digits than Python converts
        raise Unreadable(f"not TOML: {error}") from error
