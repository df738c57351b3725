"""Where the parts of a document stand: from a path such as `jobs[3].env.HOME` to a line.

A document is read a second time for this, as a stream of marks, and only when an error is to be told: the
first reading keeps no positions. The formats' readers make the marks; this module walks them.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and indexes from the top of a document to a value."""

_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[]+)")


class Kind(Enum):
    """What a mark stands for."""

    MAPPING = auto()
    SEQUENCE = auto()
    END = auto()
    SCALAR = auto()


class Mark(NamedTuple):
    """One step through a document. The text is that of a key (or of any scalar); lines count from 1."""

    kind: Kind
    line: int
    text: str = ""


def parse_path(path: str) -> Path:
    """The steps of a path such as `jobs[3].depends_on[0]`, with or without a leading `$`."""
    return tuple(int(index) if index else key for index, key in _STEP.findall(path.removeprefix("$")))


def locate(marks: Iterator[Mark], paths: Iterable[Path]) -> dict[Path, int]:
    """The line of each path or, where a part of it is missing, of the nearest thing that holds it.

    One pass for all paths, which ends when all are found. A value in a mapping has the line of its key.
    """
    paths = list(paths)
    walk = _Walk(marks, {path[:length] for path in paths for length in range(len(path) + 1)})
    lines = {}
    for path in paths:
        for length in range(len(path), -1, -1):
            if path[:length] in walk.found:
                lines[path] = walk.found[path[:length]]
                break
    return lines


class _Walk:
    """A walk through a document for some paths; whatever lies elsewhere is skipped."""

    def __init__(self, marks: Iterator[Mark], wanted: set[Path]) -> None:
        self.found: dict[Path, int] = {}
        self._marks = marks
        self._wanted = wanted
        first = next(marks, None)
        if first is not None:
            self._visit(first, (), first.line)

    def _visit(self, mark: Mark, path: Path, line: int) -> None:
        if path not in self._wanted:
            self._skip(mark)
            return
        self.found.setdefault(path, line)
        if mark.kind is Kind.MAPPING:
            while (key := next(self._marks)).kind is not Kind.END and len(self.found) < len(self._wanted):
                self._visit(next(self._marks), (*path, key.text), key.line)
        elif mark.kind is Kind.SEQUENCE:
            index = 0
            while (item := next(self._marks)).kind is not Kind.END and len(self.found) < len(self._wanted):
                self._visit(item, (*path, index), item.line)
                index += 1

    def _skip(self, mark: Mark) -> None:
        depth = _DEEPER[mark.kind]
        while depth:
            depth += _DEEPER[next(self._marks).kind]


_DEEPER = {Kind.MAPPING: 1, Kind.SEQUENCE: 1, Kind.END: -1, Kind.SCALAR: 0}
