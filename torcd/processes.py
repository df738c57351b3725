"""The processes of jobs on this host, known by the mark of their worker in their environment."""

import os
import signal

import trio

from torcd.protocol.process import MARK

PREFIX = f"{MARK}=".encode()

PAUSE_S = 0.1
"""Between passes: what was killed takes a moment to go, and a process that was forking may have escaped."""

LONGEST_PAUSE_S = 5.0
"""Of pauses that grow: a process that hangs in the kernel (a dead file server) may take days to go."""


class JobProcesses:
    """Ends what workers left behind. One pass over `/proc` serves all who wait for one."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._began_at = float("-inf")
        self._found: dict[str, list[int]] = {}

    async def find(self, mark: str) -> list[int]:
        """The pids of living processes with this mark, as of now; without those that hide their environment."""
        asked_at = trio.current_time()
        async with self._lock:
            if self._began_at < asked_at:
                self._began_at = trio.current_time()
                self._found = await trio.to_thread.run_sync(find_marked)
            return self._found.get(mark, [])

    async def end(self, mark: str) -> int:
        """Kills until none is left, without grace; returns how many there were."""
        killed: set[int] = set()
        pause_s = PAUSE_S
        while pids := await self.find(mark):
            for pid in pids:
                _kill(pid, mark)
            killed.update(pids)
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
        return len(killed)


def find_marked() -> dict[str, list[int]]:
    """The pids by mark."""
    found: dict[str, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (mark := _mark_of(int(name))):
            found.setdefault(mark, []).append(int(name))
    return found


def _mark_of(pid: int) -> str:
    """Empty for a process without one, that has ended (a zombie has no environment), or is another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            marks = [each for each in file.read().split(b"\0") if each.startswith(PREFIX)]
    except OSError:
        return ""
    return marks[0].removeprefix(PREFIX).decode(errors="replace") if marks else ""


def _kill(pid: int, mark: str) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return  # it has ended, and its number may be a thread's by now; else the next pass finds it again
    try:
        if _mark_of(pid) == mark:  # else the pid is another's by now
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
