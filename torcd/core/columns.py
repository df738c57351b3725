"""Columns of integers, packed for storage."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


class Column(msgspec.Struct, frozen=True, gc=False):
    """Integers in as few bytes as they need: `low` plus unsigned little-endian numbers of `width` bytes.

    `width` 0: all are `low`.
    """

    count: int
    low: int
    width: int
    data: bytes

    def values(self) -> Int64:
        """The integers."""
        if self.width == 0:
            return np.full(self.count, self.low, dtype=np.int64)
        return np.frombuffer(self.data, dtype=f"<u{self.width}").astype(np.int64) + self.low


def pack_column(values: NDArray[np.integer[Any]]) -> Column:
    """The column of some integers."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    width = next(width for width in (0, 1, 2, 4, 8) if high - low < 1 << 8 * width)
    data = (values.astype(np.int64, copy=False) - low).astype(f"<u{width}").tobytes() if width else b""
    return Column(len(values), low, width, data)
