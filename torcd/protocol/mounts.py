"""On which kind of file system a directory lies, and whether that is a local disk: daemon and client judge alike.

SQLite's write-ahead log needs shared memory, which works between processes of one machine on a local disk only. A type
that is not known to be local is therefore treated as a network one: that costs speed, the other mistake costs the data.
"""

import os
import re
from pathlib import Path

import msgspec

# fmt: off
_LOCAL = frozenset({
    "aufs", "bcachefs", "btrfs", "ecryptfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "jfs",
    "msdos", "nilfs2", "ntfs", "ntfs3", "overlay", "ramfs", "reiserfs", "rootfs", "tmpfs", "ubifs",
    "vfat", "xfs", "zfs",
})
# fmt: on
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One line of mountinfo."""

    point: Path
    kind: str


def parse_mounts(text: str) -> list[Mount]:
    """The mounts in the order of the text, proc_pid_mountinfo(5); of two with one point, the later hides."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if not separator or len(fields) < 5 or not after.split():
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        mounts.append(Mount(point=Path(point), kind=after.split()[0]))
    return mounts


def find_mount(mounts: list[Mount], directory: Path) -> Mount | None:
    """The mount that holds `directory`, which is absolute and free of symbolic links."""
    holding = [mount for mount in mounts if directory.is_relative_to(mount.point)]
    return max(reversed(holding), key=lambda mount: len(mount.point.parts), default=None)


def is_local(kind: str) -> bool:
    """Whether a file system of this type is known to live on this machine alone."""
    return kind in _LOCAL


def find_file_system(directory: Path) -> str:
    """The type of the file system of `directory`, `"unknown"` where the system does not tell."""
    resolved = directory.resolve()
    try:
        resolved.stat()  # an automounted directory is mounted by this
        mounts = parse_mounts(os.fsdecode(_MOUNTS.read_bytes()))
    except OSError:
        return "unknown"
    mount = find_mount(mounts, resolved)
    return mount.kind if mount else "unknown"
