"""Parameters of a specification: their values, their combinations, and the templates that hold them.

It knows nothing of jobs or files. Whatever a template does not name as a parameter of its own object stays
as it is: commands are full of JSON, awk programs and shell variables.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Literal

from torcd.protocol.errors import Refused
from torcd.protocol.specification import ParameterValue

Value = str | int | float | bool
Mode = Literal["product", "zip"]

MAX_COMBINATIONS = 4_000_000
"""Most objects one specification may expand to: a million jobs, as many as the daemon is built for, and three files
for each. They take about 3 GB while they are made."""

MAX_CHARACTERS = 2**31
"""Longest text that the templates of one specification may give in all: two thousand characters for a million jobs."""

TEXT = 50
"""What a text costs beside its characters."""

REFERENCE = 8
"""What a value that is the same in every combination costs in each of them, in characters: a pointer."""

FORMATTED_AT_ONCE = 1000
"""Values formatted before their length is counted: at a thousand characters each they are no matter."""

_INTEGER = r"[+-]?\d{1,18}"
_FLOAT = r"[+-]?(?:\d{1,30}\.\d{0,30}|\.\d{1,30}|\d{1,30})(?:[eE][+-]?\d{1,2})?"
_RANGE = re.compile(rf"({_FLOAT})\s*:\s*({_FLOAT})(?:\s*:\s*({_FLOAT}))?", re.ASCII)
_IS_INTEGER = re.compile(_INTEGER, re.ASCII)
_IS_PLAIN_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
_IS_FLOAT = re.compile(_FLOAT, re.ASCII)
_IS_BAD_RANGE = re.compile(r"[\d.+\-\s]*:[\d.+\-\s:]*", re.ASCII)
_ELEMENT = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|([^,'"\[\]]*))\s*(,|$)""")

_NAME = re.compile(r"[A-Za-z_]\w*")
_FIELD = re.compile(r"""(?<!\$)\{([A-Za-z_]\w*)(?::([^\s{}"']{1,20}))?\}""")
_WIDE = re.compile(r"\d{4}")


# ---- values ----


def parse_parameter(name: str, value: ParameterValue) -> Sequence[Value]:
    """All values of one parameter, at least one. Raises Refused.

    A real list is taken as it is. In a text, "1:10" and "0:100:10" are inclusive ranges of integers (floats
    when one of the numbers is one), "[a,b]" is a list, anything else one value. Unquoted numbers in a text
    are numbers, so that `{i:03d}` works; a number that starts with a zero, such as 007, stays text.
    """
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{name!r} is no name for a parameter; use letters, digits and _, not starting with a digit",
            value=name,
        )
    if isinstance(value, list):
        values: Sequence[Value] = value
    elif isinstance(value, str):
        values = _parse_text(name, value.strip())
    else:
        values = [value]
    if not values:
        raise Refused(f"parameter {name} has no values", value=value)
    return values


def _parse_text(name: str, text: str) -> Sequence[Value]:
    if text.startswith("[") != text.endswith("]"):
        raise Refused(f"parameter {name}: {text!r} has only one of the brackets of a list", value=text)
    if text.startswith("["):
        return _parse_list(name, text)
    if match := _RANGE.fullmatch(text):
        return _parse_range(name, text, *match.groups())
    if _IS_BAD_RANGE.fullmatch(text) or (":" in text and any(map(_IS_FLOAT.fullmatch, text.split(":")))):
        raise Refused(
            f"parameter {name}: {text!r} is not a range; write START:END or START:END:STEP, or '[{text}]' if it is "
            "meant as it stands",
            value=text,
        )
    return [_parse_scalar(text)]


def _parse_scalar(text: str) -> Value:
    if _IS_PLAIN_INTEGER.fullmatch(text):
        return int(text)
    if _IS_FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    return text


def _parse_list(name: str, text: str) -> list[Value]:
    inner = text[1:-1]
    values: list[Value] = []
    place = 0
    while inner.strip():
        match = _ELEMENT.match(inner, place)
        if match is None:
            raise Refused(
                f"parameter {name}: {text!r} is not a list; write [a,b] and quote what holds , ' \" [ or ]",
                value=text,
            )
        single, double, plain, comma = match.groups()
        if plain is not None and not plain.strip():
            raise Refused(f"parameter {name}: {text!r} has an empty element; write '' if it is meant", value=text)
        values.append(_parse_scalar(plain.strip()) if plain is not None else single or double or "")
        if not comma:
            break
        place = match.end()
    return values


def _parse_range(name: str, text: str, first: str, last: str, step: str | None) -> Sequence[Value]:
    texts = [first, last] if step is None else [first, last, step]
    if all(_IS_INTEGER.fullmatch(number) for number in texts):
        by = int(step) if step is not None else 1
        if by == 0:
            raise Refused(f"parameter {name}: the step of {text!r} is zero", value=text)
        values = range(int(first), int(last) + (1 if by > 0 else -1), by)
        _check_range(name, text, len(values))
        return values
    if step is None:
        raise Refused(f"parameter {name}: a range of floats needs a step, such as {first}:{last}:0.1", value=text)
    with localcontext() as context:
        context.prec = 400  # the longest numbers that the pattern lets through are exact with that
        start, end, width = Decimal(first), Decimal(last), Decimal(step)
        if width == 0:
            raise Refused(f"parameter {name}: the step of {text!r} is zero", value=text)
        count = int((end - start) / width) + 1 if (end - start) * width >= 0 else 0
        _check_range(name, text, count)
        return [float(start + index * width) for index in range(count)]


