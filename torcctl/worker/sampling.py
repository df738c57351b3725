"""What running jobs hold and use, all their processes together: one pass over `/proc` for all jobs, now and then.

The kernel keeps only the peak of the largest process that was waited for; what a job's processes held at the same time
is known by looking. How often depends on what a look costs: on a machine with many processes it is seldom.
"""

import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from torcctl.worker.process import Process
from torcctl.worker.stats import RSS, SESSION, UTIME, read_stats

LEAST_PAUSE_S = 1.0
"""Shorter jobs are mostly not seen: what the kernel keeps of them has to do."""

SHARE = 0.01
"""Of one processor, for all of it."""

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Member(NamedTuple):
    """One process of a session."""

    pid: int
    memory_bytes: int
    """Resident; what it shares with others is counted with each of them."""
    cpu_s: float
    """With that of the children it has waited for."""


class Sampler:
    """Looks, and says when to look again."""

    def __init__(self) -> None:
        self.pause_s = LEAST_PAUSE_S

    def sample(self, running: Mapping[int, Process]) -> None:
        """Looks at jobs, by the pids of their sessions' leaders, and notes in each what it holds and has used."""
        began = time.thread_time()
        for session, members in find_members(running).items():
            if members:
                note(running[session], members)
        self.pause_s = max(LEAST_PAUSE_S, (time.thread_time() - began) / SHARE)


def note(process: Process, members: list[Member]) -> None:
    """Notes in a job what its processes hold and have used.

    Memory that they share is counted once, as far as the kernel can tell: that is looked at only when there would be a
    new peak, since it walks through all of a process's memory. What programs share with all others (libraries) is in
    that nearly nobody's, so it is never less than the largest process has.
    """
    memory_bytes = sum(member.memory_bytes for member in members)
    if len(members) > 1 and memory_bytes > process.sampled_memory_bytes:
        largest = max(member.memory_bytes for member in members)
        memory_bytes = max(largest, sum(read_proportional(member) for member in members))
    process.sampled_memory_bytes = max(process.sampled_memory_bytes, memory_bytes)
    process.sampled_cpu_s = max(process.sampled_cpu_s, sum(member.cpu_s for member in members))


def find_members(sessions: Mapping[int, object]) -> dict[int, list[Member]]:
    """The processes of each session."""
    found: dict[int, list[Member]] = {session: [] for session in sessions}
    for pid, fields in read_stats():
        members = found.get(int(fields[SESSION]))
        if members is not None:
            cpu_s = sum(map(int, fields[UTIME : UTIME + 4])) / TICKS
            members.append(Member(pid, int(fields[RSS]) * PAGE, cpu_s))
    return found


def read_proportional(member: Member) -> int:
    """The memory of a process, its share of what it shares with others; all of that where the kernel does not say."""
    try:
        with open(f"/proc/{member.pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has ended, or changed its user
    return member.memory_bytes
