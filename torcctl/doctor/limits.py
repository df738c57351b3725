"""What the system lets a process use: resource limits and control groups, of the daemon or of this process."""

import os
from collections.abc import Iterator
from pathlib import Path

from torcctl.doctor.facts import Limits

GROUPS = Path("/sys/fs/cgroup")

NAMES = {
    "Max cpu time": "cpu_s",
    "Max open files": "open_files",
    "Max processes": "processes",
}
"""Rows of proc_pid_limits(5)."""

NO_LIMIT = 1 << 60
"""Version 1 of control groups writes a number near 2^63 for none."""


def gather_limits(pid: int | None) -> Limits:
    """The limits of the daemon, or of this process, which a daemon started from here would have as well."""
    if pid is not None and (text := _read(Path(f"/proc/{pid}/limits"))):
        whose, groups = f"the daemon (process {pid})", _read(Path(f"/proc/{pid}/cgroup"))
    else:
        whose = "this session"
        text, groups = _read(Path("/proc/self/limits")), _read(Path("/proc/self/cgroup"))
    found = parse_limits(text)
    return Limits(
        whose=whose,
        cpu_s=found.get("cpu_s"),
        open_files=found.get("open_files"),
        processes=found.get("processes"),
        processes_now=_count_processes(),
        memory_bytes=_smallest(groups, "memory", ("memory.max", "memory.limit_in_bytes")),
        group_processes=_smallest(groups, "pids", ("pids.max",)),
    )


def parse_limits(text: str) -> dict[str, int | None]:
    """The soft limits that `Limits` has, from proc_pid_limits(5); None: unlimited."""
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        for title, name in NAMES.items():
            if line.startswith(title):
                soft = line[len(title) :].split()[0]
                found[name] = int(soft) if soft.isdecimal() else None
    return found


def parse_groups(text: str, controller: str) -> list[str]:
    """The paths of the control groups, of both versions, that may limit something of `controller`; cgroups(7)."""
    found = []
    for line in text.splitlines():
        number, controllers, path = (*line.split(":", 2), "", "", "")[:3]
        if controller in controllers.split(",") or (number == "0" and not controllers):
            found.append(f"{controllers}{path}" if controllers else path.lstrip("/"))
    return found


def _smallest(groups: str, controller: str, names: tuple[str, ...]) -> int | None:
    """The lowest limit of the groups and those above them."""
    limits = []
    for path in parse_groups(groups, controller):
        for directory in _upwards(GROUPS / path):
            for name in names:
                word = _read(directory / name).strip()
                if word.isdecimal() and int(word) < NO_LIMIT:
                    limits.append(int(word))
    return min(limits, default=None)


def _upwards(directory: Path) -> Iterator[Path]:
    while directory.is_relative_to(GROUPS):
        yield directory
        if directory == GROUPS:
            return
        directory = directory.parent


def _count_processes() -> int:
    """The processes of this user."""
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                count += entry.stat().st_uid == os.getuid()
            except OSError:
                continue
    return count


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
