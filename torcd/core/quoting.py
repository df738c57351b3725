"""Puts data into the text of a shell command so that the shell takes it for data (SEMANTICS 3.3).

How a value is quoted depends on what surrounds it: `cat ${files.input.x}` and `cat "${files.input.x}"` both mean one
word. So the command is read as bash would, as far as quotes go. Where a value would have to be quoted and cannot be, or
where the reading is in doubt, it is refused: never is a part of a value left to be understood by the shell.
"""

import re
from collections.abc import Callable
from enum import Enum

from torcd.protocol.errors import Refused

Match = re.Match[str]

_PLAIN = re.compile(r"(?![A-Za-z_]\w*\+?=)[\w@%+=:,./][\w@%+=:,./-]*")
"""What means itself everywhere in a command. What looks like `a=b` would be an assignment in front of one."""


class Around(Enum):
    """What surrounds a place in a command; the value says it in a message."""

    NOTHING = "nothing"
    DOUBLE = "double quotes"
    SINGLE = "single quotes"
    ANSI = "$'…'"
    COMMENT = "a comment"
    HEREDOC = "a here-document"
    QUOTED_HEREDOC = "a here-document with a quoted delimiter"
    BACKQUOTES = "backquotes (write $(…) instead)"
    ARITHMETIC = "an arithmetic expression"
    DOUBT = "brackets that cannot be told apart here (in a command with the word case, or with three brackets in a row)"
    EXPANSION = "the braces of a variable in double quotes"
    BACKSLASH = "the reach of a backslash"


def substitute(command: str, variable: re.Pattern[str], value_of: Callable[[Match], str]) -> str:
    """The command with each variable replaced by its value, which stays one word, or a part of one.

    Raises Refused for a value that needs quoting where it cannot be quoted.
    """
    values: list[str] = []

    def note(match: Match) -> str:
        values.append(value_of(match))
        return values[-1]

    replaced = variable.sub(note, command)
    if all(map(_PLAIN.fullmatch, values)):
        return replaced
    return _Reader(command, variable, values).read()


def quote(value: str, around: Around) -> str:
    """The value as it has to be written there; raises Refused."""
    if _PLAIN.fullmatch(value):
        return value
    match around:
        case Around.NOTHING:
            return "'" + value.replace("'", "'\\''") + "'"
        case Around.DOUBLE:
            return re.sub(r'([\\"$`])', r"\\\1", value)
        case Around.SINGLE:
            return value.replace("'", "'\\''")
        case Around.ANSI:
            return re.sub(r"([\\'])", r"\\\1", value)
        case Around.COMMENT:
            return value.replace("\n", " ")
        case Around.HEREDOC if not re.search(r"[\\$`\n]", value):
            return value
        case Around.QUOTED_HEREDOC if "\n" not in value:
            return value
    raise Refused(f"{value!r} has to be quoted for the shell and cannot be inside {around.value}")


_BLANK = frozenset(" \t\n;&|()<>")
_HEREDOC = re.compile(r"<<(-?)[ \t]*((?:[^\s'\"\\|&;()<>]|\\.|'[^']*'|\"[^\"]*\")+)")
_OPENING = re.compile(r"\$\(\(|\(\(|[$<>]\(|\$\[|\$\{|\$'|\$\"|\(|'|\"|`")
_CLOSERS = {
    "$((": "))", "((": "))", "$[": "]", "${": "}", "$'": "'", '$"': '"', "'": "'", '"': '"', "`": "`",
}  # fmt: skip
"""What ends each opening; the rest are brackets that end with one."""
_INSIDE = {
    "$((": Around.ARITHMETIC, "((": Around.ARITHMETIC, "$[": Around.ARITHMETIC, "${": Around.EXPANSION,
    "$'": Around.ANSI, '$"': Around.DOUBLE, "'": Around.SINGLE, '"': Around.DOUBLE, "`": Around.BACKQUOTES,
}  # fmt: skip
_OUTSIDE = ("$((", "((", "$(", "<(", ">(", "$[", "$'", '$"', "(", "'", '"', "`")
"""What opens something where nothing is open. Braces of variables need not be told from what is around them there."""
_IN_DOUBLE = ("$((", "$(", "$[", "${", "`")
"""What opens something within double quotes."""
_IN_EXPANSION = ("${",)


