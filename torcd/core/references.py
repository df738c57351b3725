"""Names of one kind of object and how specifications refer to them: exactly, or by a regular expression that
matches the whole name (SEMANTICS 3.4)."""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

import regex

from torcd.protocol.errors import Refused

MAX_TESTS = 50_000_000
"""Most names that the regular expressions of one specification are tried on: some 15 seconds."""

LONGEST_MATCH_S = 0.5
"""For one name, which takes microseconds unless the expression backtracks without end."""

LONGEST_SEARCH_S = 30.0
"""For all expressions of one specification: each of a million names may take a little, and too long in all."""

LOOK_EVERY = 16
"""Names between looks at the clock, which cost a fifth of a match."""

LONGEST_PATTERN = 4000
"""Characters of an expression: reading a longer one takes a second and more."""

MOST_STEPS = 10_000
"""What an expression may have with its counted repetitions written out, as the compiler does it: that of
`((a{999}){999}){999}` takes all memory."""

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


_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d{1,20})?(?:,(\d{0,20}))?\}|[()]|.", re.DOTALL)
"""An escaped character, a set, a counted repetition, a bracket, or any other character."""

_COUNTED = re.compile(r"\{[\d,]{0,20}\d[\d,]{0,20}\}")
_NUMBER = re.compile(r"\d+")
_HAS_COMMENTS = re.compile(r"\(\?(?:#|[a-zA-Z0-9]*x)")
"""What lets white space and comments stand between a group and its repetition."""


def count_steps(pattern: str) -> int:
    """How long an expression is with its counted repetitions written out; about, and rather too long."""
    if _HAS_COMMENTS.search(pattern):
        return len(pattern) * math.prod(max(map(int, _NUMBER.findall(text))) or 1 for text in _COUNTED.findall(pattern))
    around: list[int] = []  # the lengths of what stands before the groups that are open
    total = last = 0
    for match in _ATOM.finditer(pattern):
        token = match[0]
        if token == "(":
            around.append(total)
            total = last = 0
        elif token == ")" and around:
            last = total + 1
            total = around.pop() + last
        elif token[0] == "{" and len(token) > 1:
            times = max(1, int(match[1] or 0), int(match[2] or 0))
            total += last * (times - 1)
            last *= times
        else:
            last = 1
            total += 1
    return total + sum(around)


def compile_whole(pattern: str) -> Callable[[str], bool]:
    """Tells whether a name is matched from its beginning to its end.

    Raises Refused for what is no regular expression, or too large a one; so does the function, for one that backtracks
    without end. Python's `re` could not be stopped then, and nothing else of the process would run.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise Refused(f"a regular expression has at most {LONGEST_PATTERN} characters, and this one {len(pattern)}")
    if count_steps(pattern) > MOST_STEPS:
        raise Refused(
            f"the repetitions in the regular expression {pattern!r} make it longer than {MOST_STEPS} characters: "
            "write * or + instead"
        )
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


class Patience:
    """The time that is left for the regular expressions of one specification, on the caller's clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + LONGEST_SEARCH_S

    def check(self) -> None:
        """Raises Refused when it is over."""
        if self._clock() > self._end:
            raise Refused(
                f"the regular expressions of this specification take more than {LONGEST_SEARCH_S:g} s; start them with "
                "the text that the names start with"
            )


ENDLESS = Patience(lambda: 0.0)
"""For expressions that are not a stranger's."""


class Names:
    """The names of all jobs, files or user data of a specification."""

    def __init__(self, noun: str, names: Sequence[str], patience: Patience = ENDLESS) -> None:
        self.noun = noun
        self._patience = patience
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
        found: list[int] = []
        for first in range(0, len(candidates), LOOK_EVERY):
            self._patience.check()
            found += [index for index in candidates[first : first + LOOK_EVERY] if matches(names[index])]
        return found

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
