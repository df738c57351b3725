"""What a daemon that does not answer is said to be, and who it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from torcctl.condition import explain_silence, find_holder, process_state


@pytest.mark.parametrize(
    ("state", "words", "advice"),
    [("T", "is stopped", "kill -CONT 7"), ("D", "waits in the kernel", "df"), ("R", "did not answer", "kill -ABRT 7")],
)
def test_a_silent_daemon_is_told_by_the_state_of_its_process(state: str, words: str, advice: str) -> None:
    found = explain_silence(7, state, "no answer")
    assert words in found.problem
    assert advice in found.advice


def test_a_silent_daemon_that_cannot_be_found_is_told_by_what_happened() -> None:
    assert "no answer" in explain_silence(None, "", "no answer").problem


def test_the_holder_of_a_lock_is_a_daemon_that_lives(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert find_holder(lock) is None
    lock.write_text(f"{os.getpid()} host\n")
    assert find_holder(lock) is None  # it is no daemon
    lock.write_text("999999999 host\n")
    assert find_holder(lock) is None
    pretender = subprocess.Popen([sys.executable, "-c", "input()", "torcd"], stdin=subprocess.PIPE)
    try:
        lock.write_text(f"{pretender.pid} host\n")
        assert find_holder(lock) == pretender.pid
        assert process_state(pretender.pid) in "RSD"
    finally:
        pretender.communicate()
    assert process_state(pretender.pid) == ""
