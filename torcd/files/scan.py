"""Looks at many files at once without holding up the event loop.

Few files are stat'ed in a thread. Many are cut into units, which helper processes take one after the other:
threads would only hand the GIL around (more of them make a local scan slower). On a file system whose stat
is slow the helpers themselves use threads. Which file belongs to which workflow, and what an observation
means, is none of this module's business.
"""

import logging
import os
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import trio

from torcd.files import stat_loop
from torcd.files.assembly import PATIENCE_S, Assembly, OnProgress
from torcd.files.lane import Lane, Unit, UnitQueue
from torcd.files.observation import ABSENT, UNKNOWN, Int64s, Observed, Paths, scan_names, scan_now
from torcd.files.reading import Reader
from torcd.files.stat_process import PROGRAM, HelperLost

__all__ = ["ABSENT", "UNKNOWN", "Observed", "Paths", "Scanner", "scan_now"]

logger = logging.getLogger(__name__)

FEW = 2000
"""So many files take a thread 5 ms; asking helpers, who may have to be started, would not be faster."""

MOST_HELPERS = 8
"""More would compete for the locks of the same directories."""

UNITS_PER_HELPER = 8
"""A helper that gets more of the processor takes over units of the others: the last ones end together."""
SMALLEST_UNIT = 1024
LARGEST_GATHERED_UNIT = 4096
"""Paths picked by index are put together in the event loop, 0.15 µs each."""

KEPT_KEYS = 8
"""Workflows whose paths helpers keep between scans."""

MOST_ATTEMPTS = 2
"""A unit that has cost so many helpers is stat'ed in a thread."""

THREADS = 8
"""Most small scans at once; a stat that hangs holds its thread until the file system answers."""


class Scanner:
    """Scans for all workflows of the daemon. Helpers start with the first large scan and end when idle."""

    def __init__(self, *, helpers: int | None = None, program: Path = PROGRAM, patience_s: float = PATIENCE_S) -> None:
        self._kept: OrderedDict[Hashable, tuple[weakref.ref[Paths], list[Unit]]] = OrderedDict()
        self._kept_numbers: set[int] = set()
        self._numbers = count(1)
        wanted = helpers or min(MOST_HELPERS, len(os.sched_getaffinity(0)))
        self._lanes = [Lane(program, self._kept_numbers) for _ in range(wanted)]
        self._patience_s = patience_s
        self._threads = trio.CapacityLimiter(THREADS)
        self._thread_hangs = False
        self.read = Reader(patience_s=patience_s).read
        """Looks into files, see `Reader.read`."""

    async def scan(
        self,
        key: Hashable,
        paths: Paths,
        *,
        indices: Int64s | None = None,
        on_progress: OnProgress | None = None,
    ) -> Observed:
        """Observes all paths, or those with these indices, in that order.

        `key` says whose paths these are: helpers keep them for the next scan, as long as that comes with the
        same `Paths` object. A file that gives no answer in time is unknown. Cancellation is immediate; stats
        under way are abandoned, or killed with their helper.
        """
        total = len(paths) if indices is None else len(indices)
        assembly = Assembly(total, on_progress, self._patience_s)
        left = [Unit(0, 0, total)]
        if total > FEW or (total and self._thread_hangs):
            units = self._kept_units(key, paths) if indices is None else self._gathered_units(total)
            left = await self._scan_with_helpers(units, paths, indices, assembly)
        for unit in left:
            await self._scan_in_thread(unit, paths, indices, assembly)
        return assembly.finish()

    async def aclose(self) -> None:
        """Ends all helpers and waits for them, but not for ever. No scan may be under way."""
        with trio.CancelScope(shield=True):
            for lane in self._lanes:
                lane.discard()
            for lane in self._lanes:
                await lane.wait_ended()

    def helper_pids(self) -> list[int]:
        """The helper processes that were started."""
        return [lane.pid for lane in self._lanes if lane.pid is not None]

    def _spans(self, total: int, largest: int) -> list[tuple[int, int]]:
        share = -(-total // (len(self._lanes) * UNITS_PER_HELPER))
        step = max(SMALLEST_UNIT, min(largest, share))
        return [(start, min(start + step, total)) for start in range(0, total, step)]

    def _gathered_units(self, total: int) -> list[Unit]:
        return [Unit(0, start, stop) for start, stop in self._spans(total, LARGEST_GATHERED_UNIT)]

    def _kept_units(self, key: Hashable, paths: Paths) -> list[Unit]:
        """Units for all paths of a key: those of its last scan, if it is the same `Paths`."""
        reference, units = self._kept.pop(key, (None, []))
        if reference is None or reference() is not paths:
            spans = self._spans(len(paths), stat_loop.ROWS)
            units = [Unit(next(self._numbers), start, stop) for start, stop in spans]
        self._kept[key] = (weakref.ref(paths), units)
        for other in [other for other, (known, _) in self._kept.items() if known() is None]:
            del self._kept[other]
        while len(self._kept) > KEPT_KEYS:
            self._kept.popitem(last=False)
        self._kept_numbers.clear()
        self._kept_numbers.update(unit.number for _, kept in self._kept.values() for unit in kept)
        return [Unit(unit.number, unit.start, unit.stop) for unit in units]

    async def _scan_with_helpers(
        self, units: list[Unit], paths: Paths, indices: Int64s | None, assembly: Assembly
    ) -> list[Unit]:
        """Has units stat'ed by all helpers; answers those that no helper could do."""
        queue = UnitQueue(units, len(self._lanes))
        left: list[Unit] = []

        async def work(who: int, lane: Lane) -> None:
            while (unit := queue.take(who)) is not None:
                blob = partial(read_paths, unit, paths, indices)
                try:
                    rows = await lane.stat(unit, blob, assembly.patience_s, partial(assembly.on_rows, who))
                except HelperLost as error:
                    logger.warning("scan: %s", error)
                    unit.attempts += 1
                    if unit.attempts < MOST_ATTEMPTS:
                        queue.put_back(who, unit)
                    else:
                        left.append(unit)
                    continue
                if rows.stalled:
                    logger.warning("scan: no answer in time; some files are unknown")
                assembly.take_rows(unit.start, rows)
                assembly.on_done(who, unit.stop - unit.start)

        async with trio.open_nursery() as nursery:
            for who, lane in enumerate(self._lanes[: len(units)]):
                nursery.start_soon(work, who, lane)
        return left

    async def _scan_in_thread(self, unit: Unit, paths: Paths, indices: Int64s | None, assembly: Assembly) -> None:
        for start in range(unit.start, unit.stop, FEW):
            piece = Unit(0, start, min(start + FEW, unit.stop))
            names = read_paths(piece, paths, indices).split(b"\0")[:-1]
            observed = None
            with trio.move_on_after(assembly.patience_s):
                observed = await trio.to_thread.run_sync(
                    scan_names, names, abandon_on_cancel=True, limiter=self._threads
                )
            if observed is None:
                self._thread_hangs = True  # a thread cannot be killed: from now on helpers are asked
                assembly.take_timed_out(np.arange(piece.start, piece.stop))
            else:
                assembly.take_observed(piece.start, observed)
            assembly.on_done(-1, piece.stop - piece.start)


def read_paths(unit: Unit, paths: Paths, indices: Int64s | None) -> bytes:
    """The blob of a unit."""
    if indices is None:
        return paths.piece(unit.start, unit.stop)
    return paths.gather(indices[unit.start : unit.stop])
