"""The loop of a helper process, run in this one."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torcd.files import stat_loop
from torcd.files.assembly import Assembly
from torcd.files.observation import Observed, Paths, scan_now
from torcd.files.stat_loop import (
    COUNTERS,
    MEMORY_BYTES,
    ROWS,
    UNSEEN,
    StatLoop,
    find_native_stat,
    group_paths,
)
from torcd.files.stat_process import Rows


@pytest.fixture(autouse=True)
def _stay_here() -> Iterator[None]:
    """The loop leaves the working directory at /."""
    with contextlib.chdir("."):
        yield


def run_loop(paths: Paths, native: stat_loop.NativeStat | None) -> Observed:
    memory = bytearray(MEMORY_BYTES)
    words = np.frombuffer(memory, dtype=np.int64)
    seconds, nanoseconds, size, position = words[COUNTERS:].reshape(4, ROWS)[:, : len(paths)]
    size[:] = UNSEEN
    StatLoop(memoryview(memory), native).run(group_paths(paths.blob))
    assembly = Assembly(len(paths), None)
    assembly.take_rows(0, Rows(seconds, nanoseconds, size, position, stalled=False))
    assert words[0] == len(paths)
    return assembly.finish()


def assert_same(one: Observed, other: Observed) -> None:
    assert one.size.tolist() == other.size.tolist()
    assert one.mtime_ns.tolist() == other.mtime_ns.tolist()
    assert one.errors == other.errors


parts = st.one_of(
    st.sampled_from([b"a", b"b", b".", b"..", b"", b"loop", b"file", b"link", b"x" * 256]),
    st.binary(min_size=1, max_size=8).filter(lambda name: b"\0" not in name),
)


@given(st.lists(st.lists(parts, max_size=4), max_size=40), st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_loop_sees_what_the_plain_scan_sees(tmp_path: Path, wanted: list[list[bytes]], random: object) -> None:
    root = os.fsencode(tmp_path)
    with contextlib.suppress(FileExistsError):
        for directory in (b"a/b", b"b"):
            os.makedirs(os.path.join(root, directory))
        os.symlink("loop", tmp_path / "loop")
        os.symlink("a", tmp_path / "link")
    names = [b"/".join([root, *pieces]) for pieces in wanted]
    for name in names[::2]:
        with contextlib.suppress(OSError), open(name, "xb") as file:
            file.write(name)
    paths = Paths.from_strings(names)
    expected = scan_now(paths)
    assert_same(run_loop(paths, find_native_stat()), expected)
    assert_same(run_loop(paths, None), expected)


def test_this_machines_stat_is_understood() -> None:
    assert find_native_stat() is not None


def test_the_older_symbol_does_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ctypes

    real = ctypes.PyDLL(None)
    if not hasattr(real, "__xstat"):
        pytest.skip("this libc has no __xstat")

    monkeypatch.setattr(ctypes, "PyDLL", lambda name: SimpleNamespace(__xstat=real["__xstat"]))
    native = find_native_stat()
    assert native is not None
    (tmp_path / "file").write_bytes(b"12345")
    assert native.is_right(os.fsencode(tmp_path / "file"))


def test_a_layout_that_is_not_as_assumed_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stat_loop, "SIZE_WORD", 7)
    assert find_native_stat() is None


@pytest.mark.parametrize("extra", [0, 1, 300])
def test_paths_are_grouped_by_directory_and_none_is_lost(extra: int) -> None:
    names = [b"/d%d/f%d" % (place % 3, place) for place in range(40)]
    names += [b"/few/one", b"/dir/", b"/" + b"p/" * 2100 + b"x", b"/top"] + [b"/big/%d" % i for i in range(extra)]
    unit = group_paths(b"\0".join(names) + b"\0")
    seen = [name for group in unit.groups for name in group.absolute_names()]
    assert [names[position] for position in unit.positions] == seen
    assert sorted(unit.positions) == list(range(len(names)))
    assert max(group.count for group in unit.groups) <= stat_loop.GROUP
    assert [group.directory for group in unit.groups[:3]] == [b"/d0", b"/d1", b"/d2"]
    assert unit.groups[-1].directory == b""


class SlowStat:
    """A stat that takes a millisecond of a manual clock, and knows how many were under way at once."""

    def __init__(self) -> None:
        self._real = os.stat
        self._lock = threading.Lock()
        self._now = 0.0
        self.most = self._under_way = 0
        self._all_there = threading.Event()

    def monotonic(self) -> float:
        return self._now

    def __call__(self, name: bytes) -> os.stat_result:
        with self._lock:
            self._now += 0.001
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        if self.most == stat_loop.THREADS:
            self._all_there.set()
        elif threading.current_thread() is not threading.main_thread():
            self._all_there.wait(timeout=5)
        try:
            return self._real(name)
        finally:
            with self._lock:
                self._under_way -= 1


def test_a_slow_stat_is_done_by_many_threads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = stat_loop.SAMPLE + stat_loop.GROUP + stat_loop.THREADS * 8
    names = [tmp_path / f"{place:04}" for place in range(count)]
    for name in names[::2]:
        name.touch()
    paths = Paths.from_strings([str(name) for name in names])
    expected = scan_now(paths)
    slow = SlowStat()
    monkeypatch.setattr(os, "stat", slow)
    monkeypatch.setattr(stat_loop.time, "monotonic", slow.monotonic)
    observed = run_loop(paths, None)
    monkeypatch.undo()
    assert slow.most == stat_loop.THREADS
    assert_same(observed, expected)
