"""The command line as cyclopts sees it, made from the commands' signatures. Imports cyclopts.

Nouns are imported when they are asked for: a command line names one, and only help and completions want all.
"""

import re
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, Token, UnknownOptionError, UnusedCliTokensError

from torcctl import parameters
from torcctl.context import Context
from torcctl.exits import UsageError
from torcctl.options import hint_at_global
from torcctl.parameters import Command

NUMBERS = {"int": "whole number", "float": "number"}
"""Types as users know them."""

WORKFLOW_HELP = "Id of the workflow. Left out: -k, TORC_WORKFLOW_ID, or the only workflow there is."


def _to_source(_: type[Path], tokens: Sequence[Token]) -> Path:
    """A file's path, or a lone dash; other words with a dash are mistyped options."""
    text = tokens[0].value
    if text.startswith("-") and text != "-":
        raise ValueError(f"Unknown option: {text}")
    return Path(text)


WORDS: dict[str, Any] = {
    "Path": Path,
    "Source": Annotated[Path, Parameter(allow_leading_hyphen=True, converter=_to_source)],
    "Shell": parameters.Shell,
    "Switch": Annotated[bool | None, Parameter(negative=None)],
    "Context": Annotated[Context, Parameter(parse=False)],
    "WorkflowId": Annotated[int | None, Parameter(help=WORKFLOW_HELP)],
    "Key": Annotated[str, Parameter(allow_leading_hyphen=True)],  # a lone dash is one
    "Filters": Annotated[
        tuple[str, ...],
        Parameter(name=("--filter", "-f"), help="Only rows with key=value; repeatable, and-ed."),
    ],
    "Follow": Annotated[bool, Parameter(name=("--follow", "-f"), help="Go on as more is written.")],
    "NewFile": Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="Write the specification with them to this new file.")
    ],
    "HpcJobs": Annotated[int, Parameter(name=("-n", "--num-hpc-jobs"))],
    "Reinitialize": Annotated[bool, Parameter(name=parameters.FLAG_NAMES["Reinitialize"])],
    "Detect": Annotated[parameters.Detect, Parameter(help="How changed files are told: mtime or content.")],
    "RecoverOptions": Annotated[parameters.RecoverOptions, Parameter(name="*")],
    "PlanOptions": Annotated[parameters.PlanOptions, Parameter(name="*")],
    "OperationOptions": Annotated[parameters.OperationOptions, Parameter(name="*")],
    "RunOptions": Annotated[parameters.RunOptions, Parameter(name="*")],
    "WorkerOptions": Annotated[parameters.WorkerOptions, Parameter(name="*")],
}
"""What the words of `parameters` mean here."""


def build_app(nouns: Mapping[str, tuple[str, Mapping[str, Command]]]) -> App:
    """The app of some nouns, each with its summary and verbs; a noun with the verb "" is itself a command."""
    app = App(
        name="torcctl",
        version_flags=(),
        default_parameter=Parameter(negative=(), show_default=False),
        result_action="return_value",
    )
    for noun, (summary, verbs) in nouns.items():
        if "" in verbs:
            app.command(evaluated(verbs[""]), name=noun)
            continue
        group = App(name=noun, help=summary)
        for function, names in names_of(verbs):
            group.command(evaluated(function), name=names)
        app.command(group)
    return app


def names_of(verbs: Mapping[str, Command]) -> list[tuple[Command, list[str]]]:
    """The commands in order, each with all its names."""
    names: dict[Command, list[str]] = {}
    for name, function in verbs.items():
        names.setdefault(function, []).append(name)
    return list(names.items())


def evaluated(function: Command) -> Command:
    """A copy of a command whose annotations are cyclopts' and not words."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__ = function.__doc__
    copy.__module__ = function.__module__
    copy.__annotations__ = typing.get_type_hints(function, localns=WORDS, include_extras=True)
    return copy


def parse(
    app: App, tokens: list[str], context: Context, keys: Sequence[parameters.PlainKey] = ()
) -> Callable[[], int | None]:
    """What a command line asks for, ready to be called: a command, or the help of one. Raises UsageError.

    `keys` are those that stood behind `--`.
    """
    try:
        command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        hint = hint_at_global(tokens) if isinstance(error, UnknownOptionError) else None
        raise UsageError(f"{_plain(error)}{hint or _hint_at_help(tokens)}") from error
    if "context" not in ignored:  # it is the help
        return partial(command, *bound.args, **bound.kwargs)
    return partial(command, *bound.args, *keys, **bound.kwargs, context=context)


def _plain(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"there is no place for {' '.join(map(repr, error.unused_tokens or []))}"
    text = " ".join(str(error).split()).rstrip(".")
    return re.sub(" into (int|float)$", lambda found: f" into a {NUMBERS[found[1]]}", text)


def _hint_at_help(tokens: list[str]) -> str:
    return f"; see torcctl {' '.join(word for word in tokens[:2] if not word.startswith('-'))} --help"
