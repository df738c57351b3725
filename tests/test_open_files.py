"""The daemon takes as many descriptors as it may have; what it starts has as many as it was given."""

import subprocess
import sys

PROGRAM = """
import resource, subprocess
from torcd.open_files import raise_limit, with_limit_of_before
show = ["sh", "-c", 'echo "$@" $(ulimit -S -n) $(ulimit -H -n)', "sh", "of one", "$HOME"]
print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
subprocess.run(with_limit_of_before(show), check=True)
"""


def run(soft: int, hard: int) -> list[str]:
    limited = f'ulimit -S -n {soft} && ulimit -H -n {hard} && exec "$@"'
    words = ["sh", "-c", limited, "sh", sys.executable, "-c", PROGRAM]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_what_the_daemon_starts_has_the_limit_that_the_daemon_was_started_with() -> None:
    assert run(200, 300) == ["300 (300, 300)", "of one $HOME 200 300"]


def test_a_limit_that_cannot_be_raised_stays() -> None:
    assert run(300, 300) == ["300 (300, 300)", "of one $HOME 300 300"]
