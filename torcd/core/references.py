"""Names of one kind of object and how specifications refer to them: exactly, or by a regular expression that
matches the whole name (SEMANTICS 3.4)."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

import regex

from torcd.protocol.errors import Refused

MAX_TESTS = 50_000_000
"""Most names that the regular expressions of one specification are tried on: some 15 seconds."""

LONGEST_MATCH_S = 0.5
"""For one name, which takes microseconds unless the expression backtracks without end."""

MAX_MATCHES = 10_000_000
"""Most references that regular expressions may make: beyond it a workflow would not fit into memory."""

_LITERAL = re.compile(r"[A-Za-z0-9_ /:,@%=~!\"'&;<>-]|\\[^A-Za-z0-9]")
_QUANTIFIERS = frozenset("*+?{")


def literal_prefix(pattern: str) -> str:
    """A text that every match of the pattern starts with; possibly shorter than it could be."""
    if "|" in pattern or "(?" in pattern:
        return ""
    letters: list[str] = []
    place = 0
    while match := _LITERAL.match(pattern, place):
        letters.append(match[0][-1])
        place = match.end()
    if letters and pattern[place : place + 1] in _QUANTIFIERS and place < len(pattern):
        letters.pop()  # it may occur no times
    return "".join(letters)


def compile_whole(pattern: str) -> Callable[[str], bool]:
    """Tells whether a name is matched from its beginning to its end.

    Raises Refused for what is no regular expression; so does the function, for one that backtracks without end.
    Python's `re` could not be stopped then, and nothing else of the process would run.
    """
    try:
        compiled = regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        raise Refused(f"{pattern!r} is not a regular expression: {error}") from error

    def matches(name: str) -> bool:
        try:
            return compiled.fullmatch(name, timeout=LONGEST_MATCH_S) is not None
        except TimeoutError as error:
            raise Refused(
                f"the regular expression {pattern!r} takes too long on {name!r}: it repeats "
                "what overlaps, such as (a|aa)+; write it without"
            ) from error

    return matches


class Names:
    """The names of all jobs, files or user data of a specification."""

    def __init__(self, noun: str, names: Sequence[str]) -> None:
        self.noun = noun
        self.names = names
        self.index = {name: index for index, name in enumerate(names)}
        self._ordered: list[int] | None = None
        self._ordered_names: list[str] = []
        self._matches: dict[str, list[int]] = {}
        self._tests = 0
        self._matched = 0

    def explain_unknown(self, name: str) -> str:
        """The sentence for a name that does not exist."""
        hint = ""
        if "{" in name:
            hint = (
                "; braces are replaced only where they hold a parameter of the same job"
                " (see parameters and use_parameters)"
            )
        return f"there is no {self.noun} {name!r}{hint}"

    def match(self, pattern: str) -> list[int]:
        """The indexes of the names that the pattern matches entirely, in no particular order, at least one.

        Raises Refused when the pattern is invalid or matches nothing. Only names with the pattern's literal
        prefix are tried: thousands of patterns such as `work_7_.*` would else try every name each.
        """
        found = self._matches.get(pattern)
        if found is None:
            found = self._matches[pattern] = self._search(pattern)
        if not found:
            raise Refused(f"the regular expression {pattern!r} matches no {self.noun}")
        self._matched += len(found)
        if self._matched > MAX_MATCHES:
            raise Refused(
                f"the regular expressions match more than {MAX_MATCHES} times in all; let one job or file"
                " stand between the many on both sides"
            )
        return found

    def _search(self, pattern: str) -> list[int]:
        matches = compile_whole(pattern)
        candidates = self._with_prefix(literal_prefix(pattern))
        self._tests += len(candidates)
        if self._tests > MAX_TESTS:
            raise Refused(
                "the regular expressions of this specification would take too long; start them with the text"
                " that the names start with"
            )
        names = self.names
        return [index for index in candidates if matches(names[index])]

    def _with_prefix(self, prefix: str) -> Sequence[int]:
        if not prefix:
            return range(len(self.names))
        if self._ordered is None:
            self._ordered = sorted(range(len(self.names)), key=self.names.__getitem__)
            self._ordered_names = [self.names[index] for index in self._ordered]
        first = bisect_left(self._ordered_names, prefix)
        length = len(prefix)
        last = bisect_right(self._ordered_names, prefix, lo=first, key=lambda name: name[:length])
        return self._ordered[first:last]
