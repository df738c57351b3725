"""The result of a scan while its pieces come in, in whatever order, from helpers and threads."""

import errno
from collections.abc import Callable

import numpy as np

from torcd.files import stat_loop
from torcd.files.observation import (
    ABSENT,
    ABSENT_ERRNOS,
    NO_MTIME,
    SECONDS_LIMIT,
    UNKNOWN,
    Int64s,
    Observed,
    describe_error,
)
from torcd.files.stat_process import Rows

PATIENCE_S = 30.0
"""Without any stat ending for so long, a file system is taken for dead."""
LESS_PATIENCE_S = 1.0
"""And for so long, later in a scan that has met a dead one: or each unit would cost the time-out again."""

OnProgress = Callable[[int, int], None]


class Assembly:
    """The arrays of a scan of `total` files, their errors, and how far it is."""

    def __init__(self, total: int, on_progress: OnProgress | None, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._mtime_ns = np.full(total, NO_MTIME, dtype=np.int64)
        self._size = np.full(total, UNKNOWN, dtype=np.int64)
        self._errors: dict[int, str] = {}
        self._on_progress = on_progress
        self._done = 0
        self._partial: dict[int, int] = {}
        self._reported = -1

    def take_rows(self, start: int, rows: Rows) -> None:
        """Puts a helper's answer to a unit in its place. Rows that were not reached have timed out."""
        reached = rows.size != stat_loop.UNSEEN
        places = start + rows.position[reached]
        seconds, size = rows.seconds[reached], rows.size[reached]
        mtime_ns = np.clip(seconds, -SECONDS_LIMIT, SECONDS_LIMIT) * 1_000_000_000 + rows.nanoseconds[reached]
        failed = size < 0
        if failed.any():
            absent = np.isin(-size, ABSENT_ERRNOS)
            unknown = failed & ~absent
            for place, number in zip(places[unknown].tolist(), (-size[unknown]).tolist(), strict=True):
                self._errors[place] = describe_error(number)
            mtime_ns[failed] = NO_MTIME
            size[absent] = ABSENT
            size[unknown] = UNKNOWN
        self._mtime_ns[places] = mtime_ns
        self._size[places] = size
        if rows.stalled:
            self.take_timed_out(np.setdiff1d(np.arange(start, start + len(reached)), places))

    def take_observed(self, start: int, observed: Observed) -> None:
        """Puts what a thread saw in its place."""
        stop = start + len(observed)
        self._mtime_ns[start:stop] = observed.mtime_ns
        self._size[start:stop] = observed.size
        self._errors.update({start + place: text for place, text in observed.errors.items()})

    def take_timed_out(self, places: Int64s) -> None:
        """Notes that these files gave no answer, and that this scan shall wait less from now on."""
        text = f"timed out without an answer ({errno.errorcode[errno.ETIMEDOUT]})"
        self._errors.update(dict.fromkeys(places.tolist(), text))
        self.patience_s = min(self.patience_s, LESS_PATIENCE_S)

    def on_rows(self, who: int, rows: int) -> None:
        """Notes how much of its present unit a helper has done."""
        self._partial[who] = rows
        self._report()

    def on_done(self, who: int, rows: int) -> None:
        """Notes that so many more files are done with."""
        self._partial.pop(who, None)
        self._done += rows
        self._report()

    def _report(self) -> None:
        done = min(self._done + sum(self._partial.values()), len(self._size))
        if self._on_progress is not None and done > self._reported:
            self._reported = done
            self._on_progress(done, len(self._size))

    def finish(self) -> Observed:
        """The whole result, with the errors in the order of their places."""
        return Observed(self._mtime_ns, self._size, dict(sorted(self._errors.items())))
