"""Keeps the daemon as small as what it holds.

Loading a large workflow and planning its reset take several times the memory that stays. The C library's allocator
would keep what is freed: blocks above a threshold that it raises by itself, and an arena for each thread.
"""

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

import trio

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h
MAPPED_BYTES = 512 * 1024
"""Blocks from this size on are mapped one by one, and go back to the system when they are freed."""
ARENAS = 2
GC_THRESHOLD = (100_000, 50, 100)
"""Little here is cyclic, and a large specification is millions of objects: collect seldom."""


COLLECT_S = 20.0
"""Between full collections, if there was anything to do: a connection that has gone is some 40 KB of cycles."""

FEW_OBJECTS = 5_000
"""An idle daemon makes fewer between two looks, and collects nothing."""

COLLECT_SHARE = 100
"""A collection that takes long, with much in memory, is followed by a pause of so many times its length."""


def set_up_memory() -> None:
    """Called once, first. Without the GNU C library only the garbage collector is set."""
    gc.set_threshold(*GC_THRESHOLD)
    gc.freeze()  # what was imported lives as long as the process, and need not be looked at again
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        library.mallopt(M_ARENA_MAX, ARENAS)


async def collect_regularly() -> Never:
    """Has what is cyclic freed now and then: by itself the collector would look at what is old almost never."""
    pause_s = COLLECT_S
    while True:
        await trio.sleep(pause_s)
        pause_s = COLLECT_S
        young, middle, old = gc.get_count()
        if gc.isenabled() and (young > FEW_OBJECTS or middle or old):
            began = time.perf_counter()
            gc.collect()
            _give_back()
            pause_s = max(COLLECT_S, COLLECT_SHARE * (time.perf_counter() - began))


def _give_back() -> None:
    """Has the C library return what is free in the middle of its heap: between a thousand connections that come and go
    it would grow for ever."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


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
