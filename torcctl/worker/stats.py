"""What the kernel says of each process on this host."""

import os
from collections.abc import Iterator

STATE, GROUP, SESSION, UTIME, RSS = 0, 2, 3, 11, 21
"""Places in what `read_stats` gives; see proc_pid_stat(5), whose first two fields are left out."""


def read_stats() -> Iterator[tuple[int, list[bytes]]]:
    """The pid of each, and the fields of its stat after the name; one pass over `/proc`."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is hidden: another user's
        yield int(name), fields
