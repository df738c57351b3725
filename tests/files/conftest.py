"""Scanners that are closed after the test, and helper programs with a stat that misbehaves."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from torcd.files import scan, stat_loop
from torcd.files.scan import Scanner

PROGRAM = """
import os, sys, threading
sys.path.append({directory!r})
import stat_loop

real = os.stat
{body}
os.stat = stat
stat_loop.find_native_stat = lambda: None
main = stat_loop.main
"""


@pytest.fixture
def write_program(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a helper program whose `stat` is defined by the given lines."""

    def write(body: str) -> Path:
        program = tmp_path / "helper_program.py"
        program.write_text(PROGRAM.format(directory=str(Path(stat_loop.__file__).parent), body=body))
        return program

    return write


@pytest.fixture
async def make_scanner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Scanner]]:
    """Makes scanners that send every scan to helpers; `few`: so many files still go to a thread."""
    scanners = []

    def make(*, few: int = 0, **options: object) -> Scanner:
        monkeypatch.setattr(scan, "FEW", few or 1)
        scanners.append(Scanner(**options))  # type: ignore[arg-type]  # options of the test
        if not few:
            scanners[-1]._thread_hangs = True
        return scanners[-1]

    yield make
    with trio.fail_after(10):
        for scanner in scanners:
            await scanner.aclose()
