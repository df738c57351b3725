"""Samples of mountinfo, and the real system."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.protocol.errors import Refused
from torcd.protocol.mounts import Mount, find_file_system, find_mount, is_local, parse_mounts
from torcd.storage.filesystem import probe

CLUSTER = r"""
22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:35 / /home rw,relatime shared:20 - autofs auto.home rw,fd=6,pgrp=1,timeout=300,minproto=5
41 40 0:36 / /home/ann rw,relatime shared:21 - nfs4 server:/home/ann rw,vers=4.2,addr=10.0.0.2
42 27 0:37 / /scratch rw,relatime master:3 propagate_from:2 - lustre 10.0.0.1@tcp:/scratch rw,flock
43 27 8:1 / /local\040disk rw,relatime - xfs /dev/sda1 rw
44 27 0:38 / /mnt/ssh rw - fuse.sshfs ann@host: rw
45 27 0:39 / /mnt/over rw - nfs server:/x rw
46 27 0:40 / /mnt/over rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/home/ann", "nfs4"),
        ("/home/ann/.local/state", "nfs4"),
        ("/home/bob", "autofs"),
        ("/homes", "ext4"),
        ("/scratch/ann", "lustre"),
        ("/local disk/x", "xfs"),
        ("/mnt/ssh/x", "fuse.sshfs"),
        ("/mnt/over/x", "tmpfs"),
    ],
)
def test_a_directory_lies_on_the_mount_nearest_above_it(directory: str, kind: str) -> None:
    mount = find_mount(parse_mounts(CLUSTER), Path(directory))
    assert mount is not None
    assert mount.kind == kind


def test_without_mounts_nothing_is_known() -> None:
    assert find_mount(parse_mounts(""), Path("/home")) is None


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    parse_mounts(text)


@given(st.lists(st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab"]), min_size=1))
def test_of_equal_mount_points_the_later_counts(points: list[str]) -> None:
    mounts = [Mount(point=Path(point), kind=str(index)) for index, point in enumerate(points)]
    found = find_mount(mounts, Path("/a/b/c/d"))
    last = {point: index for index, point in enumerate(points) if point != "/ab"}
    if not last:
        assert found is None
    else:
        assert found is not None
        assert int(found.kind) == last[max(last, key=len)]


def test_only_known_local_types_are_local() -> None:
    for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"):
        assert is_local(kind)
    for kind in ("nfs", "nfs4", "lustre", "gpfs", "cifs", "smb3", "beegfs", "9p", "fuse.sshfs", "unknown"):
        assert not is_local(kind)


def test_the_file_system_of_a_real_directory_is_found(tmp_path: Path) -> None:
    assert find_file_system(Path("/proc")) == "proc"
    link = tmp_path / "link"
    link.symlink_to("/proc")
    assert find_file_system(link) == "proc"


def test_a_missing_directory_is_on_an_unknown_file_system(tmp_path: Path) -> None:
    assert find_file_system(tmp_path / "missing") == "unknown"


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    probe(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_no_database_can_be_written_the_probe_refuses(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="SQLite cannot keep a database here"):
        probe(tmp_path / "missing")