def _check_range(name: str, text: str, count: int) -> None:
    if count == 0:
        raise Refused(f"parameter {name}: the range {text!r} is empty", value=text)
    if count > MAX_COMBINATIONS:
        raise Refused(
            f"parameter {name}: {text!r} has {count} values; at most {MAX_COMBINATIONS} are possible",
            value=text,
        )


# ---- combinations and templates ----


class TooMuchText(Refused):
    """Templates and combinations would give more text than a specification may. To look further makes no sense."""


class Allowance:
    """What is left of the text that the templates of a specification may give: a few lines can stand for terabytes."""

    def __init__(self) -> None:
        self._left = MAX_CHARACTERS

    def take(self, characters: int) -> None:
        """Raises TooMuchText when so much is not left, before it is made."""
        self._left -= characters
        if self._left < 0:
            raise TooMuchText(
                f"the parameters of this specification give more than {MAX_CHARACTERS} characters in all: shorten the "
                "texts that hold them, or use fewer combinations"
            )


class Combinations:
    """The combinations of some parameters, in order: of a product the last parameter varies fastest.

    `count` is known before anything of that size is made. Raises Refused when zipped lengths differ.
    """

    def __init__(
        self, parameters: Mapping[str, Sequence[Value]], mode: Mode, allowance: Allowance | None = None
    ) -> None:
        self._allowance = allowance or Allowance()
        lengths = {name: len(values) for name, values in parameters.items()}
        if mode == "zip" and len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise Refused(f"parameters that are zipped need equally many values: {told}", value=lengths)
        self.count = math.prod(lengths.values()) if mode == "product" else next(iter(lengths.values()), 1)
        self._values = parameters
        self._repeats: dict[str, tuple[int, int]] = {}
        """How often each single value, and then the whole list, of a parameter is repeated."""
        outer = 1
        for name, length in lengths.items():
            if mode == "product":
                self._repeats[name] = (self.count // (outer * length), outer)
                outer *= length
            else:
                self._repeats[name] = (1, 1)
        self._columns: dict[tuple[str, str | None], tuple[list[str], int]] = {}
        """The texts of a parameter in a format, one for each combination, and their length in all."""

    def allow(self, values: int) -> None:
        """Raises TooMuchText when so many constant values are too many to be repeated in every combination."""
        self._allowance.take(REFERENCE * values * self.count)

    def render(self, text: str, escape: bool = False) -> list[str] | None:
        """The text for each combination, or None when it holds none of the parameters.

        With `escape` the values are escaped for use in a regular expression. Raises Refused when a format
        does not fit a value, and TooMuchText.
        """
        if "{" not in text:
            return None
        columns: list[list[str]] = []
        pieces: list[str] = []
        place = length = 0
        for match in _FIELD.finditer(text):
            name, layout = match.groups()
            if name not in self._values:
                continue
            column, characters = self._column(name, layout)
            columns.append(column)
            length += characters + (match.start() - place) * self.count
            pieces.append(text[place : match.start()].replace("%", "%%"))
            place = match.end()
        if not columns:
            return None
        self._allowance.take(length + (TEXT + len(text) - place) * self.count)
        if escape:
            columns = [[re.escape(value) for value in column] for column in columns]
        pattern = "%s".join([*pieces, text[place:].replace("%", "%%")])
        return [pattern % row for row in zip(*columns, strict=True)]

    def _column(self, name: str, layout: str | None) -> tuple[list[str], int]:
        column = self._columns.get((name, layout))
        if column is None:
            values = self._values[name]
            texts: list[str] = []
            for first in range(0, len(values), FORMATTED_AT_ONCE):
                formatted = [_format(name, value, layout) for value in values[first : first + FORMATTED_AT_ONCE]]
                self._allowance.take(sum(map(len, formatted)))
                texts += formatted
            length = sum(map(len, texts)) * (self.count // len(values))
            each, whole = self._repeats[name]
            if each > 1:
                texts = [text for text in texts for _ in range(each)]
            column = self._columns[name, layout] = (texts * whole if whole > 1 else texts), length
        return column


def _format(name: str, value: Value, layout: str | None) -> str:
    if layout is None:
        return str(value).lower() if isinstance(value, bool) else str(value)
    if _WIDE.search(layout):
        raise Refused(f"the format {{{name}:{layout}}} is too wide", value=layout)
    try:
        return format(value, layout)
    except (ValueError, OverflowError) as error:
        raise Refused(
            f"the format {{{name}:{layout}}} does not fit the value {value!r} of parameter {name}: {error}",
            value=layout,
        ) from error
