"""Paths as a blob, and the plain scan that others are measured against."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.files.observation import ABSENT, SECONDS_LIMIT, UNKNOWN, Paths, scan_now

names = st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(lambda n: b"/" + n))


@given(names)
def test_paths_come_back_as_they_went_in(strings: list[bytes]) -> None:
    paths = Paths.from_strings(strings)
    assert [os.fsencode(paths[index]) for index in range(len(paths))] == strings
    again = Paths.from_blob(paths.blob, paths.offsets)
    assert [again[index] for index in range(len(again))] == [paths[index] for index in range(len(paths))]


@given(names.filter(bool), st.data())
def test_gathered_paths_follow_the_indices(strings: list[bytes], data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(strings) - 1)))
    gathered = Paths.from_strings(strings).gather(np.array(indices, dtype=np.int64))
    assert gathered.split(b"\0")[:-1] == [strings[index] for index in indices]


@pytest.mark.parametrize("bad", ["relative", "", "/with\0nul"])
def test_a_path_that_is_not_absolute_or_holds_a_nul_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        Paths.from_strings([bad])


def test_offsets_that_do_not_fit_their_blob_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Paths.from_blob(b"/a\0", np.array([0, 2]))


def test_an_index_out_of_range_raises() -> None:
    with pytest.raises(IndexError):
        Paths.from_strings(["/a"])[1]


def test_only_enoent_and_enotdir_mean_absent(tmp_path: Path) -> None:
    """SEMANTICS 4.8"""
    (tmp_path / "file").write_bytes(b"abc")
    os.utime(tmp_path / "file", ns=(1, 1234567890123456789))
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "link").symlink_to("file")
    names = ["file", "link", "missing", "dangling", "file/below", "loop", "x" * 300]
    observed = scan_now(Paths.from_strings([f"{tmp_path}/{name}" for name in names]))
    assert observed.size.tolist() == [3, 3, ABSENT, ABSENT, ABSENT, UNKNOWN, UNKNOWN]
    assert observed.mtime_ns.tolist() == [1234567890123456789] * 2 + [-1] * 5
    assert observed.errors == {
        5: "Too many levels of symbolic links (ELOOP)",
        6: "File name too long (ENAMETOOLONG)",
    }


def test_a_time_beyond_64_bits_is_held_at_the_last_that_fits(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.touch()
    os.utime(far, ns=(0, (SECONDS_LIMIT + 1000) * 10**9 + 5))
    observed = scan_now(Paths.from_strings([str(far)]))
    assert observed.mtime_ns.tolist() == [SECONDS_LIMIT * 10**9 + 5]
