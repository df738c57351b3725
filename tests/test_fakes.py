"""The fake disk and scanner behave as a directory and the real scan do."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeDisk, FakeScanner

from torcd.files.observation import UNKNOWN, Paths, scan_names


def observe_both(disk: FakeDisk, directory: Path, names: list[str]) -> tuple[list, list]:
    """For each name whether it is absent, and its size: (as the fake, as the real scan sees it)."""
    fake = disk.observe([f"{directory}/{name}" for name in names])
    real = scan_names([os.fsencode(directory / name) for name in names])
    return [fake.size.tolist(), (fake.mtime_ns == -1).tolist()], [real.size.tolist(), (real.mtime_ns == -1).tolist()]


def test_the_fake_disk_shows_what_a_real_directory_shows(tmp_path: Path) -> None:
    disk = FakeDisk()
    names = ["written", "touched", "deleted", "never"]
    for name in ("written", "deleted"):
        disk.write(f"{tmp_path}/{name}", size=3)
        (tmp_path / name).write_text("abc")
    disk.touch(f"{tmp_path}/touched")
    (tmp_path / "touched").touch()
    disk.delete(f"{tmp_path}/deleted")
    (tmp_path / "deleted").unlink()
    fake, real = observe_both(disk, tmp_path, names)
    assert fake == real


def test_a_write_and_a_touch_change_the_time_and_restoring_brings_it_back(tmp_path: Path) -> None:
    disk = FakeDisk()
    disk.write("a")
    first = disk.stat("a")
    disk.touch("a")
    second = disk.stat("a")
    assert first is not None
    assert second is not None
    assert second[0] > first[0]
    assert second[1] == first[1]
    disk.restore("a", *first)
    assert disk.stat("a") == first


def test_an_error_is_unknown_and_its_text_is_that_of_the_real_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FakeDisk()
    path = str(tmp_path / "secret")
    disk.write(path)
    disk.fail(path, errno.EACCES)

    def refuse(name: bytes) -> None:
        raise PermissionError(errno.EACCES, "no", name)

    monkeypatch.setattr(os, "stat", refuse)
    real, fake = scan_names([os.fsencode(path)]), disk.observe([path])
    assert fake.errors == real.errors
    assert fake.size.tolist() == real.size.tolist() == [UNKNOWN]
    disk.mend(path)
    assert disk.observe([path]).errors == {}


async def test_the_fake_scanner_looks_at_the_paths_it_is_asked_for() -> None:
    disk = FakeDisk()
    disk.write("/d/a", size=1)
    disk.write("/d/b", size=2)
    scanner, told = FakeScanner(disk), []
    seen = await scanner.scan(
        1,
        Paths.from_strings(["/d/a", "/d/b", "/d/c"]),
        indices=np.array([2, 1], dtype=np.int64),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert seen.size.tolist() == [-1, 2]
    assert scanner.scanned == [["/d/c", "/d/b"]]
    assert told == [(0, 2), (2, 2)]
