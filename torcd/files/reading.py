"""Reads the contents of many files, a few at a time in threads: hashing lets go of the interpreter's lock.

A file system that does not answer costs no more than a time-out; cancellation abandons what is under way.
"""

import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import trio

from torcd.core.observation import Contents
from torcd.core.state import DIGEST
from torcd.files.assembly import LESS_PATIENCE_S, PATIENCE_S, OnProgress
from torcd.files.observation import (
    ABSENT,
    ABSENT_ERRNOS,
    NO_MTIME,
    UNKNOWN,
    Int64s,
    Paths,
    clamp_seconds,
    describe_error,
)
from torcd.protocol.content import Content, read_content

BATCH = 64
"""Small files read in one hop to a thread: about a millisecond."""

LOOK_INTERVAL_S = 0.25
"""How often reading is looked at for signs of life."""

MOST_HANGS = 8
"""After so many files without an answer the rest of a reading is given up: each costs time, and a thread."""

MOST_THREADS = 64
"""Those that hang, perhaps for ever, included."""

NO_ANSWER = "no answer in time (ETIMEDOUT)"


class Abandoned(Exception):
    """Nobody waits for this file any more."""


@dataclass
class Batch:
    """Files that one thread reads; it stops when `is_abandoned`."""

    start: int
    names: Sequence[bytes]
    told: list[Content | OSError] = field(default_factory=list)
    moved: int = 0
    """Grows with every chunk."""
    is_abandoned: threading.Event = field(default_factory=threading.Event)

    def read(self) -> None:
        """In a thread."""
        for name in self.names:
            try:
                self.told.append(read_content(name, self._on_chunk))
            except OSError as error:
                self.told.append(error)
            except Abandoned:
                return

    def _on_chunk(self) -> None:
        self.moved += 1
        if self.is_abandoned.is_set():
            raise Abandoned


class Reader:
    """Reads files for all workflows of the daemon."""

    def __init__(self, *, threads: int | None = None, patience_s: float = PATIENCE_S) -> None:
        self._threads = threads or min(4, len(os.sched_getaffinity(0)))
        self._limiter = trio.CapacityLimiter(MOST_THREADS)
        self._patience_s = patience_s

    async def read(self, paths: Paths, files: Int64s, *, on_progress: OnProgress | None = None) -> Contents:
        """The contents of the files with these indices, in this order."""
        total, done, hangs = len(files), 0, 0
        collected = Collected(total)
        spans = deque((start, min(start + BATCH, total)) for start in range(0, total, BATCH))

        async def work() -> None:
            nonlocal done, hangs
            while spans and hangs < MOST_HANGS:
                start, stop = spans.popleft()
                batch = Batch(start, paths.gather(files[start:stop]).split(b"\0")[:-1])
                await self._read_batch(batch, min(self._patience_s, LESS_PATIENCE_S) if hangs else self._patience_s)
                reached = collected.take(batch)
                if start + reached < stop:  # the next one gives no answer; those behind it may
                    hangs += 1
                    reached += 1
                    if start + reached < stop:
                        spans.appendleft((start + reached, stop))
                done += reached
                if on_progress is not None:
                    on_progress(done, total)

        async with trio.open_nursery() as nursery:
            for _ in range(self._threads):
                nursery.start_soon(work)
        return collected.contents()

    async def _read_batch(self, batch: Batch, patience_s: float) -> None:
        """Returns when the thread is through, or does not get on any more."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, batch, patience_s, nursery.cancel_scope)
                await trio.to_thread.run_sync(batch.read, abandon_on_cancel=True, limiter=self._limiter)
                nursery.cancel_scope.cancel()
        finally:
            batch.is_abandoned.set()


async def _watch(batch: Batch, patience_s: float, scope: trio.CancelScope) -> None:
    """Cancels the scope once the batch does not get on any more."""
    seen, since = (-1, -1), trio.current_time()
    while True:
        await trio.sleep(LOOK_INTERVAL_S)
        now = (len(batch.told), batch.moved)
        if now != seen:
            seen, since = now, trio.current_time()
        elif trio.current_time() - since > patience_s:
            scope.cancel()


class Collected:
    """The columns while their batches come in. What no batch tells of is unknown."""

    def __init__(self, total: int) -> None:
        self._mtime_ns = np.full(total, NO_MTIME, dtype=np.int64)
        self._size = np.full(total, UNKNOWN, dtype=np.int64)
        self._digests = [b""] * total
        self._is_racy = np.zeros(total, dtype=np.bool_)
        self._errors = dict.fromkeys(range(total), NO_ANSWER)

    def take(self, batch: Batch) -> int:
        """Enters what a batch told so far; of how many of its files that was."""
        told = list(batch.told)
        for row, each in enumerate(told, batch.start):
            del self._errors[row]
            match each:
                case Content() as content:
                    seconds, nanoseconds = divmod(content.mtime_ns, 1_000_000_000)
                    self._mtime_ns[row] = clamp_seconds(seconds) * 1_000_000_000 + nanoseconds
                    self._size[row] = content.size
                    self._digests[row] = content.digest
                    self._is_racy[row] = content.is_racy
                case OSError() as error if error.errno in ABSENT_ERRNOS:
                    self._size[row] = ABSENT
                case OSError() as error:
                    self._errors[row] = describe_error(error.errno) if error.errno else str(error)
        return len(told)

    def contents(self) -> Contents:
        """All columns."""
        nothing = bytes(DIGEST.itemsize)
        digest = np.frombuffer(b"".join(each or nothing for each in self._digests), dtype=DIGEST)
        return Contents(self._mtime_ns, self._size, digest, self._is_racy, dict(sorted(self._errors.items())))
