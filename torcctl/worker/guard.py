"""The worker's side of its guardian: starts it, tells it what runs, and replaces it when it was killed.

A job costs a few stores into shared memory; the guardian sleeps until the worker is gone.
"""

import mmap
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from torcctl.worker import guardian
from torcctl.worker.guardian import HEAD
from torcd.protocol.process import MARK, identify_process, mark_of

PROGRAM = Path(guardian.__file__)

MOST_SLOTS = 1 << 20
"""Jobs at once; the limit on open files ends a worker's appetite before. Pages never touched cost nothing."""


class Guard:
    """A guardian and the table it reads. Must be closed; what runs then has no guardian any more."""

    def __init__(self) -> None:
        self.mark = f"{MARK}={mark_of(os.getpid(), identify_process(os.getpid()))}"
        slots = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MOST_SLOTS)
        if slots < 0:  # unlimited
            slots = MOST_SLOTS
        self._descriptor = os.memfd_create("torcctl-jobs")
        os.ftruncate(self._descriptor, HEAD.size + slots * 4)
        self._memory = mmap.mmap(self._descriptor, 0)
        self._table = memoryview(self._memory)[HEAD.size :].cast("i")
        self._free: list[int] = []
        self._used = 0
        self._slots: dict[int, int] = {}
        self._lifeline = -1
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self.start()

    @property
    def is_started(self) -> bool:
        """Whether there is a guardian, or one that has ended and was not replaced."""
        return self._pidfd >= 0

    def fileno(self) -> int:
        """A descriptor that is readable once the guardian has ended."""
        return self._pidfd

    def start(self) -> None:
        """Starts a guardian, in place of one that was killed. Raises OSError."""
        self._end()
        read_end, write_end = os.pipe()
        try:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM), str(read_end), str(self._descriptor), self.mark],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},  # no mark: a worker that is itself a job has a guardian that outlives it
                pass_fds=(read_end, self._descriptor),
                start_new_session=True,  # out of reach of a terminal's signals
            )
            self._pidfd = os.pidfd_open(self._guardian.pid)
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        self._lifeline = write_end

    def announce(self, stdout: int, stderr: int) -> None:
        """A job is about to be started, with the mark in its environment and with these descriptors of its logs."""
        log, errors = os.fstat(stdout), os.fstat(stderr)
        HEAD.pack_into(self._memory, 0, log.st_dev, log.st_ino, errors.st_ino)

    def enter(self, pid: int) -> None:
        """The job that was announced was started."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._used
            self._used += 1
        self._slots[pid] = slot
        self._table[slot] = pid
        HEAD.pack_into(self._memory, 0, 0, 0, 0)

    def leave(self, pid: int) -> None:
        """A job has ended; to be told before it is reaped, since then its number may become another's."""
        slot = self._slots.pop(pid)
        self._table[slot] = 0
        self._free.append(slot)

    def close(self) -> None:
        """Ends the guardian."""
        self._end()
        self._table.release()
        self._memory.close()
        os.close(self._descriptor)

    def _end(self) -> None:
        if self._guardian is not None:
            self._guardian.send_signal(signal.SIGKILL)  # before it sees the end of the pipe
            self._guardian.wait()
            self._guardian = None
        for descriptor in (self._pidfd, self._lifeline):
            if descriptor >= 0:
                os.close(descriptor)
        self._pidfd = self._lifeline = -1
