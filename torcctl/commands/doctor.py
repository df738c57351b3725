"""`torcctl doctor`: looks for what may go wrong with torcd here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import output
from torcctl.exits import DONE, FAILED

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command


def doctor(*, context: Context) -> int:
    """Check the daemon and what it depends on here; exit 1 when there is a problem. Starts and changes nothing.

    One line for each check: ok, warning or problem, what that means, and what to do.
    """
    from torcctl.doctor.checks import judge
    from torcctl.doctor.gather import gather

    checks = judge(gather(context.places, context.environ))
    if context.options.json:
        output.write_json({"checks": checks})
    else:
        for each in checks:
            what_to_do = f". What to do: {each.advice}" if each.advice else ""
            print(output.cell(f"{each.verdict:8} {each.check}: {each.detail}{what_to_do}"))
    return FAILED if any(each.verdict == "problem" for each in checks) else DONE


VERBS: dict[str, Command] = {"": doctor}
