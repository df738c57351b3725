"""Binds the simplest command lines without cyclopts, whose import costs more than such a command itself.

Simple is: at most the `<workflow>` argument, or any number of keys (cyclopts takes a second for 20,000 of them), and
flags without a value, each written out. Everything else, anything wrong included, is left to cyclopts. Both read the
same signatures; a test compares their answers.
"""

import inspect
from dataclasses import fields
from types import FunctionType
from typing import Any

from torcctl.parameters import FLAG_NAMES, Command, OperationOptions, PlanOptions

FLATTENED = {"OperationOptions": OperationOptions, "PlanOptions": PlanOptions}
"""Words whose fields are options of their own."""


def bind(function: Command, tokens: list[str]) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments of a command (without `context`), or None when this command line is not simple."""
    assert isinstance(function, FunctionType)
    code, words = function.__code__, function.__annotations__
    positional = code.co_varnames[: code.co_argcount]
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if len(positional) > 1 or any(words[name] != "WorkflowId" for name in positional):
        return None
    takes_keys = bool(code.co_flags & inspect.CO_VARARGS)
    flags = _flags(named, words)
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    grouped: dict[str, dict[str, Any]] = {}
    for token in tokens:
        if token in flags:
            taken = parameter, field = flags[token]
            flags = {name: flag for name, flag in flags.items() if flag != taken}
            if field is None:
                options[parameter] = True
            else:
                grouped.setdefault(parameter, {})[field] = True
        elif len(arguments) < len(positional) and token.isascii() and token.isdecimal():
            arguments.append(int(token))
        elif takes_keys and (token == "-" or not token.startswith("-")):
            arguments.append(token)
        else:
            return None
    for parameter, values in grouped.items():
        options[parameter] = FLATTENED[words[parameter]](**values)
    defaults = function.__kwdefaults__ or {}
    required = [name for name in named if name != "context" and name not in defaults]
    return None if required else (arguments, options)


def _flags(named: tuple[str, ...], words: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    """The flags a command takes: to which parameter each belongs and, if it is flattened, to which field."""
    flags: dict[str, tuple[str, str | None]] = {}
    for name in named:
        if words[name] == "bool" or words[name] in FLAG_NAMES:
            flags |= dict.fromkeys(FLAG_NAMES.get(words[name], (_option(name),)), (name, None))
        elif words[name] in FLATTENED:
            for field in fields(FLATTENED[words[name]]):
                if field.type == "bool":
                    flags[_option(field.name)] = (name, field.name)
    return flags


def _option(name: str) -> str:
    return "--" + name.strip("_").replace("_", "-")
