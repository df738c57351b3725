"""How a job's command is executed: by bash, or directly where bash would do nothing but execute it.

A start of bash costs as much as a small program, so a command that is one program with plain words is run
without it. Whoever cannot be sure asks bash: an unknown word, a missing program, a file without `#!`. No
process is started here.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterable

import msgspec

from torcd.protocol.errors import Refused

_PLAIN = re.compile(r"[ \t]*[A-Za-z0-9_./][A-Za-z0-9_./:,@%+-]*([ \t]+[A-Za-z0-9_./:,@%+=-]+)*[ \t\n]*")
"""Words in which no character means anything to a shell; the first is no option, job or assignment."""

_SHELL_WORDS = frozenset(
    """. : alias bg bind break builtin caller case cd command compgen complete compopt continue coproc declare
    dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts
    hash help history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly
    return select set shift shopt source suspend test then time times trap true type typeset ulimit umask
    unalias unset until wait while""".split()  # noqa: SIM905 - twenty lines of quotes are no clearer
)
"""Builtins and keywords of bash that consist of plain characters."""

_TWINS = frozenset({"true", "false"})
"""Builtins that, without arguments, do exactly what the program of that name does."""

_CHANGES_BASH = ("BASH", "SHELLOPTS", "POSIXLY_CORRECT", "EXECIGNORE")
"""Variables beginning with these alter how bash reads or finds a command: exported functions, for one."""


class Execution(msgspec.Struct, frozen=True):
    """What to execute: a file, and the words it gets, its own name first."""

    program: str
    words: list[str]


def find_bash() -> str:
    """The path of bash; raises Refused when this machine has none."""
    path = shutil.which("bash") or shutil.which("bash", path=os.defpath)
    if path is None:
        raise Refused("bash is not installed on this machine (or not in PATH); jobs are run by bash -c")
    return os.path.abspath(path)


def by_bash(bash: str, command: str) -> Execution:
    """`bash -c command`; the `--` keeps a command that begins with a dash from being an option."""
    return Execution(bash, ["bash", "-c", "--", command] if command[:1] in "-+" else ["bash", "-c", command])


def wrap(script: str, command: str, directory: str) -> str:
    """The command that runs an invocation script with a job's command as its arguments.

    A command of more than plain words goes to bash inside the script, so that all of it runs there. A script that lies
    in the job's directory is taken from there, as what is tracked for changes is (SEMANTICS 3.6, 4.5).
    """
    name = script.split()[0] if script.strip() else ""
    if "/" not in name and os.path.isfile(os.path.join(directory, name)):
        script = f"./{script.lstrip()}"
    inner = command if _PLAIN.fullmatch(command) and command.split()[0] not in _SHELL_WORDS else None
    return f"{script} {inner or 'bash -c ' + shlex.quote(command)}"


def is_shell_altered(environment: Iterable[str]) -> bool:
    """Whether one of these variables makes bash more than the executor of a plain command."""
    return any(name.startswith(_CHANGES_BASH) for name in environment)


def find_direct(command: str, path: str | None) -> Execution | None:
    """How to run the command without bash to the same effect, or None. `path` is the PATH of the job.

    A program with a slash is left relative to the job's directory: scripts see the path they were called by.
    """
    if _PLAIN.fullmatch(command) is None:
        return None
    words = command.split()
    first = words[0]
    if first in _SHELL_WORDS and not (first in _TWINS and len(words) == 1):
        return None
    if "/" in first:
        return Execution(first, words)
    for place in (path or "").split(":"):
        if not place.startswith("/"):
            return None
        program = f"{place}/{first}"
        if os.access(program, os.X_OK):
            return Execution(program, words)
    return None
