"""The guardian: a small process that outlives its worker for a moment, to kill the jobs the worker left behind.

A job that goes on without its worker would be run a second time beside it. Run as a program with nothing imported
that takes time; imports nothing of torcctl. Started by `guard`, which says what it is given.

It waits for the end of a pipe whose other end only the worker holds, and, between fork and exec, a job that it
starts: so once the end is there, every job is what it is. A job is found by its session, from the table that the
worker keeps, and by the worker's mark in the environment of each process, so that one that left its session does not
escape. The job that was being started when the worker was killed is not in the table yet, but its logs are, and it
has them open.
"""

import mmap
import os
import signal
import struct
import sys
import time

HEAD = struct.Struct("qqq")
"""In front of the table: the device and the inodes of stdout and stderr of a job that is being started, or zeros."""

PAUSE_S = 0.02
"""Between passes: what is killed takes a moment to go, and a process that was forking may have escaped."""

PATIENCE_S = 600.0
"""For processes that hang in the kernel (a dead file server): nothing more can be done about them."""


def main(lifeline: int, table: int, mark: bytes) -> None:
    """Waits until the worker is gone, then kills until nothing of it is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the worker, whose orderly end is also the guardian's
    os.read(lifeline, 1)
    logs, sessions = read_table(table)
    sessions |= find_writers(logs)
    give_up_at = time.monotonic() + PATIENCE_S
    while (victims := find_victims(sessions, mark)) and time.monotonic() < give_up_at:
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(PAUSE_S)


Logs = set[tuple[int, int]]
"""Device and inode of each."""


def read_table(descriptor: int) -> tuple[Logs, set[int]]:
    """The logs of the job that is being started, and the sessions of the jobs that run."""
    with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as memory:
        device, stdout, stderr = HEAD.unpack_from(memory)
        sessions = set(memoryview(memory[HEAD.size :]).cast("i").tolist())
    return ({(device, stdout), (device, stderr)} if stdout else set()), sessions - {0}


def find_writers(logs: Logs) -> set[int]:
    """The sessions with a process whose stdout or stderr is one of these."""
    found = set()
    for name in os.listdir("/proc") if logs else ():
        for standard in ("1", "2"):
            try:
                log = os.stat(f"/proc/{name}/fd/{standard}")
                if (log.st_dev, log.st_ino) in logs:
                    found.add(os.getsid(int(name)))
            except (OSError, ValueError):
                continue  # it ended meanwhile, is another user's, or no process
    return found


def find_victims(sessions: set[int], mark: bytes) -> list[int]:
    """The living processes that belong to one of the sessions or carry the mark."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] in (b"Z", b"X"):
                continue
            if int(fields[3]) not in sessions:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark not in file.read().split(b"\0"):
                        continue
        except OSError:
            continue  # it ended meanwhile, or is another user's
        found.append(int(name))
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode())
