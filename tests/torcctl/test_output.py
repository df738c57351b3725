"""Tables and progress, with and without a terminal."""

import io
import re
import sys

import pytest

from torcctl.output import format_size, plain_table, write_table
from torcctl.progress import Progress, Step
from torcd.protocol.client import Notification


class Terminal(io.StringIO):
    """Text that a terminal would show."""

    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes a terminal of stdout and stderr. No fixture: pytest changes them again before the test."""
    shown = Terminal()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (159_744, "156 KiB"), (5 << 40, "5 TiB")]
)
def test_a_size_has_three_digits_and_one_kind_of_unit_everywhere(count: int, text: str) -> None:
    assert format_size(count) == text


def test_columns_are_as_wide_as_their_cells() -> None:
    assert plain_table(("id", "name"), [("1", "long name"), ("20", "x")]) == "id  name\n1   long name\n20  x\n"
    assert plain_table(("id", "name"), []) == "id  name\n"


def test_on_a_terminal_long_cells_are_folded_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    command = "".join(f"{number:03d}" for number in range(60))
    rows = [(1, "terminated", command), (2, "[bold]x[/bold]", None)]
    write_table(("id", "status", "command"), rows, free_text=["command"])
    shown = re.sub(r"\x1b\[\d*m", "", terminal.getvalue())
    assert "terminated" in shown
    assert "[bold]x[/bold]" in shown
    assert "…" not in shown
    folded = "".join(line.split()[-1] for line in shown.splitlines() if line.strip()[-3:].isdigit())
    assert folded == command
    assert max(map(len, shown.splitlines())) <= 60


def test_a_bar_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with Progress("reinit") as progress:
        progress.show(Step(phase="scan", done=2, total=4))
    assert "reinit: scan" in terminal.getvalue()


def test_elsewhere_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("torcctl.progress.time.monotonic", lambda: now[0])
    progress = Progress("reinit")
    for now[0] in range(13):
        params = f'{{"subscription":1,"progress":{{"phase":"scan","done":{now[0]},"total":12}}}}'
        progress.on_notification(Notification("progress", params.encode()))  # type: ignore[arg-type]  # as raw as Raw
        progress.on_notification(Notification("event", b"{}"))  # type: ignore[arg-type]
    assert capsys.readouterr().err == "reinit: scan 5 of 12\nreinit: scan 10 of 12\n"
