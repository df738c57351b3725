"""The program of a helper process: stats the paths it is sent, as fast as Python can, into shared memory.

It runs without torcd and site-packages (`python -I -S`), so it must import nothing but the standard
library, and little of that: its start is part of the first scan. The daemon imports it for the layout of the
shared memory.

Two things make the loop about as fast as one in C. libc's `stat` is called through ctypes with arguments that
exist already, so that no object is made for the fields nobody reads; columns are then copied out of the raw
structures by strided slices. And paths are grouped by directory, which the kernel then walks only once.
"""

from __future__ import annotations

import errno
import gc
import mmap
import os
import select
import struct
import sys
import time
from itertools import repeat

TYPE_CHECKING = False  # as in typing, whose import would take a third of a helper's start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

VERSION = 1
"""First byte a helper sends: a daemon does not talk to a helper of another version, installed meanwhile."""

ROWS = 16384
"""Most paths in one unit of work: about 25 ms, and one pass of numpy in the daemon's event loop."""

COUNTERS = 64
MEMORY_BYTES = 8 * (COUNTERS + 4 * ROWS)
"""Shared memory: counters of rows done, then the columns seconds, nanoseconds, size and position."""

REQUEST = struct.Struct("=BQI")
"""What is asked (SCAN or FORGET), number of the unit, bytes of paths that follow (none: they are known)."""
SCAN = 1
FORGET = 2
DONE = b"."

UNSEEN = -(1 << 62)
"""The daemon's mark in the size column of a row that was not reached. Other negative sizes are -errno."""

IDLE_S = 60
"""A helper that has had nothing to do for so long ends: its memory is worth more than a start's 20 ms."""

GROUP = 256
"""Most paths stat'ed between two signs of life."""
SHORTEST_GROUP = 4
"""A chdir costs as much as is saved on so many files."""
PATH_MAX = 4096

SLOW_S = 30e-6
"""A stat that takes longer than this waits for a server or a disk, and many can wait at once."""
SAMPLE = 200
PROBES = 16
THREADS = 16
THREADED_ROWS = 2048
"""Rows stat'ed by threads before the speed is judged anew."""

STAT_BYTES = 256  # struct stat is 144 bytes on x86-64 and 128 on aarch64
STAT_WORDS = STAT_BYTES // 8
SIZE_WORD, SECONDS_WORD, NANOSECONDS_WORD = 6, 11, 12  # the same on both


class Group:
    """Paths that are stat'ed in one go: relative to a directory, or absolute when it is empty."""

    __slots__ = ("_packed", "count", "directory")

    def __init__(self, directory: bytes, names: list[bytes]) -> None:
        self.directory = directory
        self.count = len(names)
        self._packed = b"\0".join(names)  # a quarter of a list's memory; splitting takes 40 ns a name

    def names(self) -> list[bytes]:
        """The paths as they are stat'ed from within the directory."""
        return self._packed.split(b"\0")

    def absolute_names(self) -> list[bytes]:
        """The whole paths."""
        return [self.directory + b"/" + name for name in self.names()] if self.directory else self.names()

    def enter(self) -> bool:
        """Makes the directory the current one; False if it cannot be (its files' own stats then say why)."""
        if self.directory:
            try:
                os.chdir(self.directory)
            except OSError:
                return False
        return True


class Unit:
    """A piece of a scan, with its paths grouped; `positions` are their places in the order they came in."""

    __slots__ = ("groups", "positions")

    def __init__(self, groups: list[Group], positions: list[int]) -> None:
        self.groups = groups
        self.positions = memoryview(struct.pack(f"{len(positions)}q", *positions)).cast("q")


