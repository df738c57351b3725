"""The shortcut is held against cyclopts: where it binds a command line, both must bind it alike."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcctl import shortcut
from torcctl.app import verbs_of
from torcctl.context import Context
from torcctl.exits import UsageError
from torcctl.grammar import build_app, parse
from torcctl.options import Options
from torcctl.parameters import OperationOptions
from torcctl.root import NOUNS

CONTEXT = Context(Options(format="table"), {})
COMMANDS = [(noun, verb) for noun in NOUNS for verb in verbs_of(noun)]
APPS = {noun: build_app({noun: (NOUNS[noun].summary, verbs_of(noun))}) for noun in NOUNS}
TOKENS = st.lists(
    st.sampled_from(
        ["7", "12", "-1", "-", "x", "--", "-f", "--force", "--dry-run", "--async", "--explain", "--timeout"]
    )
    | st.sampled_from(
        ["--all-runs", "--failed-only", "--reinitialize", "--reinit", "--follow", "--only-uninitialized", "--force=1"]
    ),
    max_size=4,
)


def by_cyclopts(noun: str, verb: str, tokens: list[str]) -> Any:
    try:
        call = parse(APPS[noun], [noun, verb, *tokens] if verb else [noun, *tokens], CONTEXT)
    except UsageError:
        return "usage error"
    function: Callable[..., Any] = call.func  # type: ignore[attr-defined]  # it is a partial
    return function.__code__, list(call.args), call.keywords  # type: ignore[attr-defined]


@given(st.sampled_from(COMMANDS), TOKENS)
def test_both_bind_a_simple_command_line_alike(command: tuple[str, str], tokens: list[str]) -> None:
    noun, verb = command
    function = verbs_of(noun)[verb]
    bound = shortcut.bind(function, tokens)
    if bound is not None:
        args, kwargs = bound
        assert by_cyclopts(noun, verb, tokens) == (function.__code__, args, {**kwargs, "context": CONTEXT})


def test_the_common_command_lines_are_simple() -> None:
    verbs = verbs_of("workflows")
    assert shortcut.bind(verbs["status"], ["7"]) == ([7], {})
    assert shortcut.bind(verbs["list"], []) == ([], {})
    expected = {"options": OperationOptions(dry_run=True, force=True)}
    assert shortcut.bind(verbs["reinit"], ["--dry-run", "7", "--force"]) == ([7], expected)
    assert shortcut.bind(verbs_of("jobs")["reset-status"], ["7", "-", "--reinit", "name"]) == (
        ["7", "-", "name"],
        {"reinitialize": True},
    )


@pytest.mark.parametrize("tokens", [["7", "8"], ["--wait-timeout", "3"], ["--force", "--force"], ["--nope"], ["-7"]])
def test_everything_else_is_left_to_cyclopts(tokens: list[str]) -> None:
    assert shortcut.bind(verbs_of("workflows")["reinit"], tokens) is None


@pytest.mark.parametrize("noun", NOUNS)
def test_every_command_has_help(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in verbs_of(noun):
        parse(APPS[noun], [word for word in (noun, verb, "--help") if word], CONTEXT)()
        assert "Usage: torcctl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "absent"),
    [
        ("['--help']", ["msgspec", "cyclopts", "trio", "rich", "numpy"]),
        ("['workflows', 'status', '7']", ["cyclopts", "trio", "rich", "numpy", "yaml", "asyncio", "subprocess"]),
        ("['workflows', 'reinit', '7', '--dry-run']", ["cyclopts", "trio", "rich", "numpy", "yaml", "asyncio"]),
        ("['jobs', 'list', '-f', 'status=ready', '7']", ["trio", "numpy", "yaml", "asyncio"]),
    ],
)
def test_a_command_imports_only_what_it_needs(argv: str, absent: list[str]) -> None:
    """The start of a command is most of its time; each of these costs tens of milliseconds."""
    program = f"""
import sys
from torcctl.__main__ import main
sys.argv[1:] = {argv}
try:
    main()
except SystemExit:
    pass
print(sorted(set(sys.modules) & set({absent})), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"TORC_URL": "ws+unix:///nowhere/torcd.sock"},
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"
