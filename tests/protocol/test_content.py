"""Digests of files: the same for daemon and worker, for ever, and never a wait for somebody else (SEMANTICS 4.9)."""

import errno
import os
import socket
import time
from pathlib import Path

import pytest

from torcd.protocol import content
from torcd.protocol.content import (
    CHUNK_BYTES,
    COARSE_GRAIN_NS,
    DIGEST_BYTES,
    FINE_GRAIN_NS,
    MOST_READS,
    Unsettled,
    grain_ns,
    is_racy,
    read_content,
)

LONG_AGO_NS = 1_234_567_890_123_456_789

GOLDEN = {
    b"": "af1349b9f5f9a1a6a0404dea36dcc949",
    b"abc": "6437b3ac38465133ffb63b75273a8db5",
    (bytes(range(251)) * 408)[:102400]: "bc3e3d41a1146b069abffad3c0d44860",
}
"""BLAKE3 (the first and the last are in its official test vectors), the first 16 bytes. They are kept in databases and
so never change."""


@pytest.mark.parametrize("data", list(GOLDEN), ids=["empty", "abc", "100 KiB"])
def test_a_digest_is_the_beginning_of_blake3(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    found = read_content(path)
    assert found.digest.hex() == GOLDEN[data]
    assert len(found.digest) == DIGEST_BYTES
    assert (found.mtime_ns, found.size) == (path.stat().st_mtime_ns, len(data))


@pytest.mark.parametrize("size", [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_where_chunks_end_makes_no_difference(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    whole = read_content(path).digest
    monkeypatch.setattr(content, "CHUNK_BYTES", 1000)
    assert read_content(path).digest == whole


def test_names_of_all_bytes_and_symbolic_links_are_followed(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\n name"
    Path(os.fsdecode(name)).write_bytes(b"abc")
    (tmp_path / "link").symlink_to(os.fsdecode(name))
    assert read_content(name).digest == read_content(tmp_path / "link").digest == bytes.fromhex(GOLDEN[b"abc"])


# ---- the racy window ----


def test_a_file_that_was_just_written_is_racy_and_an_old_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    now = time.time_ns()
    os.utime(path, ns=(now, now | 1))
    assert read_content(path).is_racy
    os.utime(path, ns=(1, LONG_AGO_NS))
    assert not read_content(path).is_racy


def test_a_time_in_the_future_is_racy(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, time.time_ns() + 10**12))
    assert read_content(path).is_racy


def test_the_window_is_as_wide_as_the_grain_of_the_clock_that_made_the_time() -> None:
    whole = 1_700_000_000 * 10**9
    for mtime_ns, grain in ((whole, COARSE_GRAIN_NS), (whole + 1, FINE_GRAIN_NS), (whole + 5 * 10**8, FINE_GRAIN_NS)):
        assert grain_ns(mtime_ns) == grain
        assert is_racy(mtime_ns, mtime_ns)
        assert is_racy(mtime_ns, mtime_ns + grain - 1)
        assert not is_racy(mtime_ns, mtime_ns + grain)


# ---- what is no regular file ----


def test_a_directory_has_no_digest(tmp_path: Path) -> None:
    found = read_content(tmp_path)
    status = tmp_path.stat()
    assert (found.digest, found.mtime_ns, found.size) == (b"", status.st_mtime_ns, status.st_size)


def test_a_pipe_has_no_digest_and_nobody_waits_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_content(tmp_path / "pipe").digest == b""


def test_a_socket_has_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert read_content("socket").digest == b""


def test_what_is_no_regular_file_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits to write into a pipe would be let go, and then find nobody to write to; a tape would be wound."""
    os.mkfifo(tmp_path / "pipe")
    opened = []
    monkeypatch.setattr(content.os, "open", lambda *arguments: opened.append(arguments))
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        assert read_content(path).digest == b""
    assert opened == []


# ---- what goes wrong ----


@pytest.mark.parametrize("name", ["missing", "dangling", "file/below"])
def test_what_is_not_there_is_told_by_the_error(tmp_path: Path, name: str) -> None:
    """SEMANTICS 4.8"""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        read_content(tmp_path / name)


def test_an_error_while_reading_is_told(tmp_path: Path) -> None:
    """A regular file of which the first page cannot be read."""
    (tmp_path / "file").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output") as error:
        read_content(tmp_path / "file")
    assert error.value.errno == errno.EIO


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0)
    with pytest.raises(PermissionError):
        read_content(tmp_path / "file")


def test_a_file_that_is_written_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    os.utime(path, ns=(1, LONG_AGO_NS))
    calls = 0

    def write_once() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            path.write_bytes(b"abc")

    found = read_content(path, write_once)
    assert found.digest.hex() == GOLDEN[b"abc"]
    assert (found.mtime_ns, found.size) == (path.stat().st_mtime_ns, 3)
    assert found.is_racy


@pytest.mark.parametrize("step", [1, 10, 25])
def test_a_file_that_never_keeps_still_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """However fast it grows while it is read."""
    monkeypatch.setattr(content, "CHUNK_BYTES", 10)
    path = tmp_path / "file"
    path.write_bytes(b"")
    asked = 0

    def grow() -> None:
        nonlocal asked
        asked += 1
        assert asked < 100
        with path.open("ab") as file:
            file.write(bytes(step))

    with pytest.raises(Unsettled, match=f"it changed while it was read, {MOST_READS} times") as error:
        read_content(path, grow)
    assert isinstance(error.value, OSError)


def test_a_file_that_another_one_replaces_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    """Time, size and digest are those of one file."""
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"abc")
    other.write_bytes(b"something else")
    before = path.stat()
    found = read_content(path, lambda: other.exists() and os.replace(other, path))
    assert (found.digest.hex(), found.size, found.mtime_ns) == (GOLDEN[b"abc"], 3, before.st_mtime_ns)


def test_whoever_is_asked_before_each_chunk_may_stop_the_reading_and_the_file_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "CHUNK_BYTES", 10)
    path = tmp_path / "file"
    path.write_bytes(bytes(25))
    asked = []
    read_content(path, lambda: asked.append(count_open(path)))
    assert asked == [1] * 4, "three chunks and the end"

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        read_content(path, stop)
    assert count_open(path) == 0


def count_open(path: Path) -> int:
    """How many descriptors of this process are of that file."""
    return sum(os.path.realpath(f"/proc/self/fd/{name}") == str(path) for name in os.listdir("/proc/self/fd"))
