"""Which process is meant: a pid alone may be another's by now, or one of another host or container."""

import hashlib
import os

MARK = "TORC_WORKER_MARK"
"""The variable by which the processes of a worker's jobs are known."""


def identify_process(pid: int) -> str:
    """What tells a process, together with its pid, from all others; empty when it has ended or cannot be seen."""
    home = _identify_home()
    started = _started_at(pid)
    return f"{home} {started}" if home and started else ""


def has_ended(pid: int, identity: str) -> bool | None:
    """Whether the process that `identify_process` was told has ended; None when that cannot be seen from here."""
    home = _identify_home()
    if not home or not identity.startswith(home + " "):
        return None
    return identify_process(pid) != identity


def mark_of(pid: int, identity: str) -> str:
    """What the processes of a worker's jobs carry as `MARK`; `identity` is the worker's, by `identify_process`."""
    return hashlib.sha256(f"{pid} {identity}".encode()).hexdigest()[:16]


def _identify_home() -> str:
    """Boot of the machine and pid namespace: processes with the same see each other."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""  # no Linux


def _started_at(pid: int) -> str:
    """In clock ticks since the boot, see proc(5); empty for a process that has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
