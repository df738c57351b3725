"""`torcctl completions`: the completion script of a shell, generated from the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Shell


def completions(shell: Shell, /, *, context: Context) -> None:
    """Print the completion script of a shell; the shell has to read it at its start.

    Args:
        shell: bash, zsh or fish.
    """
    from torcctl.app import verbs_of
    from torcctl.grammar import build_app
    from torcctl.root import NOUNS

    app = build_app({name: (noun.summary, verbs_of(name)) for name, noun in NOUNS.items()})
    print(app.generate_completion(shell=shell))


VERBS: dict[str, Command] = {"": completions}
