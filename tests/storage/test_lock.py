"""One holder at a time, whatever happens to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from torcd.protocol.errors import Conflict, Refused
from torcd.storage.lock import acquire_lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "torc.db.lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    program = """
import sys
from pathlib import Path
from torcd.storage.lock import acquire_lock
lock = acquire_lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_the_file_and_its_directory_are_made_for_the_owner_alone(path: Path) -> None:
    with acquire_lock(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.read_text().split()[0] == str(os.getpid())


def test_a_second_process_is_told_who_holds_it(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Conflict) as caught:
        acquire_lock(path)
    assert str(path) in caught.value.message
    assert f"process {holder.pid} holds it" in caught.value.message
    assert path.read_text().split()[0] == str(holder.pid)


def test_a_killed_holder_leaves_the_lock_free(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with acquire_lock(path):
        assert path.read_text().split()[0] == str(os.getpid())


def test_a_lock_is_taken_once_even_within_a_process(path: Path) -> None:
    with acquire_lock(path), pytest.raises(Conflict):
        acquire_lock(path)
    acquire_lock(path).release()


def test_releasing_twice_is_fine(path: Path) -> None:
    lock = acquire_lock(path)
    lock.release()
    lock.release()


def test_a_started_program_does_not_inherit_the_lock(path: Path) -> None:
    lock = acquire_lock(path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.release()
        acquire_lock(path).release()
        child.kill()


def test_a_holder_that_wrote_nothing_is_another_process(path: Path, holder: subprocess.Popen[str]) -> None:
    path.write_text("")
    with pytest.raises(Conflict, match="another process holds it"):
        acquire_lock(path)


def test_a_holder_on_another_host_is_named(path: Path, holder: subprocess.Popen[str]) -> None:
    path.write_text("17 elsewhere\n")
    with pytest.raises(Conflict, match="process 17 on elsewhere holds it"):
        acquire_lock(path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot be opened"):
        acquire_lock(tmp_path / "file" / "torc.db.lock")


def test_a_lock_path_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="Is a directory"):
        acquire_lock(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Refused, match="Permission denied"):
        acquire_lock(tmp_path / "torc.db.lock")


# ---- whether the database was left open ----


def test_a_database_that_a_killed_process_had_open_was_left_open(path: Path) -> None:
    lock = acquire_lock(path)
    assert not lock.was_left_open
    lock.note_opened()
    lock.release()
    again = acquire_lock(path)
    assert again.was_left_open
    again.release()  # without having opened it: so it stays
    last = acquire_lock(path)
    assert last.was_left_open
    last.note_closed()
    last.release()
    with acquire_lock(path) as lock:
        assert not lock.was_left_open


def test_what_was_left_open_before_the_machine_was_started_anew_does_not_count(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("17 here 7f1f1b5e-0000-0000-0000-000000000000\n")
    for _ in range(2):
        with acquire_lock(path) as lock:
            assert not lock.was_left_open
