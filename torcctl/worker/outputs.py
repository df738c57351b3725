"""What a worker sees of a job's declared outputs when the job has ended.

It reports, the daemon judges: whether an absent output fails a job is not decided here.
"""

import os
import time
from collections.abc import Sequence

from torcd.protocol.content import grain_ns, is_racy, read_content
from torcd.protocol.worker_requests import JobOutput, OutputSeen

MAX_INLINE = 100
"""With more outputs than this the stats take a millisecond or so and belong in a thread."""

LARGE_BYTES = 64 * 1024 * 1024
"""Before reading so much the grain of the clock is waited out: the daemon would have to read it all once more."""


def observe_outputs(outputs: Sequence[JobOutput], *, reads_content: bool = False) -> list[OutputSeen]:
    """One observation for each output, in order. Blocks on the file system, for long if contents are read."""
    return [_observe(output, reads_content) for output in outputs]


def _observe(output: JobOutput, reads_content: bool) -> OutputSeen:
    try:
        seen = os.stat(output.path)
        if reads_content:
            return _read(output, seen)
    except (FileNotFoundError, NotADirectoryError):
        return OutputSeen(file_id=output.file_id)
    except (OSError, ValueError) as error:  # ValueError: a path that holds a null byte
        return OutputSeen(file_id=output.file_id, error=f"{output.path}: {error}")
    return OutputSeen(file_id=output.file_id, mtime_ns=seen.st_mtime_ns, size=seen.st_size)


def _read(output: JobOutput, seen: os.stat_result) -> OutputSeen:
    """What its content is; one that cannot be read is told by time and size alone."""
    if seen.st_size >= LARGE_BYTES and is_racy(seen.st_mtime_ns, time.time_ns()):
        time.sleep(grain_ns(seen.st_mtime_ns) / 1e9)
    try:
        found = read_content(output.path)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError:
        return OutputSeen(file_id=output.file_id, mtime_ns=seen.st_mtime_ns, size=seen.st_size)
    return OutputSeen(
        file_id=output.file_id,
        mtime_ns=found.mtime_ns,
        size=found.size,
        digest=found.digest.hex(),
        is_racy=found.is_racy,
    )