class _Reader:
    """Reads a command from its beginning to its end, and writes it with the values in it."""

    def __init__(self, command: str, variable: re.Pattern[str], values: list[str]) -> None:
        self._text = command
        self._variable = variable
        self._values = iter(values)
        self._place = 0
        self._written: list[str] = []
        self._open: list[tuple[Around, str]] = [(Around.NOTHING, "")]
        """What is open, the innermost last, with what ends each."""
        self._heredocs: list[tuple[str, bool]] = []
        """The delimiters of here-documents that begin with the next line; whether tabs may stand before them."""
        self._has_case = re.search(r"\bcase\b", command) is not None
        self._is_doubtful = False

    def read(self) -> str:
        """The command with the values; raises Refused."""
        while self._place < len(self._text):
            self._step()
        return "".join(self._written)

    def _step(self) -> None:
        around, closer = self._open[-1]
        if self._try_value(Around.DOUBT if self._is_doubtful else around):
            return
        char = self._text[self._place]
        if char == "\\" and around is not Around.SINGLE:
            self._copy(1)
            if self._place < len(self._text) and not self._try_value(Around.BACKSLASH):
                self._copy(1)
        elif closer and self._text.startswith(closer, self._place):
            self._copy(len(closer))
            self._open.pop()
            if closer == "))" and self._text.startswith(")", self._place):
                self._is_doubtful = True
        elif around is Around.NOTHING:
            self._step_outside(char)
        elif around is Around.DOUBLE:
            self._open_or_copy(_IN_DOUBLE)
        elif around is Around.EXPANSION:
            self._open_or_copy(_IN_EXPANSION)
        else:
            self._copy(1)

    def _step_outside(self, char: str) -> None:
        heredoc = _HEREDOC.match(self._text, self._place)
        if char == "\n" and self._heredocs:
            self._copy(1)
            self._read_heredocs()
        elif char == "#" and (self._place == 0 or self._text[self._place - 1] in _BLANK):
            self._copy_until("\n", Around.COMMENT)
        elif heredoc is not None and not self._text.startswith("<<<", self._place):
            word = heredoc[2]
            self._heredocs.append((word, heredoc[1] == "-"))
            self._copy(len(heredoc[0]))
        elif self._text.startswith("<<<", self._place):
            self._copy(3)
        else:
            self._open_or_copy(_OUTSIDE)

    def _open_or_copy(self, allowed: tuple[str, ...]) -> None:
        match = _OPENING.match(self._text, self._place)
        if match is None or match[0] not in allowed:
            self._copy(1)
            return
        opening = match[0]
        self._copy(len(opening))
        self._open.append((_INSIDE.get(opening, Around.NOTHING), _CLOSERS.get(opening, ")")))
        self._is_doubtful = self._is_doubtful or (self._has_case and opening[-1] == "(")

    def _read_heredocs(self) -> None:
        """Copies the bodies of the here-documents that begin here, to the line that ends the last."""
        for word, may_be_indented in self._heredocs:
            delimiter = re.sub(r"['\"\\]", "", word)
            around = Around.HEREDOC if delimiter == word else Around.QUOTED_HEREDOC
            while self._place < len(self._text):
                end = self._text.find("\n", self._place)
                line = self._text[self._place : end if end >= 0 else len(self._text)]
                is_last = (line.lstrip("\t") if may_be_indented else line) == delimiter
                self._copy_until("\n", around)
                if self._place < len(self._text):
                    self._copy(1)
                if is_last:
                    break
        self._heredocs.clear()

    def _copy_until(self, end: str, around: Around) -> None:
        while self._place < len(self._text) and self._text[self._place] != end:
            if not self._try_value(around):
                self._copy(1)

    def _try_value(self, around: Around) -> bool:
        """Writes a value if a variable stands here."""
        match = self._variable.match(self._text, self._place)
        if match is None:
            return False
        self._written.append(quote(next(self._values), around))
        self._place = match.end()
        return True

    def _copy(self, length: int) -> None:
        self._written.append(self._text[self._place : self._place + length])
        self._place += length
