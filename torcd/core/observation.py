"""What was seen of files, and whether that is another version than the recorded one (SEMANTICS 4.1, 4.9).

By time and size alone, any difference is a change. Where digests are known on both sides, they decide.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torcd.core.state import ABSENT, DIGEST, UNKNOWN, Digests, Files, State, has_digest

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_NOTHING: Int64 = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a scan, or a worker, saw: columns over `files`, which are indexes, each at most once."""

    files: Int64 = field(default_factory=lambda: _NOTHING)
    mtime_ns: Int64 = field(default_factory=lambda: _NOTHING)
    size: Int64 = field(default_factory=lambda: _NOTHING)
    """-1 is absent, -2 unknown with its text in `errors`, by index."""
    errors: dict[int, str] = field(default_factory=dict)
    digest: Digests | None = None
    """None: no content was read; zero in a row: not that file's."""
    is_racy: Mask | None = None
    """Where the content was read: whether a later write may have left the same time and size."""

    @property
    def unknown(self) -> Int64:
        """The files whose state could not be found out."""
        files: Int64 = self.files[self.size == UNKNOWN]
        return files

    @property
    def absent(self) -> Int64:
        """The files that do not exist."""
        files: Int64 = self.files[self.size == ABSENT]
        return files

    def rows(self, chosen: Mask | Int64) -> "Observation":
        """Some of the rows."""

        def column(values: NDArray[Any] | None) -> Any:
            return None if values is None else values[chosen]

        return Observation(
            files=self.files[chosen],
            mtime_ns=self.mtime_ns[chosen],
            size=self.size[chosen],
            errors=self.errors,
            digest=column(self.digest),
            is_racy=column(self.is_racy),
        )

    def columns(self) -> list[NDArray[Any]]:
        """Everything but the errors, for whoever digests or compares it."""
        return [
            column for column in (self.files, self.mtime_ns, self.size, self.digest, self.is_racy) if column is not None
        ]


def drop_outdated(state: State, seen: Observation, counter: int, mtime_ns: Int64) -> Observation:
    """What was seen, without the files that were recorded after the version counter stood at `counter`.

    Their record is newer than the look: a job has ended meanwhile, and its worker has seen its outputs. One that left
    the same content behind shows by the time of the record, which was in `mtime_ns` then.
    """
    files = state.files
    newest = (files.version[seen.files] <= counter) & (files.mtime_ns[seen.files] == mtime_ns[seen.files])
    return seen if newest.all() else seen.rows(newest)


def has_moved(files: Files, seen: Observation) -> Mask:
    """Of each file that was seen: whether its time or its size differs from the record."""
    moved: Mask = (files.mtime_ns[seen.files] != seen.mtime_ns) | (files.size[seen.files] != seen.size)
    return moved


def has_changed(files: Files, seen: Observation) -> Mask:
    """Of each file that was seen: whether it is another version than the recorded one."""
    moved = has_moved(files, seen)
    if seen.digest is None:
        return moved
    recorded = files.digest[seen.files]
    comparable = has_digest(recorded) & has_digest(seen.digest)
    changed: Mask = np.where(comparable, recorded != seen.digest, moved)
    return changed


def needs_recording(files: Files, seen: Observation) -> Mask:
    """Of each file that was seen: whether the record has to be replaced, be it for a new time of the same content."""
    moved = has_moved(files, seen)
    if seen.digest is None or seen.is_racy is None:
        return moved
    learned = has_digest(seen.digest) & (files.digest[seen.files] != seen.digest)
    settled = has_digest(seen.digest) & (files.is_racy[seen.files] != seen.is_racy)
    needed: Mask = moved | learned | settled
    return needed


def needs_reading(files: Files, seen: Observation) -> tuple[Mask, Mask]:
    """Of each file that was seen: whether its content has to be read, and whether nothing is known without it.

    Read are files that have moved and those recorded within the grain of their clock, which decides about them;
    and those whose content was never read, to have something to compare with the next time.
    """
    known = has_digest(files.digest[seen.files])
    read = (seen.size >= 0) & (has_moved(files, seen) | files.is_racy[seen.files] | ~known)
    return read, read & known


@dataclass(frozen=True, slots=True)
class Contents:
    """What reading some files told: columns over them, in their order."""

    mtime_ns: Int64
    size: Int64
    """-1: gone meanwhile, -2: not to be read."""
    digest: Digests
    """Zero also for what is not a regular file."""
    is_racy: Mask
    errors: dict[int, str]
    """By place."""


def with_contents(seen: Observation, read: Mask, decides: Mask, contents: Contents) -> Observation:
    """What was seen, completed by what reading told of the rows `read`.

    A file that could not be read is unknown where its content decides, else it stays as it was seen.
    """
    rows = np.flatnonzero(read)
    told = (contents.size != UNKNOWN) | decides[rows]
    mtime_ns, size, errors = seen.mtime_ns.copy(), seen.size.copy(), dict(seen.errors)
    mtime_ns[rows[told]] = contents.mtime_ns[told]
    size[rows[told]] = contents.size[told]
    errors |= {int(seen.files[rows[place]]): text for place, text in contents.errors.items() if told[place]}
    digest = np.zeros(len(seen.files), dtype=DIGEST)
    digest[rows] = contents.digest
    is_racy = np.zeros(len(seen.files), dtype=np.bool_)
    is_racy[rows] = contents.is_racy
    return Observation(seen.files, mtime_ns, size, errors, digest=digest, is_racy=is_racy)
