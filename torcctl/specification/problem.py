"""Refusals of a document, each with what is known of its place."""

from typing import Any

from torcd.protocol.errors import Refused

MAX_MESSAGE = 2000
"""Longer messages are cut: they quote what they are about, which may be megabytes."""


class Unreadable(Exception):
    """A text is not a document of its format. Readers raise it; who knows the file turns it into Refused."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


def refuse(
    source: str, message: str, *, line: int | None = None, path: str | None = None, value: Any = None
) -> Refused:
    """The refusal `SOURCE:LINE: PATH: message`, with the same as data."""
    message, path = _cut(message), path and _cut(path)
    place = source if line is None else f"{source}:{line}"
    where = f"{place}: {path}" if path else place
    error = {
        "path": path,
        "field": path.rpartition(".")[2].partition("[")[0] if path else None,
        "value": value,
        "message": message,
        "file": source,
        "line": line,
    }
    return Refused(f"{where}: {message}", errors=[error], count=1)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"
