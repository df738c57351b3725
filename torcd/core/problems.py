"""The problems found in a specification or a document, collected so that a user can mend several in one go."""

import difflib
from bisect import bisect
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from torcd.protocol.errors import Refused

MAX_REPORTED = 20
"""More problems are counted but not told: they mostly have one cause."""

MAX_VALUE = 200
"""Longer values are cut in a report."""

MAX_MESSAGE = 2000
"""Longer messages are cut: they quote what they are about, which may be a megabyte."""

MAX_LIKENESS = 200
"""Longer names are not compared for a suggestion: the time grows with the square of their length."""

MAX_CANDIDATES = 500
"""Names that are compared for a suggestion; comparing 100,000 would take seconds."""


class Problems:
    """Collects problems of a specification, or whatever `noun` says; `raise_any` turns them into one refusal.

    A path such as `jobs[3].depends_on[0]` is a position in the specification as written, so that a client
    can turn it into a line.
    """

    def __init__(self, noun: str = "specification") -> None:
        self._noun = noun
        self._count = 0
        self._errors: list[dict[str, Any]] = []

    def add(self, path: str | Callable[[], str], value: Any, message: str, near: Collection[str] = ()) -> None:
        """Notes one problem: the field at `path` has this value and is wrong for the reason given.

        If one of the names in `near` is much like the value, it is suggested. That, and a path that has to be
        found, takes time and is left undone when the problem is only counted.
        """
        self._count += 1
        if len(self._errors) >= MAX_REPORTED:
            return
        path = (path() if callable(path) else path)[:MAX_MESSAGE]
        message += suggest(value, near) if near else ""
        if isinstance(value, str) and len(value) > MAX_VALUE:
            value = value[:MAX_VALUE] + "…"
        if len(message) > MAX_MESSAGE:
            message = message[:MAX_MESSAGE] + "…"
        field = path.rpartition(".")[2].partition("[")[0]
        self._errors.append({"path": path, "field": field, "value": value, "message": message})

    @property
    def is_full(self) -> bool:
        """Whether more problems would only be counted."""
        return self._count >= MAX_REPORTED

    def raise_any(self) -> None:
        """Raises Refused if there is any problem; `data.errors` holds them, `data.count` their number."""
        if self._count:
            self._refuse()

    def _refuse(self) -> NoReturn:
        lines = [f"{error['path']}: {error['message']}" for error in self._errors]
        if self._count > len(lines):
            lines.append(f"… and {self._count - len(lines)} more")
        if self._count > 1:
            lines.insert(0, f"the {self._noun} has {self._count} errors:")
        raise Refused("\n".join(lines), errors=self._errors, count=self._count)


def suggest(name: str, names: Collection[str]) -> str:
    """`; did you mean 'x'?` for the name most like this one, or nothing."""
    if len(name) > MAX_LIKENESS:
        return ""
    if len(names) > MAX_CANDIDATES:
        ordered = sorted(names)
        place = bisect(ordered, name)
        names = ordered[max(0, place - MAX_CANDIDATES // 2) : place + MAX_CANDIDATES // 2]
    names = [each for each in names if len(each) <= MAX_LIKENESS]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else ""
