"""Paths of many files, what a look at the disk said about them, and the plain way to look.

Must not know workflows, jobs or processes. The rule of three states: only ENOENT and ENOTDIR mean that a
file is absent; every other error means that nothing is known about it.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

ABSENT = -1
"""Stands in `size` for a file that is not there."""
UNKNOWN = -2
"""Stands in `size` for a file about which the file system gave an error instead of an answer."""

NO_MTIME = -1
ABSENT_ERRNOS = (errno.ENOENT, errno.ENOTDIR)

SECONDS_LIMIT = (1 << 63) // 1_000_000_000 - 1
"""Largest number of seconds whose nanoseconds fit 64 bits (year 2262); times beyond are held there."""


@dataclass(frozen=True)
class Observed:
    """What a scan saw, in the order of the paths or indices that were asked for.

    `size` is `ABSENT` or `UNKNOWN` where there is none, and `mtime_ns` then -1. `errors` has the error's text
    for each unknown file, under its place in the arrays.
    """

    mtime_ns: Int64s
    size: Int64s
    errors: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.size)


class Paths:
    """Absolute paths as one blob of NUL-terminated bytes with n + 1 offsets: half the memory of a list."""

    __slots__ = ("__weakref__", "blob", "offsets")

    def __init__(self, blob: bytes, offsets: Int64s) -> None:
        self.blob = blob
        self.offsets = offsets

    @classmethod
    def from_strings(cls, strings: Iterable[str | bytes]) -> "Paths":
        """The paths of a list. Raises ValueError for one that is relative or holds a NUL."""
        names = [os.fsencode(name) for name in strings]
        for name in names:
            if not name.startswith(b"/") or b"\0" in name:
                raise ValueError(f"not an absolute path: {name!r}")
        offsets = np.zeros(len(names) + 1, dtype=np.int64)
        np.cumsum([len(name) + 1 for name in names], out=offsets[1:])
        return cls(b"\0".join(names) + b"\0" if names else b"", offsets)

    @classmethod
    def from_blob(cls, blob: bytes, offsets: Int64s) -> "Paths":
        """Paths that already lie in a blob; `offsets` starts with 0 and ends with the blob's length."""
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(blob):
            raise ValueError("the offsets do not fit the blob")
        return cls(blob, np.ascontiguousarray(offsets, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return os.fsdecode(self.blob[self.offsets[index] : self.offsets[index + 1] - 1])

    def piece(self, start: int, stop: int) -> bytes:
        """The paths start ≤ i < stop, NUL-terminated."""
        return self.blob[self.offsets[start] : self.offsets[stop]]

    def gather(self, indices: Int64s) -> bytes:
        """The paths with these indices, in this order, NUL-terminated."""
        starts, stops = self.offsets[indices].tolist(), self.offsets[indices + 1].tolist()
        blob = self.blob
        return b"".join([blob[start:stop] for start, stop in zip(starts, stops, strict=True)])


def describe_error(number: int) -> str:
    """The text of an error number: "Permission denied (EACCES)"."""
    return f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"


def clamp_seconds(seconds: int) -> int:
    """The seconds of a time, held within what 64-bit nanoseconds can say."""
    return max(-SECONDS_LIMIT, min(SECONDS_LIMIT, seconds))


def scan_names(names: Sequence[bytes]) -> Observed:
    """Stats each path in this thread, following symbolic links."""
    mtimes, sizes = [NO_MTIME] * len(names), [ABSENT] * len(names)
    errors: dict[int, str] = {}
    for place, name in enumerate(names):
        try:
            status = os.stat(name)
        except OSError as error:
            if error.errno not in ABSENT_ERRNOS:
                sizes[place] = UNKNOWN
                errors[place] = describe_error(error.errno or errno.EIO)
            continue
        seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
        mtimes[place] = clamp_seconds(seconds) * 1_000_000_000 + nanoseconds
        sizes[place] = status.st_size
    return Observed(np.array(mtimes, dtype=np.int64), np.array(sizes, dtype=np.int64), errors)


def scan_now(paths: Paths, indices: Int64s | None = None) -> Observed:
    """Stats all paths, or those with these indices, one after the other in this thread."""
    blob = paths.blob if indices is None else paths.gather(indices)
    return scan_names(blob.split(b"\0")[:-1])
