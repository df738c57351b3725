"""Keeps the daemon as small as what it holds.

Loading a large workflow and planning its reset take several times the memory that stays. The C library's allocator
would keep what is freed: blocks above a threshold that it raises by itself, and an arena for each thread.
"""

import ctypes
import gc

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
