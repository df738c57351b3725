"""What a worker sees of a job's declared outputs when the job has ended.

It reports, the daemon judges: whether an absent output fails a job is not decided here.
"""

import os
from collections.abc import Sequence

from torcd.protocol.worker_requests import JobOutput, OutputSeen

MAX_INLINE = 100
"""With more outputs than this the stats take a millisecond or so and belong in a thread."""


def observe_outputs(outputs: Sequence[JobOutput]) -> list[OutputSeen]:
    """One observation for each output, in order. Blocks on the file system."""
    return [_observe(output) for output in outputs]


def _observe(output: JobOutput) -> OutputSeen:
    try:
        seen = os.stat(output.path)
    except (FileNotFoundError, NotADirectoryError):
        return OutputSeen(file_id=output.file_id)
    except (OSError, ValueError) as error:  # ValueError: a path that holds a null byte
        return OutputSeen(file_id=output.file_id, error=f"{output.path}: {error}")
    return OutputSeen(file_id=output.file_id, mtime_ns=seen.st_mtime_ns, size=seen.st_size)
