"""The examples of the documentation do what it says: their commands are run, and their output is compared.

In a page, a block after `<!-- file: NAME -->` is a file, and in a `console` block each line with `$ ` is a command,
followed by what a terminal shows. `…` stands for anything, also for several lines where it stands alone. The
directory is shown as /home/me/study.
"""

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from real_system import PATIENCE_S, System

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["reinit.md"]
SHOWN_AS = "/home/me/study"

BLOCK = re.compile(r"(?:<!-- file: (?P<name>\S+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```\n", re.DOTALL)


END = "the command has ended"


class Shell:
    """A bash in which the commands of a page run one after the other, as in one terminal."""

    def __init__(self, system: System) -> None:
        self._directory = str(system.work).encode()
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(PATIENCE_S)
        with theirs:
            self._bash = subprocess.Popen(
                ["bash"], cwd=system.work, env=system.environ, stdin=theirs, stdout=theirs, stderr=theirs
            )
        self._seen = b""

    def run(self, command: str) -> str:
        """What a command writes to the terminal."""
        self._ours.sendall(f"{command}\necho '{END}'\n".encode())
        end = f"{END}\n".encode()
        while end not in self._seen:
            piece = self._ours.recv(65536)
            assert piece, f"the shell has ended in {command!r}, after {self._seen!r}"
            self._seen += piece
        told, _, self._seen = self._seen.partition(end)
        return told.replace(self._directory, SHOWN_AS.encode()).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        with self._ours:
            self._ours.shutdown(socket.SHUT_WR)
            if kind is not None:
                self._bash.kill()
            code = self._bash.wait(PATIENCE_S)
        assert kind is not None or code == 0


def read_commands(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with what it is said to show."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def pattern_of(shown: str) -> str:
    """A regular expression for what is shown."""
    alone = re.sub(r"^…$\n", "\0", shown, flags=re.MULTILINE)
    return re.escape(alone).replace("\0", "(?:.*\n)*").replace("…", "[^\n]*")


def test_an_ellipsis_stands_for_part_of_a_line_or_for_lines() -> None:
    assert re.fullmatch(pattern_of("a … c\n…\nd\n"), "a b c\nx\ny\nd\n")
    assert not re.fullmatch(pattern_of("a … c\n"), "a b\nc\n")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_happens(alone: System, page: str) -> None:
    text = (DOCS / page).read_text()
    checked = 0
    with Shell(alone) as shell:
        for block in BLOCK.finditer(text):
            if block["name"]:
                alone.write(block["name"], block["text"])
            elif block["kind"] == "console":
                for command, shown in read_commands(block["text"]):
                    seen = shell.run(command)
                    line = text[: block.start()].count("\n") + 1
                    assert re.fullmatch(pattern_of(shown), seen), (
                        f"{page}:{line}: {command}\nshown:\n{shown}\nseen:\n{seen}"
                    )
                    checked += 1
    assert checked >= 10
