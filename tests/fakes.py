"""A disk whose clock is wound by hand, and a scanner that looks at it.

The fake is itself compared with a real directory and the real scan, in `test_fakes`.
"""

import errno
from collections.abc import Hashable
from hashlib import md5

import numpy as np
import trio
from builders import DIRECTORY

from torcd.core.observation import Contents
from torcd.files.assembly import OnProgress
from torcd.files.observation import ABSENT, UNKNOWN, Int64s, Observed, Paths, describe_error
from torcd.files.reading import Batch, Collected
from torcd.protocol.content import Content

TICK_NS = 1_000_000
"""What the clock moves on with every write: no two writes have the same time."""


class FakeDisk:
    """Files by absolute path. Relative paths are under the submission directory of `builders`."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000
        self._files: dict[str, tuple[int, int]] = {}
        self._contents: dict[str, str] = {}
        self._errors: dict[str, int] = {}
        self._forbidden: set[str] = set()
        self._special: set[str] = set()
        self._vanishing: set[str] = set()

    def _path(self, name: str) -> str:
        return name if name.startswith("/") else f"{DIRECTORY}/{name}"

    def _tick(self) -> int:
        self.now_ns += TICK_NS
        return self.now_ns

    def write(self, *names: str, size: int = 10, content: str | None = None) -> None:
        """Writes files anew; what no other file has held before, unless told."""
        for name in names:
            self._files[self._path(name)] = self._tick(), size
            self._contents[self._path(name)] = str(self.now_ns) if content is None else content

    def sneak(self, name: str, content: str) -> None:
        """Writes other content of the same size within the grain of the clock: the time stays."""
        self._contents[self._path(name)] = content

    def touch(self, *names: str) -> None:
        """Gives files the present time; those that are not there are created empty."""
        for name in names:
            self._files[self._path(name)] = self._tick(), self._files.get(self._path(name), (0, 0))[1]

    def make_special(self, name: str) -> None:
        """Makes a directory, or turns what is there into one."""
        self._special.add(self._path(name))
        self.touch(name)

    def restore(self, name: str, mtime_ns: int, size: int) -> None:
        """Puts a file back with any time, as `cp -p` does."""
        self._files[self._path(name)] = mtime_ns, size

    def delete(self, *names: str) -> None:
        """Removes files."""
        for name in names:
            del self._files[self._path(name)]

    def content_of(self, name: str) -> str:
        """What a file holds, for `write`."""
        return self._contents[self._path(name)]

    def content(self, name: str) -> Content | None:
        """What reading a file tells, None: absent. It is racy if nothing was written since."""
        path = self._path(name)
        if path not in self._files:
            return None
        mtime_ns, size = self._files[path]
        digest = b""
        if path not in self._special:
            digest = md5(self._contents.get(path, "").encode(), usedforsecurity=False).digest()
        return Content(mtime_ns, size, digest, mtime_ns == self.now_ns)

    def read(self, paths: list[str]) -> Contents:
        """What reading these paths tells."""
        collected = Collected(len(paths))
        told = [self.content(path) or FileNotFoundError(errno.ENOENT, "gone") for path in paths]
        for place, path in enumerate(paths):
            if path in self._vanishing:
                self._vanishing.remove(path)
                del self._files[path]
                told[place] = FileNotFoundError(errno.ENOENT, "gone")
            elif path in self._forbidden:
                told[place] = OSError(errno.EACCES, "unreadable")
        collected.take(Batch(0, [path.encode() for path in paths], told))
        return collected.contents()

    def fail(self, name: str, number: int = errno.EACCES) -> None:
        """From now on the state of a file cannot be found out."""
        self._errors[self._path(name)] = number

    def forbid(self, name: str) -> None:
        """From now on a file cannot be read, only looked at."""
        self._forbidden.add(self._path(name))

    def vanish(self, name: str) -> None:
        """Has a file be gone when it is read the next time, though it is there to be seen until then."""
        self._vanishing.add(self._path(name))

    def mend(self, name: str) -> None:
        """Ends what `fail` began."""
        del self._errors[self._path(name)]

    def stat(self, name: str) -> tuple[int, int] | None:
        """(mtime_ns, size) of a file, None: absent."""
        return self._files.get(self._path(name))

    def observe(self, paths: list[str]) -> Observed:
        """What a scan of these paths sees."""
        seen, errors = [], {}
        for place, path in enumerate(paths):
            if path in self._errors:
                seen.append((-1, UNKNOWN))
                errors[place] = describe_error(self._errors[path])
            else:
                seen.append(self._files.get(path, (-1, ABSENT)))
        columns = np.array(seen, dtype=np.int64).reshape(-1, 2)
        return Observed(columns[:, 0].copy(), columns[:, 1].copy(), errors)


class FakeScanner:
    """Looks at a fake disk, with the interface of `torcd.files.scan.Scanner`. `hold` keeps scans from ending,
    `hold_reading` keeps the reading of contents from ending."""

    def __init__(self, disk: FakeDisk) -> None:
        self.disk = disk
        self.scanned: list[list[str]] = []
        """The paths of every scan."""
        self.read_paths: list[list[str]] = []
        """The paths whose contents were read, each time."""
        self.begun = trio.Event()
        """Set when a scan is held."""
        self.error: BaseException | None = None
        """What the next scans raise: a bug."""
        self._gate: trio.Event | None = None
        self._reading_gate: trio.Event | None = None

    def hold(self) -> trio.Event:
        """Holds the next scans after they have looked; set the event to let them go on."""
        self._gate, self.begun = trio.Event(), trio.Event()
        return self._gate

    def hold_reading(self) -> trio.Event:
        """The same of the next readings."""
        self._reading_gate, self.begun = trio.Event(), trio.Event()
        return self._reading_gate

    async def read(self, paths: Paths, files: Int64s, *, on_progress: OnProgress | None = None) -> Contents:
        """As the real one."""
        chosen = [paths[place] for place in files.tolist()]
        self.read_paths.append(chosen)
        await trio.lowlevel.checkpoint()
        if on_progress is not None and chosen:
            on_progress(len(chosen), len(chosen))
        found = self.disk.read(chosen)
        if self._reading_gate is not None:
            self.begun.set()
            await self._reading_gate.wait()
        return found

    async def scan(
        self,
        key: Hashable,
        paths: Paths,
        *,
        indices: Int64s | None = None,
        on_progress: OnProgress | None = None,
    ) -> Observed:
        """As the real one; progress is told at the beginning and at the end."""
        if self.error is not None:
            raise self.error
        places = range(len(paths)) if indices is None else indices.tolist()
        chosen = [paths[place] for place in places]
        self.scanned.append(chosen)
        if on_progress is not None:
            on_progress(0, len(chosen))
        seen = self.disk.observe(chosen)
        await trio.lowlevel.checkpoint()
        if self._gate is not None:
            self.begun.set()
            await self._gate.wait()
        if on_progress is not None:
            on_progress(len(chosen), len(chosen))
        return seen
