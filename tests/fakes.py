"""A disk whose clock is wound by hand, and a scanner that looks at it.

The fake is itself compared with a real directory and the real scan, in `test_fakes`.
"""

import errno
from collections.abc import Hashable

import numpy as np
import trio
from builders import DIRECTORY

from torcd.files.assembly import OnProgress
from torcd.files.observation import ABSENT, UNKNOWN, Int64s, Observed, Paths, describe_error

TICK_NS = 1_000_000
"""What the clock moves on with every write: no two writes have the same time."""


class FakeDisk:
    """Files by absolute path. Relative paths are under the submission directory of `builders`."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000
        self._files: dict[str, tuple[int, int]] = {}
        self._errors: dict[str, int] = {}

    def _path(self, name: str) -> str:
        return name if name.startswith("/") else f"{DIRECTORY}/{name}"

    def _tick(self) -> int:
        self.now_ns += TICK_NS
        return self.now_ns

    def write(self, *names: str, size: int = 10) -> None:
        """Writes files anew."""
        for name in names:
            self._files[self._path(name)] = self._tick(), size

    def touch(self, *names: str) -> None:
        """Gives files the present time; those that are not there are created empty."""
        for name in names:
            self._files[self._path(name)] = self._tick(), self._files.get(self._path(name), (0, 0))[1]

    def restore(self, name: str, mtime_ns: int, size: int) -> None:
        """Puts a file back with any time, as `cp -p` does."""
        self._files[self._path(name)] = mtime_ns, size

    def delete(self, *names: str) -> None:
        """Removes files."""
        for name in names:
            del self._files[self._path(name)]

    def fail(self, name: str, number: int = errno.EACCES) -> None:
        """From now on the state of a file cannot be found out."""
        self._errors[self._path(name)] = number

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
    """Looks at a fake disk, with the interface of `torcd.files.scan.Scanner`. `hold` keeps scans from ending."""

    def __init__(self, disk: FakeDisk) -> None:
        self.disk = disk
        self.scanned: list[list[str]] = []
        """The paths of every scan."""
        self.begun = trio.Event()
        """Set when a scan is held."""
        self.error: BaseException | None = None
        """What the next scans raise: a bug."""
        self._gate: trio.Event | None = None

    def hold(self) -> trio.Event:
        """Holds the next scans after they have looked; set the event to let them go on."""
        self._gate, self.begun = trio.Event(), trio.Event()
        return self._gate

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
