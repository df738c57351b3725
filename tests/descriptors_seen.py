"""What a process has open, as seen by another one while it goes on."""

import os
from contextlib import suppress


def descriptors_of(pid: int) -> dict[int, str]:
    """Where each descriptor leads. One that is closed while they are looked at is left out."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found
