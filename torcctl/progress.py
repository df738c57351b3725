"""How far a wait is, on stderr: a bar on a terminal, otherwise a plain line now and then.

rich is imported with the first news only: most operations end before there is any.
"""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from torcd.protocol.client import Notification

PLAIN_EVERY_S = 5.0
"""Between plain lines of one phase: enough to see that it moves, few enough for a log."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a `progress` notification that is shown. Without `total` the end is unknown."""

    phase: str = ""
    done: int = 0
    total: int | None = None


class _Params(msgspec.Struct, frozen=True, kw_only=True):
    """The params of a `progress` notification."""

    progress: Step


class Progress:
    """Shows steps while it is open; as a context manager it leaves the terminal as it was."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._bar: Bar | None = None
        self._row: TaskID | None = None
        self._next_line_at = time.monotonic() + PLAIN_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_notification(self, notification: "Notification") -> None:
        """Shows a `progress` notification; others are not for us."""
        if notification.method == "progress":
            self.show(msgspec.json.decode(notification.params, type=_Params).progress)

    def show(self, step: Step) -> None:
        """Shows a step."""
        if self._quiet:
            return
        if sys.stderr.isatty():
            self._show_bar(step)
        else:
            self._show_line(step)

    def _show_line(self, step: Step) -> None:
        now = time.monotonic()
        if now < self._next_line_at:
            return
        self._next_line_at = now + PLAIN_EVERY_S
        of = "" if step.total is None else f" of {step.total}"
        print(f"{self._title}: {step.phase} {step.done}{of}", file=sys.stderr, flush=True)

    def _show_bar(self, step: Step) -> None:
        if self._bar is None or self._row is None:
            self._bar = _new_bar()
            self._row = self._bar.add_task(self._title, total=None)
            self._bar.start()
        text = f"{self._title}: {step.phase}"
        self._bar.update(self._row, description=text, completed=step.done, total=step.total)


def _new_bar() -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
