"""What a write-ahead log still holds, and what it must have held: whether committed transactions were lost.

SQLite takes what is valid at a log's beginning and forgets the rest without a word, since after a crash the rest
is as a rule a transaction that was never committed. Whether it was more than that is told here, from the files
alone, before SQLite opens them. Formats: https://www.sqlite.org/walformat.html; knows nothing of the database.
"""

from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

_HEADER = 32
_FRAME_HEADER = 24
_MAGIC = 0x377F0682  # the lowest bit: checksums of big-endian words
_FORMAT = 3007000
_INDEX_HEADER = 48  # it is there twice
_PIECE = 1000  # frames looked at together: 4 MB

Words = NDArray[np.uint32]


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The frames of a log file; one of no bytes, or of zeros only, has none."""

    is_readable: bool = True
    """Whether its header makes sense."""
    salt: bytes = b""
    """By which frames of this generation are told from older ones."""
    committed: int = 0
    """How many frames are valid, up to the last that ends a transaction."""
    broken_commits: int = 0
    """Of the frames after the valid ones, how many are of this generation and end a transaction."""


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What the log's index (`-shm`) says of the log."""

    salt: bytes
    committed: int
    """Frames that were committed, each on disk before it was counted."""
    copied: int
    """Of these, how many were copied into the database and are not needed any more."""


def read_index(path: Path) -> Index | None:
    """What a process of this boot left in an index; None when there is nothing that can be relied on."""
    try:
        data = path.read_bytes()[: 2 * _INDEX_HEADER + 4]
    except FileNotFoundError:
        return None
    first, second = data[:_INDEX_HEADER], data[_INDEX_HEADER : 2 * _INDEX_HEADER]
    if len(data) < 2 * _INDEX_HEADER + 4 or first != second or first[12] != 1:
        return None  # killed between the two, or never used
    words = np.frombuffer(data, dtype=np.uint32)  # of this machine's order
    if words[0] != _FORMAT:
        return None
    return Index(salt=first[32:40], committed=int(words[4]), copied=int(words[2 * _INDEX_HEADER // 4]))


def read_log(path: Path) -> Log:
    """What is valid in a log file, by its own checksums."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return Log()
    with file:
        header = file.read(_HEADER)
        if not header.strip(b"\0") and not any(piece.strip(b"\0") for piece in iter(lambda: file.read(1 << 20), b"")):
            return Log()
        if len(header) < _HEADER:
            return Log(is_readable=False)
        magic, version, page_size = (int(word) for word in np.frombuffer(header[:12], dtype=">u4"))
        is_sound = magic & ~1 == _MAGIC and version == _FORMAT and page_size & (page_size - 1) == 0
        if not is_sound or not 512 <= page_size <= 65536:
            return Log(is_readable=False)
        order = ">u4" if magic & 1 else "<u4"
        (state,) = _Checksum(6).follow((0, 0), np.frombuffer(header[:24], dtype=order).astype(np.uint32)[None])
        if state != _big_endian(header[24:]):
            return Log(is_readable=False)
        return _read_frames(file, _FRAME_HEADER + page_size, header[16:24], order, state)


def _read_frames(file: BinaryIO, size: int, salt: bytes, order: str, state: tuple[int, int]) -> Log:
    checksum = _Checksum(2 + (size - _FRAME_HEADER) // 4)
    valid = committed = broken_commits = 0
    is_broken = False
    while data := file.read(_PIECE * size):
        frames = np.frombuffer(data[: len(data) // size * size], dtype=np.uint8).reshape(-1, size)
        headers = frames[:, :_FRAME_HEADER].copy().view(">u4")
        ends = headers[:, 1] != 0
        is_ours = (frames[:, 8:16] == np.frombuffer(salt, dtype=np.uint8)).all(axis=1) & (headers[:, 0] != 0)
        place = 0
        if not is_broken:
            words = np.hstack((frames[:, :8], frames[:, _FRAME_HEADER:])).view(order).astype(np.uint32)
            for found in checksum.follow(state, words):
                is_broken = not is_ours[place] or found != (int(headers[place, 4]), int(headers[place, 5]))
                if is_broken:
                    break
                state = found
                place += 1
                committed = valid + place if ends[place - 1] else committed
        broken_commits += int((ends & is_ours)[place:].sum())
        valid += place
    return Log(salt=salt, committed=committed, broken_commits=broken_commits)


def _big_endian(pair: bytes) -> tuple[int, int]:
    return int.from_bytes(pair[:4], "big"), int.from_bytes(pair[4:], "big")


class _Checksum:
    """SQLite's checksum of so many words, for many rows of words at once.

    Each pair (x, y) of words takes (s, t) to (s + t + x, s + 2t + x + y), modulo 2**32. That is linear: the
    contribution of a row is a product with fixed weights, and only its sum with what came before goes in order.
    """

    def __init__(self, count: int) -> None:
        weights = np.empty((2, count), dtype=np.uint32)
        power = (1, 0, 0, 1)  # of the matrix (1 1; 1 2)
        for place in range(count - 2, -1, -2):
            a, b, c, d = power
            weights[:, place] = (a + b) & 0xFFFFFFFF, (c + d) & 0xFFFFFFFF
            weights[:, place + 1] = b, d
            power = tuple(n & 0xFFFFFFFF for n in (a + b, a + 2 * b, c + d, c + 2 * d))  # type: ignore[assignment]
        self._weights = weights
        self._power = power

    def follow(self, state: tuple[int, int], rows: Words) -> list[tuple[int, int]]:
        """The checksums after each row, beginning with the one before the first."""
        a, b, c, d = self._power
        states = []
        for x, y in (rows @ self._weights.T).tolist():
            s, t = state
            state = (a * s + b * t + x) & 0xFFFFFFFF, (c * s + d * t + y) & 0xFFFFFFFF
            states.append(state)
        return states


def count_lost(log: Log, index: Index | None) -> str | None:
    """What a log lost that had been committed, in words; None where nothing says so.

    After a crash at most one transaction, the one that was being written, is there and not valid. The index is
    to be given when it is of this boot: else the disk may have an older state of it.
    """
    if index is not None:
        lost = index.committed > index.copied and (log.salt != index.salt or log.committed < index.committed)
        if not lost:
            return None
        left = log.committed if log.salt == index.salt else 0
        return f"of {index.committed} pages that were committed to it, {left} can be read"
    if not log.is_readable:
        return "its beginning cannot be read"
    if log.broken_commits > 1:
        return f"after {log.committed} pages it is broken, and {log.broken_commits} transactions follow"
    return None