def group_paths(blob: bytes) -> Unit:
    """The unit of a blob of NUL-terminated absolute paths."""
    names = blob.split(b"\0")[:-1]
    by_directory: dict[bytes, list[int]] = {}
    absolute: list[int] = []
    for position, name in enumerate(names):
        directory, _, last = name.rpartition(b"/")
        if not last or len(name) >= PATH_MAX:  # "dir/" is more than its last name; too long must stay so
            absolute.append(position)
        elif (known := by_directory.get(directory)) is not None:
            known.append(position)
        else:
            by_directory[directory] = [position]
    groups: list[Group] = []
    positions: list[int] = []

    def add(directory: bytes, members: list[int], skipped: int) -> None:
        for start in range(0, len(members), GROUP):
            some = members[start : start + GROUP]
            groups.append(Group(directory, [names[position][skipped:] for position in some]))
        positions.extend(members)

    for directory, members in by_directory.items():
        if len(members) < SHORTEST_GROUP:
            absolute += members
        else:
            add(directory or b"/", members, len(directory) + 1)
    add(b"", absolute, 0)
    return Unit(groups, positions)


class NativeStat:
    """libc's stat for a list of names, into one block of memory."""

    def __init__(self, function: Callable[..., int], *leading: int) -> None:
        import ctypes

        memory = ctypes.create_string_buffer(GROUP * STAT_BYTES)
        self._function = function
        self._leading = [repeat(value) for value in leading]
        self._places = [ctypes.byref(memory, STAT_BYTES * row) for row in range(GROUP)]
        self.words = memoryview(memory).cast("B").cast("q")

    def __call__(self, names: Sequence[bytes]) -> list[int]:
        """Stats at most GROUP names: 0 for each whose structure now is in `words`."""
        return list(map(self._function, *self._leading, names, self._places))

    def is_right(self, name: bytes) -> bool:
        """Whether a structure says what os.stat says: the proof that its layout is as assumed here."""
        known = os.stat(name)
        if self([name]) != [0]:
            return False
        mtime_ns = self.words[SECONDS_WORD] * 1_000_000_000 + self.words[NANOSECONDS_WORD]
        return (self.words[SIZE_WORD], mtime_ns) == (known.st_size, known.st_mtime_ns)


def find_native_stat() -> NativeStat | None:
    """libc's stat if this machine's is understood; None means that os.stat must do."""
    machine = os.uname().machine
    if machine not in {"x86_64", "aarch64"} or sys.maxsize < 1 << 32:
        return None
    import ctypes

    libc: Any = ctypes.PyDLL(None)  # PyDLL keeps the GIL: nothing else runs here meanwhile
    old_version = 1 if machine == "x86_64" else 0
    for symbol, leading in (
        ("stat", ()),
        ("__xstat", (old_version,)),
    ):  # glibc before 2.33 has only the second
        if hasattr(libc, symbol):
            native = NativeStat(getattr(libc, symbol), *leading)
            if all(native.is_right(os.fsencode(name)) for name in (sys.executable, os.__file__, "/")):
                return native
    return None


