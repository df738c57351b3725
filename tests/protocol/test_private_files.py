"""Private files: whole or not at all, and believed only when nobody else can have read or written them."""

import os
import stat
from pathlib import Path

import pytest

from torcd.protocol.errors import Refused
from torcd.protocol.private_files import read_private, write_private


def test_what_was_written_is_read_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = os.umask(0)
    try:
        write_private(path, b"one")
    finally:
        os.umask(before)
    write_private(path, b"two")
    assert read_private(path, 3) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"old")
    (tmp_path / "key.new").write_bytes(b"hal")
    assert read_private(path, 10) == b"old"
    write_private(path, b"new")
    assert read_private(path, 10) == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    write_private(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"new")
    assert read_private(path, 10) == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o601])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_private(path, b"secret")
    path.chmod(mode)
    with pytest.raises(Refused, match=f"{mode:04o}") as caught:
        read_private(path, 10)
    assert "secret" not in caught.value.message


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    write_private(path, b"x")
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(Refused, match="belongs to user"):
        read_private(path, 10)


def test_links_pipes_and_directories_are_not_followed_or_waited_for(tmp_path: Path) -> None:
    write_private(tmp_path / "real", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(0o700)
    for name in ("link", "pipe", "directory"):
        with pytest.raises(Refused, match="remove it"):
            read_private(tmp_path / name, 10)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"x" * 11)
    with pytest.raises(Refused, match="more than 10 bytes"):
        read_private(tmp_path / "key", 10)


def test_a_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file" / "none"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            read_private(path, 10)
