"""Reading the contents of many files: right, in order, and never held up for ever (SEMANTICS 4.8, 4.9)."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

from torcd.core.observation import Contents
from torcd.core.state import NO_DIGEST, has_digest
from torcd.files import reading
from torcd.files.observation import ABSENT, NO_MTIME, UNKNOWN, Paths
from torcd.files.reading import BATCH, NO_ANSWER, Abandoned, Reader
from torcd.protocol.content import Content, read_content

OnChunk = Callable[[], object] | None


def everything(paths: Paths) -> np.ndarray:
    """The indices of all paths."""
    return np.arange(len(paths), dtype=np.int64)


def digest_of(contents: Contents, row: int) -> bytes:
    """The digest in a row."""
    return bytes(contents.digest[row].tobytes())


async def read(paths: Paths, **options: object) -> Contents:
    """Reads all paths; a test that hangs says where."""
    with trio.fail_after(20):
        return await Reader(**options).read(paths, everything(paths))  # type: ignore[arg-type]


# ---- right and in order ----


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1, 5 * BATCH + 7])
async def test_each_row_tells_of_its_file(tmp_path: Path, count: int, threads: int) -> None:
    names = [tmp_path / f"file {number}" for number in range(count)]
    for number, name in enumerate(names):
        if number % 5:
            name.write_bytes(b"%d" % (number % 7))
    contents = await read(Paths.from_strings([str(name) for name in names]), threads=threads)
    assert len(contents.digest) == len(contents.size) == count
    for number, name in enumerate(names):
        if number % 5:
            found = read_content(name)
            assert digest_of(contents, number) == found.digest
            assert (contents.mtime_ns[number], contents.size[number]) == (found.mtime_ns, found.size)
        else:
            assert (contents.mtime_ns[number], contents.size[number]) == (NO_MTIME, ABSENT)
            assert contents.digest[number] == NO_DIGEST
    assert contents.errors == {}


async def test_only_the_files_that_are_asked_for_are_read_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)
    paths = Paths.from_strings([f"{tmp_path}/{name}" for name in "abc"])
    contents = await Reader().read(paths, np.array([2, 0], dtype=np.int64))
    assert [digest_of(contents, row) for row in (0, 1)] == [read_content(tmp_path / name).digest for name in "ca"]


async def test_what_a_file_is_decides_what_is_told(tmp_path: Path) -> None:
    """SEMANTICS 4.8: only ENOENT and ENOTDIR mean absent."""
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("/proc/self/mem")
    names = ["file", "directory", "pipe", "missing", "file/below", "loop", "broken", "x" * 300]
    contents = await read(Paths.from_strings([f"{tmp_path}/{name}" for name in names]))
    size = (tmp_path / "directory").stat().st_size
    assert contents.size.tolist() == [3, size, 0, ABSENT, ABSENT, UNKNOWN, UNKNOWN, UNKNOWN]
    assert has_digest(contents.digest).tolist() == [True, *[False] * 7]
    assert contents.errors == {
        5: "Too many levels of symbolic links (ELOOP)",
        6: "Input/output error (EIO)",
        7: "File name too long (ENAMETOOLONG)",
    }


async def test_a_file_that_does_not_keep_still_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    stop = threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 1000)
                if file.tell() > 10**7:
                    file.truncate(0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with trio.fail_after(20):
            while True:  # at times a reader is luckier than the writer
                contents = await read(Paths.from_strings([str(path)]))
                if contents.errors:
                    break
    finally:
        stop.set()
        writer.join()
    assert contents.size.tolist() == [UNKNOWN]
    assert "changed while it was read" in contents.errors[0]


async def test_times_beyond_what_64_bits_hold_are_held_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a scan: or each look would see another time than the record."""
    monkeypatch.setattr(reading, "read_content", lambda name, on_chunk: Content(10**30, 1, bytes(range(16)), False))
    contents = await read(Paths.from_strings(["/a"]))
    assert contents.mtime_ns.tolist() == [(2**63 // 10**9 - 1) * 10**9]


async def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    names = [tmp_path / str(number) for number in range(2 * BATCH + 1)]
    for name in names:
        name.touch()
    told: list[tuple[int, int]] = []
    paths = Paths.from_strings([str(name) for name in names])
    await Reader(threads=1).read(paths, everything(paths), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(BATCH, len(names)), (2 * BATCH, len(names)), (len(names), len(names))]


async def test_a_bug_in_reading_is_no_unknown_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: bytes, on_chunk: OnChunk) -> Content:
        raise ZeroDivisionError

    monkeypatch.setattr(reading, "read_content", fail)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await read(Paths.from_strings(["/a"]))


# ---- what hangs ----


class Hanging:
    """Has the reading of a file of the name `hangs` not end before it is released."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self.released = threading.Event()
        self._clock = clock
        self._names: list[bytes] = []

    def read_content(self, name: bytes, on_chunk: OnChunk) -> Content:
        if name.endswith(b"hangs"):
            self._names.append(name)
            self.released.wait(60)
        return read_content(name, on_chunk)

    async def read(self, reader: Reader, paths: Paths) -> Contents:
        """Reads all paths; time passes only while each thread hangs, however slow the machine is."""

        async def pass_time() -> None:
            while True:
                await trio.testing.wait_all_tasks_blocked(0.001)
                if reader._limiter.borrowed_tokens == len(self._names):
                    self._clock.jump(reading.LOOK_INTERVAL_S)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_time)
            contents = await reader.read(paths, everything(paths))
            nursery.cancel_scope.cancel()
        return contents


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock) -> Iterator[Hanging]:
    hangs = Hanging(mock_clock)
    monkeypatch.setattr(reading, "read_content", hangs.read_content)
    yield hangs
    hangs.released.set()


def some_files(directory: Path, *names: str) -> Paths:
    """Files that are there."""
    for name in names:
        (directory / name).write_text(name)
    return Paths.from_strings([f"{directory}/{name}" for name in names])


async def test_a_file_that_gives_no_answer_is_unknown_and_the_others_are_read(
    tmp_path: Path, hanging: Hanging, mock_clock: trio.testing.MockClock
) -> None:
    """SEMANTICS 4.8"""
    names = [f"{number:03}" for number in range(3 * BATCH)]
    names[BATCH + 2] = "hangs"
    paths = some_files(tmp_path, *names)
    contents = await hanging.read(Reader(threads=2, patience_s=5), paths)
    assert contents.errors[BATCH + 2] == NO_ANSWER
    assert contents.size[BATCH + 2] == UNKNOWN
    readable = [row for row in range(len(names)) if row != BATCH + 2]
    assert has_digest(contents.digest[readable]).all(), "no other file is held liable for it"
    assert 5 < trio.current_time() < 60


async def test_many_files_that_give_no_answer_cost_little_more_than_one(
    tmp_path: Path, hanging: Hanging, mock_clock: trio.testing.MockClock
) -> None:
    """The first shows that the file system is dead."""
    names = [f"{number:03}" for number in range(10 * BATCH)]
    for number in range(0, len(names), BATCH):
        names[number] = f"{number:03} hangs"
    paths = some_files(tmp_path, *names)
    contents = await hanging.read(Reader(threads=1, patience_s=5), paths)
    assert trio.current_time() < 20
    assert contents.errors[0] == NO_ANSWER


async def test_a_dead_file_system_is_given_up_and_leaves_threads_for_others(
    tmp_path: Path, hanging: Hanging, mock_clock: trio.testing.MockClock
) -> None:
    """SEMANTICS 4.8: whatever was not read is unknown."""
    dead = some_files(tmp_path, *(f"{number:03} hangs" for number in range(3 * BATCH)))
    sound = some_files(tmp_path, "sound")
    reader = Reader(threads=2, patience_s=5)
    contents = await hanging.read(reader, dead)
    assert trio.current_time() < 20
    assert set(contents.size.tolist()) == {UNKNOWN}
    assert contents.errors == dict.fromkeys(range(3 * BATCH), NO_ANSWER)
    assert (await hanging.read(reader, sound)).errors == {}


async def test_a_long_reading_that_gets_on_is_not_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """Patience is for what does not get on, however large a file is."""
    batch = reading.Batch(0, [b"/large", b"/small"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading._watch, batch, 5.0, nursery.cancel_scope)
        for _ in range(5):
            await trio.sleep(4)
            batch.moved += 1
        await trio.sleep(4)
        batch.told.append(OSError("odd"))
        await trio.sleep(4)
        assert not nursery.cancel_scope.cancel_called
        await trio.sleep_forever()
    assert 28 < trio.current_time() < 31


async def test_cancellation_is_immediate_and_stops_the_thread_at_its_next_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = some_files(tmp_path, "one", "two")
    begun, go_on, ended = trio.Event(), threading.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()
    read_names: list[bytes] = []

    def read_and_note(name: bytes, on_chunk: OnChunk) -> Content:
        assert on_chunk is not None
        read_names.append(name)
        token.run_sync_soon(begun.set)
        go_on.wait(30)
        try:
            on_chunk()
        except Abandoned:
            ended.set()
            raise
        raise AssertionError("it was not stopped")

    monkeypatch.setattr(reading, "read_content", read_and_note)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Reader(threads=1).read, paths, everything(paths))
            await begun.wait()
            nursery.cancel_scope.cancel()
    go_on.set()
    assert ended.wait(10)
    assert read_names == [os.fsencode(paths[0])], "the second file is not begun"


async def test_one_reader_serves_several_readings_at_once(tmp_path: Path) -> None:
    paths = some_files(tmp_path, *(f"{number}" for number in range(3 * BATCH)))
    reader, found = Reader(threads=2), []

    async def one() -> None:
        found.append(await reader.read(paths, everything(paths)))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
    assert len({contents.digest.tobytes() for contents in found}) == 1


async def test_readings_after_one_that_hangs_are_not_held_up_by_it(
    tmp_path: Path, hanging: Hanging, mock_clock: trio.testing.MockClock
) -> None:
    """Its thread is lost until the file system answers; there are more."""
    reader = Reader(threads=1, patience_s=5)
    dead, sound = some_files(tmp_path, "hangs"), some_files(tmp_path, "sound")
    for _ in range(2):
        assert (await hanging.read(reader, dead)).errors == {0: NO_ANSWER}
        assert (await hanging.read(reader, sound)).errors == {}


async def test_the_event_loop_goes_on_while_a_large_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    paths = Paths.from_strings([str(path)])
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await trio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        contents = await Reader().read(paths, everything(paths))
        nursery.cancel_scope.cancel()
    assert has_digest(contents.digest).all()
    assert len(gaps) > 5


def test_an_error_without_a_number_keeps_its_text() -> None:
    collected = reading.Collected(2)
    told: list[Content | OSError] = [OSError("odd"), OSError(errno.EACCES, "forbidden")]
    collected.take(reading.Batch(0, [b"/a", b"/b"], told))
    assert collected.contents().errors == {0: "odd", 1: "Permission denied (EACCES)"}
