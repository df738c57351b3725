"""The ends of log files, for diagnoses: what cannot be read in time is as if nothing had been written.

Logs may lie on a file system that does not answer, or on another host: reading happens in one thread, which is left
behind when the time is over.
"""

import os
import stat
from collections.abc import Sequence

import trio

TAIL_BYTES = 4096
"""What is read of each file: the last dozens of lines, where the cause stands."""

MOST_TAILS = 2000
"""Files that are read at all: beyond that the findings go by codes and figures alone."""

PATIENCE_S = 20.0
"""For all of them together: a local disk needs a fraction of a second, a dead server would need for ever."""

FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Neither a link nor a pipe in the place of a log leads or stops anybody."""


async def read_tails(paths: Sequence[str]) -> dict[str, str]:
    """The end of each file that could be read."""
    found: dict[str, str] = {}

    def read() -> None:
        for path in paths[:MOST_TAILS]:
            tail = read_tail(path)
            if tail:
                found[path] = tail

    with trio.move_on_after(PATIENCE_S):
        await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
    return dict(found)


def read_tail(path: str) -> str:
    """The last bytes of a regular file as text; empty when it cannot be read."""
    try:
        descriptor = os.open(path, FLAGS)
    except (OSError, ValueError):
        return ""
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            return ""
        return os.pread(descriptor, TAIL_BYTES, max(seen.st_size - TAIL_BYTES, 0)).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
