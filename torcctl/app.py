"""torcctl from its arguments to its exit code: finds the command, calls it, reports how it failed.

Commands live in `torcctl.commands`, one module a noun, and are imported when they are called. The help of
torcctl itself is written here, from the table of nouns, so that it appears at once.
"""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from torcctl import output, shortcut
from torcctl.context import Context
from torcctl.exits import BROKEN_PIPE, DONE, FAILED, INTERRUPTED, UsageError, exit_of
from torcctl.options import split
from torcctl.parameters import Command, PlainKey, cut_plain_keys
from torcctl.root import GROUPS, NOUNS, root_help
from torcctl.streams import StdoutError, drop_stdout
from torcd import __version__
from torcd.protocol.errors import TorcError


def run(argv: list[str], environ: Mapping[str, str]) -> int:
    """Carries out a command line; its exit code."""
    as_json = "json" in argv or environ.get("TORC_FORMAT") == "json"  # until the options are known
    context: Context | None = None
    try:
        options, tokens = split(argv, environ)
        as_json = options.json
        context = Context(options, environ)
        code = _dispatch(context, tokens)
        sys.stdout.flush()
    except TorcError as error:
        code = exit_of(error)
        output.write_error(error, as_json=as_json)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read stdout has enough (`| head`)
        drop_stdout()
        code = BROKEN_PIPE
    except StdoutError as error:
        drop_stdout()
        code = FAILED
        output.write_error(TorcError(f"standard output cannot be written: {error.strerror}"), as_json=False)
    finally:
        if context is not None:
            context.close()
    return code


def _dispatch(context: Context, tokens: list[str]) -> int:
    if context.options.version:
        print(f"torcctl {__version__}")
        return DONE
    if context.options.help:
        print(root_help())
        return DONE
    if not tokens:
        raise UsageError("there is no command; see torcctl --help")
    if tokens[0] in GROUPS:
        noun = GROUPS[tokens[0]]
        if tokens[1:2] != [noun]:
            raise UsageError(f"torcctl {tokens[0]} needs: {noun}", command=tokens[0])
        tokens = tokens[1:]
    return _bind(context, tokens)() or DONE


def verbs_of(noun: str) -> Mapping[str, Command]:
    """The commands of a noun; imports its module."""
    verbs: Mapping[str, Command] = importlib.import_module(NOUNS[noun].module).VERBS
    return verbs


def _bind(context: Context, tokens: list[str]) -> Callable[[], int | None]:
    """What a command line asks for, ready to be called. Raises UsageError."""
    noun = tokens[0]
    if noun not in NOUNS:
        raise UsageError(f"there is no command {noun!r}{_near(noun, NOUNS) or '; see torcctl --help'}", command=noun)
    verbs = verbs_of(noun)
    verb = "" if "" in verbs else next(iter(tokens[1:2]), None)
    if verb is None:
        # Not the help: a script that lost its verb must not take it for a result.
        raise UsageError(f"torcctl {noun} needs one of: {', '.join(verbs)}", command=noun)
    if verb not in verbs and not verb.startswith("-"):
        raise UsageError(
            f"torcctl {noun} has no {verb!r}{_near(verb, verbs)}; it has: {', '.join(verbs)}", command=noun
        )
    keys: list[PlainKey] = []
    if verb in verbs:
        tokens, keys = cut_plain_keys(verbs[verb], tokens)
        arguments = shortcut.bind(verbs[verb], tokens[2:] if verb else tokens[1:])
        if arguments is not None:
            args, kwargs = arguments
            return partial(verbs[verb], *args, *keys, **kwargs, context=context)
    from torcctl import grammar

    app = grammar.build_app({noun: (NOUNS[noun].summary, verbs)})
    return grammar.parse(app, tokens, context, keys)


def _near(word: str, known: Iterable[str]) -> str:
    """What may have been meant, if anything is like it."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
