"""The words of a shell command that may be paths of scripts (SEMANTICS 4.5).

It reads the command as text and never looks at a disk: the caller finds out which words are files. Words
whose meaning only the shell knows (variables, globs, command substitutions) are left out.
"""

import re

MAX_WORD = 4096
"""No path is longer (PATH_MAX)."""

_SIMPLE = re.compile(r"[\w./+,:@%=^ \t-]*")
_UNQUOTED = re.compile(r"[\w./+,:@%=^<>&|; \t-]*")
_REDIRECTION = re.compile(r"(?:(?<![^ \t|&;])\d+)?(?:&>>|&>|>>|>\||>&|<&|<>|>|<)[ \t]*[\w./+,:@%=^-]*")
_BETWEEN = re.compile(r"[ \t|&;]+")

_TOKEN = re.compile(
    r"""
      (?P<space>(?:[ \t]|\\\n)+)
    | (?P<comment>\#[^\n]*)
    | (?P<line>\n)
    | (?P<process>[<>]\()
    | (?P<heredoc>\d*<<(?!<)-?)
    | (?P<redirect>\d*(?:<<<|&>>|&>|>>|>\||>&|<&|<>|>|<))
    | (?P<operator>[|&;()]+)
    | (?P<word>(?:[^\s|&;()<>'"\\]|\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*")+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
"""One token of a command. At the start of a token, so `file2>x` is the word file2 and `2>x` redirects."""

_PART = re.compile(r"""'([^']*)'|"([^"\\]*(?:\\.[^"\\]*)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_DOUBLE_QUOTED_ESCAPE = re.compile(r'\\([$`"\\\n])')
_EXPANDED = re.compile(r"[*?\[$`{]")
_EXPANDED_IN_QUOTES = re.compile(r"(?<!\\)[$`]")


def find_words(command: str) -> list[str]:
    """The words of a command that may be paths, without quotes, each once, in order.

    Left out are options (words that start with "-"), the targets of redirections, here-documents, comments,
    and words with an unquoted glob, brace or tilde or with a variable or command to be expanded.
    """
    if _SIMPLE.fullmatch(command):
        words = command.split()
    elif _UNQUOTED.fullmatch(command) and "<<" not in command:
        words = [word for word in _BETWEEN.split(_REDIRECTION.sub(" ", command)) if word]
    else:
        words = _split(command)
    return [word for word in dict.fromkeys(words) if word[0] != "-" and len(word) <= MAX_WORD]


def _split(command: str) -> list[str]:
    words: list[str] = []
    is_target = False
    delimiters: list[tuple[str, bool]] = []  # of the here-documents that start at the next line
    heredoc: str | None = None
    place = 0
    while place < len(command):
        match = _TOKEN.match(command, place)
        assert match is not None  # `other` matches any character
        place = match.end()
        kind = match.lastgroup
        if kind == "space":
            continue
        if kind == "word":
            if heredoc is not None:
                delimiters.append((_unquote(match[0]), heredoc.endswith("-")))
            elif not is_target:
                word = _plain(match[0])
                if word:
                    words.append(word)
        elif kind == "line":
            for delimiter, is_indented in delimiters:
                place = _skip_heredoc(command, place, delimiter, is_indented)
            delimiters.clear()
        is_target = kind == "redirect"
        heredoc = match[0] if kind == "heredoc" else None
    return words


def _skip_heredoc(command: str, place: int, delimiter: str, is_indented: bool) -> int:
    """The place after the line that ends a here-document, or the end of the command."""
    while place < len(command):
        end = command.find("\n", place)
        end = len(command) if end < 0 else end
        line = command[place:end]
        place = end + 1
        if (line.lstrip("\t") if is_indented else line) == delimiter:
            break
    return place


def _unquote(text: str) -> str:
    """A word as the shell would pass it, were there nothing to expand."""
    parts = []
    for single, double, escaped, plain in _PART.findall(text):
        if escaped != "\n":  # the shell joins such lines
            parts.append(single or _DOUBLE_QUOTED_ESCAPE.sub(r"\1", double) or escaped or plain)
    return "".join(parts)


def _plain(text: str) -> str | None:
    """The unquoted word, or None when the shell would expand it or it cannot be a path."""
    if text.startswith("~"):
        return None
    if "'" not in text and '"' not in text and "\\" not in text:
        return None if _EXPANDED.search(text) else text
    for _, double, _, plain in _PART.findall(text):
        if _EXPANDED.search(plain) or _EXPANDED_IN_QUOTES.search(double):
            return None
    word = _unquote(text)
    return None if "\n" in word or "\0" in word else word
