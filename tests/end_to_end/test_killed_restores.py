"""SIGKILL in the middle of `daemon restore` and `daemon backup`: what was there, or what was to be, and no third."""

import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from real_system import PATIENCE_S, System, ask

from torcd.protocol.requests import GetUserData, UpdateUserData
from torcd.storage.replacement import complete_restore

NOTE = {"name": "one", "user_data": [{"name": "note", "data": 0}], "jobs": [{"name": "a", "command": "true"}]}

KILLED = """
import os, signal, sys
left = {count}
def watch(event, arguments):
    global left
    if event in ("open", "os.rename", "os.link", "os.remove", "sqlite3.connect") and {name!r} in str(arguments[:2]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
from torcd.__main__ import main
main()
"""
"""torcd, killed when it is about to touch a file of this name once more than so often."""

STEP = 8
"""Of the touches every eighth, so that it takes seconds; all that a restore does: `storage/test_replacement.py`."""


def killed_at(count: int, name: str) -> tuple[str, str]:
    return "-c", KILLED.format(count=count, name=name)


def set_note(system: System, data: str) -> None:
    ask(system.connect(), UpdateUserData(workflow_id=1, name="note", data=data))


def note(system: System) -> object:
    return system.call(GetUserData(workflow_id=1, name="note"))["data"]


def note_in(path: Path) -> str:
    with closing(sqlite3.connect(path)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return str(copy.execute("SELECT data FROM user_data_version ORDER BY version DESC LIMIT 1").fetchone()[0])


def test_a_killed_restore_leaves_the_old_or_the_new_database(alone: System, tmp_path: Path) -> None:
    alone.start_daemon()
    alone.create(NOTE)
    set_note(alone, "then")
    backup = alone.torcctl("daemon", "backup", tmp_path / "copy.db", json=True)["path"]
    set_note(alone, "now")
    alone.kill_daemon()  # it leaves a log
    before = tmp_path / "before"
    shutil.copytree(alone.database.parent, before)
    found: list[str] = []
    for count in range(0, 200, STEP):
        shutil.rmtree(alone.database.parent)
        shutil.copytree(before, alone.database.parent)
        restore = alone.spawn_daemon("--restore", backup, words=killed_at(count, alone.database.name))
        out, _ = restore.communicate(timeout=PATIENCE_S)
        complete_restore(alone.database)  # as a daemon does that is started
        found.append(note_in(alone.database))
        if restore.returncode == 0:
            break
        assert restore.returncode == -signal.SIGKILL, out.decode()
    assert found == ['"now"'] * found.count('"now"') + ['"then"'] * found.count('"then"')
    assert found.count('"now"') > 1
    assert found.count('"then"') > 1
    alone.start_daemon()
    assert note(alone) == "then"


def test_a_daemon_that_is_killed_in_a_backup_leaves_the_former_file_or_the_new_one(alone: System) -> None:
    alone.start_daemon()
    alone.create(NOTE)
    set_note(alone, "then")
    copy = Path(alone.torcctl("daemon", "backup", "copy.db", json=True)["path"])
    former = copy.read_bytes()
    set_note(alone, "now")
    alone.stop_daemon()
    found: list[str] = []
    for count in range(0, 200, STEP // 2):
        copy.write_bytes(former)
        alone.start_daemon(words=killed_at(count, copy.name))
        made = alone.torcctl("--no-autostart", "daemon", "backup", copy, "--overwrite", check=False)
        found.append(note_in(copy))
        if made.code == 0:
            break
        assert alone.daemon is not None
        assert alone.daemon.wait(PATIENCE_S) == -signal.SIGKILL, made.err
    assert note(alone) == "now"
    assert found == ['"then"'] * found.count('"then"') + ['"now"'] * found.count('"now"')
    assert found.count('"then"') > 1
    assert found[-1] == '"now"'