class StatLoop:
    """Stats units into the columns of the shared memory."""

    def __init__(self, memory: memoryview, native: NativeStat | None) -> None:
        words = memory.cast("q")
        self._counters = words[:COUNTERS]
        columns = [words[COUNTERS + ROWS * at : COUNTERS + ROWS * (at + 1)] for at in range(4)]
        self._seconds, self._nanoseconds, self._sizes, self._positions = columns
        self._native = native
        self._sampled = 0
        self._sampled_s = 0.0

    def run(self, unit: Unit) -> None:
        """Fills a row for each path, in the order of the groups. A row's size is written last."""
        self._positions[: len(unit.positions)] = unit.positions
        row = at = 0
        while at < len(unit.groups):
            group = unit.groups[at]
            if self._seems_slow() and self._is_slow(group, row):
                stop = row
                waiting = []
                while at < len(unit.groups) and stop - row < THREADED_ROWS:
                    waiting.append(unit.groups[at])
                    stop += unit.groups[at].count
                    at += 1
                self._stat_in_threads(waiting, row)
                self._sampled, self._sampled_s = SAMPLE, SAMPLE * SLOW_S * 2  # probe again before the next
                row = stop
            else:
                began = time.monotonic()
                self._stat_group(group, row)
                self._sampled_s += time.monotonic() - began
                self._sampled += group.count
                row += group.count
                at += 1
            self._counters[0] = row
        os.chdir("/")  # a working directory keeps its file system from being unmounted

    def _seems_slow(self) -> bool:
        if self._sampled < SAMPLE:
            return False
        slow = self._sampled_s > SLOW_S * self._sampled
        self._sampled, self._sampled_s = 0, 0.0
        return slow

    def _is_slow(self, group: Group, row: int) -> bool:
        """Times some files singly: their median does not mind that this process was put off the processor."""
        times = []
        for probe in list(enumerate(group.absolute_names(), row))[:PROBES]:
            began = time.monotonic()
            self._stat_rows([probe])
            times.append(time.monotonic() - began)
        return sorted(times)[len(times) // 2] > SLOW_S

    def _stat_group(self, group: Group, row: int) -> None:
        if self._native is None or not group.enter():
            self._stat_rows(enumerate(group.absolute_names(), row))
            return
        results = self._native(group.names())
        stop, words = row + group.count, self._native.words[: group.count * STAT_WORDS]
        failed = []
        if results.count(0) != group.count:
            failed = [place for place, result in enumerate(results) if result]
            for place in failed:
                words[place * STAT_WORDS + SIZE_WORD] = UNSEEN
        self._seconds[row:stop] = words[SECONDS_WORD::STAT_WORDS]
        self._nanoseconds[row:stop] = words[NANOSECONDS_WORD::STAT_WORDS]
        self._sizes[row:stop] = words[SIZE_WORD::STAT_WORDS]
        if failed:  # once more, by the way that tells why
            names = group.absolute_names()
            self._stat_rows((row + place, names[place]) for place in failed)

    def _stat_rows(self, rows: Iterable[tuple[int, bytes]], counter: int = COUNTERS - 1) -> None:
        for row, name in rows:
            try:
                status = os.stat(name)
            except OSError as error:
                self._sizes[row] = -(error.errno or errno.EIO)
            else:
                self._seconds[row], self._nanoseconds[row] = divmod(status.st_mtime_ns, 1_000_000_000)
                self._sizes[row] = status.st_size
            self._counters[counter] += 1

    def _stat_in_threads(self, groups: Sequence[Group], row: int) -> None:
        import threading

        rows = list(enumerate((name for group in groups for name in group.absolute_names()), row))
        threads = [
            threading.Thread(target=self._stat_rows, args=(rows[start::THREADS], 1 + start), daemon=True)
            for start in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for counter in range(1, 1 + THREADS):
            self._counters[counter] = 0


def read_exactly(channel: int, count: int) -> bytes:
    """So many bytes of the channel; EOFError when the daemon is gone."""
    pieces = []
    while count:
        piece = os.read(channel, count)
        if not piece:
            raise EOFError
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def serve(channel: int, loop: StatLoop) -> None:
    """Answers requests until the daemon is gone or has asked for nothing in IDLE_S."""
    units: dict[int, Unit] = {}
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    try:
        os.write(channel, bytes([VERSION]))
        while waiting.poll(IDLE_S * 1000):
            what, number, length = REQUEST.unpack(read_exactly(channel, REQUEST.size))
            if what == FORGET:
                del units[number]
                continue
            unit = group_paths(read_exactly(channel, length)) if length else units[number]
            if number:
                units[number] = unit
            loop.run(unit)
            os.write(channel, DONE)
    except (EOFError, ConnectionError):
        return


def die_with(parent: int) -> None:
    """Makes the kernel kill this process when the daemon ends, however it ends, even in a stat that hangs."""
    import ctypes
    import signal

    set_death_signal = 1  # PR_SET_PDEATHSIG
    libc: Any = ctypes.CDLL(None)
    libc.prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it was asked for
        sys.exit(0)


def main(arguments: Sequence[str]) -> None:
    """Serves on the inherited descriptors: channel, shared memory; then the daemon's process id."""
    channel, memory_file, parent = map(int, arguments)
    die_with(parent)
    gc.disable()  # nothing here makes cycles
    memory = mmap.mmap(memory_file, MEMORY_BYTES)
    serve(channel, StatLoop(memoryview(memory), find_native_stat()))
