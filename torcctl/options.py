"""The global options: where they may stand and what they mean.

They stand before the noun; there, short forms are allowed, too. The long forms are also taken out of what
follows the noun, up to `--`, so that no command has to declare them. This is done by hand, before cyclopts,
because after the noun `-f` belongs to the command and not to us.
"""

from collections.abc import Iterable, Mapping

import msgspec

from torcctl.exits import UsageError

FORMATS = ("table", "json")
LOG_LEVELS = ("error", "warning", "info", "debug")


class Options(msgspec.Struct, kw_only=True):
    """The global options as given; what is None was not given."""

    format: str | None = None
    url: str | None = None
    workflow_key: str | None = None
    no_prompts: bool = False
    no_autostart: bool = False
    log_level: str | None = None
    version: bool = False
    help: bool = False

    @property
    def json(self) -> bool:
        """Whether the result is one JSON document."""
        return self.format == "json"


LONG = {
    "--format": "format",
    "--output-format": "format",
    "--url": "url",
    "--workflow-key": "workflow_key",
    "--workflow-id": "workflow_key",
    "--no-prompts": "no_prompts",
    "--no-autostart": "no_autostart",
    "--log-level": "log_level",
}
"""Options that are taken before and after the noun."""

LEADING = {
    **LONG,
    "-f": "format",
    "-F": "format",
    "-k": "workflow_key",
    "-n": "no_prompts",
    "--version": "version",
    "--help": "help",
    "-h": "help",
}
"""Options that are taken before the noun."""

_FLAGS = {"no_prompts", "no_autostart", "version", "help"}


def split(argv: list[str], environ: Mapping[str, str]) -> tuple[Options, list[str]]:
    """The global options of a command line, and the rest of it: noun, verb and what is theirs.

    Raises UsageError. The order of precedence is flag, then environment (`TORC_FORMAT`).
    """
    options = Options()
    place = 0
    while place < len(argv) and argv[place].startswith("-"):
        place = _take(options, argv, place, LEADING)
    rest: list[str] = []
    while place < len(argv):
        token = argv[place]
        if token == "--":
            rest += argv[place:]
            break
        if token.partition("=")[0] in LONG:
            place = _take(options, argv, place, LONG)
        else:
            rest.append(token)
            place += 1
    options.format = options.format or environ.get("TORC_FORMAT") or "table"
    _check(options.format, FORMATS, "--format")
    _check(options.log_level or "info", LOG_LEVELS, "--log-level")
    return options, rest


def hint_at_global(tokens: Iterable[str]) -> str | None:
    """What to do about a short global option that stands after the noun; None: there is none."""
    for token in tokens:
        name = token[:2] if not token.startswith("--") else token
        if name in LEADING and name not in ("-h", "--help", "-f"):
            return f"; the global option {name} stands before the noun: torcctl {name} …"
    return None


def _take(options: Options, argv: list[str], place: int, known: dict[str, str]) -> int:
    """Sets the option at `place` and returns the place after it."""
    token = argv[place]
    name, equals, value = token.partition("=")
    if name not in known and not token.startswith("--") and token[:2] in known and len(token) > 2:
        name, equals, value = token[:2], "=", token[2:]  # -fjson, -k7
    field = known.get(name)
    if field is None:
        raise UsageError(f"unknown global option {token!r}; see torcctl --help", option=token)
    if field in _FLAGS:
        if equals:
            raise UsageError(f"{name} takes no value", option=name)
        setattr(options, field, True)
        return place + 1
    if not equals:
        place += 1
        if place == len(argv):
            raise UsageError(f"{name} needs a value", option=name)
        value = argv[place]
    setattr(options, field, value)
    return place + 1


def _check(value: str, allowed: tuple[str, ...], name: str) -> None:
    if value not in allowed:
        raise UsageError(f"{name}: {value!r} is none of {', '.join(allowed)}", option=name, value=value)
