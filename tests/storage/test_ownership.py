"""A database that others could replace is not opened; see also tests/end_to_end/test_other_users.py."""

import os
from pathlib import Path

import pytest

from torcd.protocol.errors import Refused
from torcd.storage.ownership import check_ownership


def test_what_is_not_there_yet_is_no_danger(tmp_path: Path) -> None:
    check_ownership(tmp_path / "new" / "torc.db")
    check_ownership(tmp_path / "torc.db")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_a_directory_that_everybody_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(Refused, match="every user may write there"):
        check_ownership(tmp_path / "torc.db")


def test_so_is_one_inside_of_such_a_directory_unless_it_is_sticky(tmp_path: Path) -> None:
    inside = tmp_path / "mine"
    inside.mkdir(0o700)
    tmp_path.chmod(0o1777)
    check_ownership(inside / "torc.db")
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match=f"^{tmp_path}:"):
        check_ownership(inside / "torc.db")


def test_a_group_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o770)
    check_ownership(tmp_path / "torc.db")
    assert "others may write there" in caplog.text


@pytest.mark.parametrize("name", ["torc.db", "torc.db-wal", "torc.db-journal", "torc.db.lock"])
def test_files_of_others_are_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).touch()
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(Refused, match=f"belongs to user {owner}"):
        check_ownership(tmp_path / "torc.db")
