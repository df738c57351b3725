"""Keeps the daemon as small as what it holds.

Loading a large workflow and planning its reset take several times the memory that stays. The C library's allocator
would keep what is freed: blocks above a threshold that it raises by itself, and an arena for each thread.
"""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h
MAPPED_BYTES = 512 * 1024
"""Blocks from this size on are mapped one by one, and go back to the system when they are freed."""
ARENAS = 2
GC_THRESHOLD = (100_000, 50, 100)
"""Little here is cyclic, and a large specification is millions of objects: collect seldom."""


def set_up_memory() -> None:
    """Called once, first. Without the GNU C library only the garbage collector is set."""
    gc.set_threshold(*GC_THRESHOLD)
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        library.mallopt(M_ARENA_MAX, ARENAS)


class CollectionPause:
    """Puts the garbage collector off while large pieces of work are done, by several tasks at a time.

    Going through millions of objects that are all in use, it would hold up everybody for a third of a second.
    """

    def __init__(self) -> None:
        self._holders = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is collected in the body, which drops what it made before it ends."""
        self._holders += 1
        gc.disable()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                gc.enable()
