"""The most memory that this worker has held: what the kernel says of any job begins with it.

Between fork and exec a job is as large as its worker, and its peak (`ru_maxrss`) keeps that. The worker's own one
is no measure for it, since that begins with the size of whoever started the worker.
"""

import re

SLACK_KIB = 1024
"""The kernel counts pages for each processor, and adds them up now and then."""

_PEAK = re.compile(rb"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class OwnPeak:
    """Looked up only when a job seems to be larger than all that is known; it never shrinks."""

    def __init__(self) -> None:
        self._kib = 0

    def is_exceeded_by(self, kib: int) -> bool:
        """Whether a job with this peak, in KiB, was ever larger than this process."""
        if kib <= self._kib + SLACK_KIB:
            return False
        self._kib = read_own_peak_kib()
        return kib > self._kib + SLACK_KIB


def read_own_peak_kib() -> int:
    """Of this process, since it began to run this program; see proc_pid_status(5)."""
    with open("/proc/self/status", "rb") as file:
        match = _PEAK.search(file.read())
    return int(match[1]) if match else 0
