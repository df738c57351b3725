"""How the content of a file is told from another: the digest that daemon and worker have to agree on.

Blocking; imports blake3 when it is called for.
"""

import os
import stat
import time
from collections.abc import Callable

import msgspec

DIGEST_BYTES = 16
"""Of BLAKE3's output, so many bytes are kept: a digest is only ever compared with one of the same file."""

CHUNK_BYTES = 1024 * 1024
"""Most that is read at once; between chunks a caller may stop the reading."""
SMALL_BYTES = 64 * 1024
"""And least: to make room for a whole chunk costs more than to read a small file."""

MOST_READS = 3
"""A file that changes while it is read is read anew so often."""

FINE_GRAIN_NS = 20_000_000
"""Writes closer together than this may leave the same mtime: twice the kernel's coarsest tick."""
COARSE_GRAIN_NS = 2_000_000_000
"""The same where times are whole seconds: file systems that keep no more than that, FAT every other second."""


class Content(msgspec.Struct, frozen=True, gc=False):
    """What a file is and holds. `digest` is empty for what is not a regular file: its content says nothing."""

    mtime_ns: int
    size: int
    digest: bytes
    is_racy: bool
    """It was read so soon after its mtime that a later write may have left the same time and size."""


class Unsettled(OSError):
    """The file changed while it was read, again and again."""


def grain_ns(mtime_ns: int) -> int:
    """How far apart writes have to be for their times to differ, as far as a time gives that away."""
    return FINE_GRAIN_NS if mtime_ns % 1_000_000_000 else COARSE_GRAIN_NS


def is_racy(mtime_ns: int, read_at_ns: int) -> bool:
    """Whether a write after `read_at_ns` (this machine's clock) may have left this mtime."""
    return mtime_ns > read_at_ns - grain_ns(mtime_ns)


def read_content(path: str | bytes | os.PathLike[str], on_chunk: Callable[[], object] | None = None) -> Content:
    """Reads a file; follows symbolic links. Raises OSError, also when it does not keep still (Unsettled).

    `on_chunk` is called before each chunk and may raise to stop. What is no regular file is not opened: whoever waits
    to write into a pipe would notice.
    """
    before, read_at_ns = os.stat(path), time.time_ns()
    if not stat.S_ISREG(before.st_mode):
        return _content(before, b"", read_at_ns)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(MOST_READS):
            read_at_ns = time.time_ns()
            digest = _read(descriptor, before.st_size, on_chunk)
            after = os.fstat(descriptor)
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                return _content(after, digest, read_at_ns)
            before = after
    finally:
        os.close(descriptor)
    raise Unsettled(f"it changed while it was read, {MOST_READS} times")


def _content(found: os.stat_result, digest: bytes, read_at_ns: int) -> Content:
    return Content(found.st_mtime_ns, found.st_size, digest, is_racy(found.st_mtime_ns, read_at_ns))


def _read(descriptor: int, size: int, on_chunk: Callable[[], object] | None) -> bytes:
    """Reads to the end, or until there was more than `size`: one that grows might have no end."""
    from blake3 import blake3

    hasher = blake3()
    offset = 0
    while offset <= size:
        if on_chunk is not None:
            on_chunk()
        chunk = os.pread(descriptor, min(CHUNK_BYTES, max(size + 1 - offset, SMALL_BYTES)), offset)
        if not chunk:
            break
        hasher.update(chunk)
        offset += len(chunk)
    return hasher.digest(DIGEST_BYTES)
