"""Sets of ids as ranges: how mass changes are written to the database and told in events."""

import numpy as np
from numpy.typing import NDArray

from torcd.core.graph import sorted_unique


def find_ranges(ids: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The runs (first, last) of consecutive numbers in sorted ids."""
    if not len(ids):
        return []
    cuts = np.flatnonzero(np.diff(ids) != 1)
    first = ids[np.concatenate(([0], cuts + 1))]
    last = ids[np.concatenate((cuts, [len(ids) - 1]))]
    return list(zip(first.tolist(), last.tolist(), strict=True))


def find_blocks(ids: NDArray[np.int64], most: int, gap: int | None = None) -> list[tuple[int, int]]:
    """Blocks (first, last) that hold all of sorted ids, at most so many each.

    With `gap` a block also ends where more than so many numbers are missing.
    """
    if not len(ids):
        return []
    cuts = np.arange(most, len(ids), most)
    if gap is not None:
        cuts = sorted_unique(np.concatenate((cuts, np.flatnonzero(np.diff(ids) > gap + 1) + 1)))
    first = ids[np.concatenate(([0], cuts))]
    last = ids[np.concatenate((cuts, [len(ids)])) - 1]
    return list(zip(first.tolist(), last.tolist(), strict=True))


def format_ranges(ids: NDArray[np.int64], most: int = 1000) -> str:
    """Sorted ids as "1-5,8"; after `most` runs it ends in an ellipsis."""
    cuts = np.flatnonzero(np.diff(ids) != 1)
    shown = ids if len(cuts) < most else ids[: cuts[most - 1] + 1]
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in find_ranges(shown))
    return text + ",…" if len(shown) < len(ids) else text
