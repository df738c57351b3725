"""Logs are new files, whatever lies in their place (SEMANTICS 8.2)."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from torcctl import logs
from torcctl.worker.log_files import check_links, create_log
from torcd.protocol.errors import NotFound, Refused


def written(path: Path) -> None:
    descriptor = create_log(str(path))
    os.write(descriptor, b"log")
    os.close(descriptor)
    assert stat.S_ISREG(path.lstat().st_mode)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert path.read_bytes() == b"log"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A job could plant one that leads to any file of its user."""
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "symbolic").symlink_to(tmp_path / "precious")
    (tmp_path / "hard").hardlink_to(tmp_path / "precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    for name in ("symbolic", "hard", "dangling"):
        written(tmp_path / name)
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_nobody_waits_for_the_reader_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    written(tmp_path / "pipe")


def test_a_directory_in_the_place_of_a_log_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(OSError, match="directory"):
        create_log(str(tmp_path / "log"))


def test_only_the_links_of_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / "7").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".torc").symlink_to(tmp_path / "disk")
    directory, base = str(tmp_path / "work" / ".torc" / "7"), str(tmp_path / "work")
    check_links(directory, base)
    real = os.lstat

    def lstat_of_another_user(path: str) -> object:
        found = real(path)
        return SimpleNamespace(st_mode=found.st_mode, st_uid=4711)

    monkeypatch.setattr(os, "lstat", lstat_of_another_user)
    with pytest.raises(PermissionError, match="another user"):
        check_links(directory, base)
    check_links(str(tmp_path / "disk" / "7"), base)  # a directory of theirs is where they let us write


def test_only_files_are_shown_as_logs(tmp_path: Path) -> None:
    """`jobs logs` reads what a worker has made, and neither waits nor follows."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(Refused, match="no worker has made"):
            logs.open_log(str(path))
    with logs.open_log(str(tmp_path / "link"), follows_links=True) as file:
        assert file.read() == b"secret"
    with pytest.raises(NotFound, match="cannot be read"):
        logs.Tail(str(tmp_path / ("a" * 300))).copy()
