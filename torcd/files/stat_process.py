"""A helper process as the daemon sees it: started, asked for one unit at a time, killed when it hangs.

A stat that hangs (a dead NFS server) cannot be taken back from a thread; a process can be killed. Knows the
shared layout of `stat_loop` and nothing of scans, keys or observations' meaning.
"""

import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio

from torcd.files import stat_loop
from torcd.files.observation import Int64s

PROGRAM = Path(stat_loop.__file__)

BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); __import__(sys.argv[2]).main(sys.argv[3:])"
"""Imports the program, instead of running its file, so that it need not be compiled each time."""

START_TIMEOUT_S = 10
"""A helper is there after 30 ms; on a machine that swaps it may take seconds, after this it never comes."""

LOOK_INTERVAL_S = 0.25
"""How often a unit under way is looked at, for progress and for signs of life."""

END_TIMEOUT_S = 2
"""How long a killed process is waited for: one in an uninterruptible system call may stay for ever."""


class HelperLost(Exception):
    """The helper ended, or never came up: what it was asked for has no answer."""


@dataclass(frozen=True)
class Rows:
    """A helper's answer: raw columns, one row a path. `size` is -errno for an error, UNSEEN if not reached.

    `position` is the path's place in the unit; it is right only in rows that were reached.
    """

    seconds: Int64s
    nanoseconds: Int64s
    size: Int64s
    position: Int64s
    stalled: bool


class StatProcess:
    """One helper process. Asked by one task at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", stream: trio.SocketStream, memory: mmap.mmap) -> None:
        self._process = process
        self._stream = stream
        words = np.frombuffer(memory, dtype=np.int64)
        self._counters = words[: stat_loop.COUNTERS]
        self._columns = words[stat_loop.COUNTERS :].reshape(4, stat_loop.ROWS)
        self.known: set[int] = set()
        """Numbers of the units whose paths the helper has kept."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, program: Path = PROGRAM) -> "StatProcess":
        """Starts a helper and waits until it is there. Raises HelperLost; leaves nothing behind then."""
        try:
            started = cls._spawn(program)
        except OSError as error:
            raise HelperLost(f"cannot start a helper process: {error}") from error
        ready = False
        try:
            with trio.move_on_after(START_TIMEOUT_S):
                ready = await started._receive() == bytes([stat_loop.VERSION])
        finally:
            if not ready:
                started.kill()
                with trio.CancelScope(shield=True):
                    await started.wait_ended()
        if not ready:
            raise HelperLost(f"the helper process {program} does not answer as expected")
        return started

    @classmethod
    def _spawn(cls, program: Path) -> "StatProcess":
        memory_file = os.memfd_create("torcd-scan")
        try:
            os.truncate(memory_file, stat_loop.MEMORY_BYTES)
            memory = mmap.mmap(memory_file, stat_loop.MEMORY_BYTES)
            ours, theirs = socket.socketpair()
            with theirs:
                where = [str(program.parent), program.stem]
                arguments = [str(theirs.fileno()), str(memory_file), str(os.getpid())]
                try:
                    process = subprocess.Popen(
                        [sys.executable, "-I", "-S", "-c", BOOTSTRAP, *where, *arguments],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno(), memory_file],
                        cwd="/",
                        start_new_session=True,  # Ctrl-C in the terminal is for the daemon to handle
                    )
                except BaseException:
                    ours.close()
                    raise
            return cls(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)), memory)
        finally:
            os.close(memory_file)

    async def stat(
        self,
        number: int,
        count: int,
        paths: Callable[[], bytes],
        patience_s: float,
        on_rows: Callable[[int], None],
    ) -> Rows:
        """Has a unit of `count` paths stat'ed. `paths` is called for its blob unless the helper knows it.

        A unit whose number is 0 is not kept. `on_rows` is told now and then how many rows are done. Without a
        sign of life for `patience_s` the answer is what was reached, and `stalled`: then, and when the caller
        is cancelled, the helper has been killed. Raises HelperLost when it died by itself.
        """
        self._columns[2, :count] = stat_loop.UNSEEN
        self._counters[:] = 0
        finished = stalled = False
        try:
            blob = b"" if number and number in self.known else paths()
            try:
                with trio.move_on_after(START_TIMEOUT_S) as sending:
                    request = stat_loop.REQUEST.pack(stat_loop.SCAN, number, len(blob))
                    await self._stream.send_all(request + blob)
            except trio.BrokenResourceError as error:
                raise HelperLost("the helper process has ended") from error
            if sending.cancelled_caught:
                raise HelperLost("the helper process does not read its requests")
            finished = await self._wait_done(patience_s, on_rows)
            stalled = not finished
        finally:
            if not finished:
                self.kill()
        if number:
            self.known.add(number)
        seconds, nanoseconds, size, position = self._columns[:, :count].copy()
        return Rows(seconds, nanoseconds, size, position, stalled)

    async def _wait_done(self, patience_s: float, on_rows: Callable[[int], None]) -> bool:
        """Waits for the end of a unit: False after `patience_s` without any counter moving."""
        seen, patient_until = b"", trio.current_time() + patience_s
        while True:
            with trio.move_on_after(min(LOOK_INTERVAL_S, patience_s)):
                if await self._receive() != stat_loop.DONE:
                    raise HelperLost("the helper process ended in the middle of a scan")
                return True
            counters = self._counters.tobytes()
            if counters != seen:
                seen, patient_until = counters, trio.current_time() + patience_s
                on_rows(int(self._counters[:-1].sum()))
            elif trio.current_time() >= patient_until:
                return False

    async def forget(self, numbers: set[int]) -> None:
        """Lets the helper drop the paths of units that nobody will ask for again. Raises HelperLost."""
        if not numbers:
            return
        messages = [stat_loop.REQUEST.pack(stat_loop.FORGET, number, 0) for number in numbers & self.known]
        self.known -= numbers
        sent = False
        try:
            await self._stream.send_all(b"".join(messages))
            sent = True
        except trio.BrokenResourceError as error:
            raise HelperLost("the helper process has ended") from error
        finally:
            if not sent:
                self.kill()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(1))
        except trio.BrokenResourceError:
            return b""

    def kill(self) -> None:
        """Ends the helper at once; its process is still to be waited for (`has_ended`, `wait_ended`)."""
        self._stream.socket.close()
        if self._process.poll() is None:
            self._process.kill()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended and left nothing to the kernel. Does not wait."""
        return self._process.poll() is not None

    async def wait_ended(self) -> None:
        """Waits for a killed process, at most END_TIMEOUT_S."""
        if self.has_ended:
            return
        process_file = os.pidfd_open(self.pid)
        try:
            with trio.move_on_after(END_TIMEOUT_S):
                await trio.lowlevel.wait_readable(process_file)
        finally:
            os.close(process_file)
        self._process.poll()
