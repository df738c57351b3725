"""The daemon's part in a backup; how the file is made is shown in `storage/test_backup.py`."""
# ruff: noqa: ASYNC240  # the tests' own small file accesses may block

import threading
from pathlib import Path

import pytest
import trio

from torcd.operations import backup as backup_module
from torcd.operations.backup import back_up
from torcd.storage.backup import BackupFile
from torcd.storage.database import open_database


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_no_file_system_of_a_backup_holds_the_daemon_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    """It may be a dead one, and to remove a large draft takes seconds."""
    threads = []

    class Watched(BackupFile):
        def _check(self) -> None:
            threads.append(threading.current_thread())
            super()._check()

        def discard(self) -> None:
            threads.append(threading.current_thread())
            super().discard()

    monkeypatch.setattr(backup_module, "BackupFile", Watched)
    async with open_database(tmp_path / "torc.db") as database:
        with trio.CancelScope() as scope:
            if is_cancelled:

                async def copy_to(copy: Path) -> None:
                    scope.cancel()
                    await trio.lowlevel.checkpoint()

                monkeypatch.setattr(database, "copy_to", copy_to)
            await back_up(database, str(tmp_path / "copy.db"), overwrite=False)
        assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"] * (not is_cancelled)
    assert len(threads) == 2
    assert threading.main_thread() not in threads
