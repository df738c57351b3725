"""A backup takes the place of the database whole or not at all, and what was there is kept."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from builders import insert as insert_workflow
from builders import linked, new_workflow

from torcd.protocol.errors import Refused, Unavailable
from torcd.protocol.model import Restored
from torcd.storage.fence import ATTEMPT_GAP, GAP, WORKFLOW_GAP, read_marks
from torcd.storage.load import load_state
from torcd.storage.migrate import load_migrations, migrate
from torcd.storage.replacement import complete_restore, restore
from torcd.storage.soundness import find_lost

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEPT = "torc.db.replaced-20260304T050607Z"
STEPS = load_migrations()


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of the program runs after it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory / "torc.db"


def fill(path: Path, names: list[str], *, version: int = len(STEPS)) -> None:
    """A database with a workflow of each name."""
    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        migrate(sql, path, STEPS[:version])
        for name in names:
            if version == len(STEPS):
                insert_workflow(sql, new_workflow(linked("a", "b")))
                sql.execute("UPDATE workflow SET name = ? WHERE id = (SELECT max(id) FROM workflow)", (name,))


def names(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [name for (name,) in sql.execute("SELECT name FROM workflow ORDER BY id")]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    made = tmp_path / "backup.db"
    fill(made, ["then"])
    return made


@pytest.fixture
def database(path: Path) -> Path:
    """As a killed daemon leaves it: the last workflow is in its log only."""
    fill(path, ["then"])
    source = path.with_name("source")
    source.mkdir()
    shutil.copyfile(path, source / "torc.db")
    with closing(sqlite3.connect(source / "torc.db", isolation_level=None)) as sql:
        sql.execute("PRAGMA journal_mode = WAL")
        insert_workflow(sql, new_workflow(linked("a", "b")))
        sql.execute("UPDATE workflow SET name = 'now' WHERE id = 2")
        for suffix in ("", "-wal", "-shm"):
            shutil.copyfile(source / f"torc.db{suffix}", path.with_name(f"torc.db{suffix}"))
    shutil.rmtree(source)
    return path


def put_back(path: Path, backup: Path, *, was_left_open: bool = True) -> Restored:
    return restore(path, backup, STEPS, was_left_open=was_left_open, now=NOW)


def left(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


def test_the_backup_takes_the_place_and_what_was_there_is_kept_with_its_log(database: Path, backup: Path) -> None:
    before = {suffix: database.with_name(f"torc.db{suffix}").read_bytes() for suffix in ("", "-wal")}
    content = backup.read_bytes()
    restored = put_back(database, backup)
    assert restored == Restored(
        database=str(database),
        restored_from=str(backup),
        kept=str(database.with_name(KEPT)),
        size_bytes=database.stat().st_size,
        workflows=1,
        schema_version=len(STEPS),
    )
    assert left(database) == {"torc.db", KEPT, f"{KEPT}-wal", f"{KEPT}-shm"}
    for suffix, data in before.items():
        assert database.with_name(KEPT + suffix).read_bytes() == data
    assert names(database) == ["then"]
    assert names(database.with_name(KEPT)) == ["then", "now"]
    assert backup.read_bytes() == content
    assert database.stat().st_mode & 0o777 == 0o600


def test_where_nothing_was_nothing_is_kept(path: Path, backup: Path) -> None:
    assert put_back(path, backup).kept is None
    assert left(path) == {"torc.db"}


def test_twice_in_a_second_keeps_both(database: Path, backup: Path) -> None:
    first, second = put_back(database, backup), put_back(database, backup)
    assert (first.kept, second.kept) == (str(database.with_name(KEPT)), str(database.with_name(f"{KEPT}-2")))
    assert names(database.with_name(KEPT)) == ["then", "now"]


def test_a_database_with_its_log_is_a_backup_too(database: Path, tmp_path: Path) -> None:
    """What somebody copied with `cp torc.db*`."""
    for suffix in ("", "-wal"):
        shutil.copyfile(database.with_name(f"torc.db{suffix}"), tmp_path / f"copied.db{suffix}")
    put_back(database, tmp_path / "copied.db")
    assert names(database) == ["then", "now"]


def test_the_database_itself_goes_on_with_what_of_it_can_be_read(database: Path) -> None:
    """The way out after a log lost its end."""
    log = database.with_name("torc.db-wal")
    log.write_bytes(log.read_bytes()[:100])
    assert find_lost(database, was_left_open=True) is not None
    put_back(database, database)
    assert find_lost(database, was_left_open=False) is None
    assert names(database) == ["then"]
    assert database.with_name(f"{KEPT}-wal").stat().st_size == 100


def test_a_backup_of_an_earlier_version_is_brought_to_this_one(database: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    fill(old, [], version=2)
    assert put_back(database, old).schema_version == 2
    with closing(sqlite3.connect(database)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    with closing(sqlite3.connect(old)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (2,)


# ---- what is of no use ----


def damage(backup: Path) -> None:
    data = bytearray(backup.read_bytes())
    with closing(sqlite3.connect(backup)) as sql:
        (root,) = sql.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()
    data[(root - 1) * 4096] ^= 0xFF
    backup.write_bytes(data)


def is_newer(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as sql:
        sql.execute("PRAGMA user_version = 99")


def is_foreign(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as sql:
        sql.execute("PRAGMA application_id = 99")


def is_empty(backup: Path) -> None:
    backup.write_bytes(b"")


def is_text(backup: Path) -> None:
    backup.write_text("no database" * 1000)


def is_missing(backup: Path) -> None:
    backup.unlink()


@pytest.mark.parametrize("spoil", [damage, is_newer, is_foreign, is_empty, is_text, is_missing])
def test_a_backup_that_is_of_no_use_changes_nothing(database: Path, backup: Path, spoil: Any) -> None:
    spoil(backup)
    before = {name: database.with_name(name).read_bytes() for name in left(database) if not name.endswith("-shm")}
    with pytest.raises(Refused, match=r"backup\.db"):
        put_back(database, backup)
    assert {name: database.with_name(name).read_bytes() for name in left(database) if name[-4:] != "-shm"} == before


def test_a_disk_without_room_changes_nothing(database: Path, backup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = left(database)
    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(Unavailable, match=r"cannot be restored: No space left on device\. Nothing was changed"):
        put_back(database, backup)
    assert left(database) == before


# ---- killed at any step ----


class Fuse:
    """Kills at the nth change of a name or file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.left = count
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "unlink"), (shutil, "copyfile"), (os, "open")):
            self._guard(monkeypatch, owner, name)

    def _guard(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def guarded(*arguments: Any, **options: Any) -> Any:
            if self.left <= 0:
                raise Killed
            self.left -= 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, guarded)


def test_a_kill_at_any_step_leaves_the_old_or_the_new_whole(tmp_path: Path, backup: Path, database: Path) -> None:
    """Never one with the log of the other, and what was there is never lost."""
    outcomes = []
    for count in range(80):
        directory = tmp_path / f"round {count}"
        shutil.copytree(database.parent, directory)
        path = directory / "torc.db"
        with pytest.MonkeyPatch.context() as patch:
            Fuse(patch, count)
            with suppress(Killed):
                put_back(path, backup)
                outcomes.append("done")
        was_completed = complete_restore(path)
        assert not complete_restore(path)
        assert not [each for each in left(path) if "restoring" in each]
        assert find_lost(path, was_left_open=True) is None or was_completed
        found = names(path)
        kept = [each for each in left(path) if "replaced" in each and each[-4:] not in ("-wal", "-shm")]
        if found == ["then", "now"]:
            assert kept == []
            outcomes.append("old")
        else:
            assert found == ["then"]
            assert [names(path.with_name(name)) for name in kept] == [["then", "now"]]
            outcomes.append("new")
        if count % 5 == 0:
            assert put_back(path, backup).workflows == 1, "and then it can be done again"
        shutil.rmtree(directory)
        if outcomes[-2:-1] == ["done"]:
            break
    assert outcomes[-2] == "done"
    assert outcomes.count("old") > 3
    assert outcomes.count("new") > 3
    assert "old" not in outcomes[outcomes.index("new") :]


# ---- numbers that were given since ----


def last_ids(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as sql:
        return dict(sql.execute("SELECT name, seq FROM sqlite_sequence"))


def test_ids_go_on_from_those_of_the_database_that_was_replaced(database: Path, backup: Path) -> None:
    """SEMANTICS 5.3: an id that somebody holds never comes to mean something else"""
    marks = read_marks(database, was_left_open=True)
    assert marks is not None
    assert marks.ids["workflow"] == 2
    put_back(database, backup)
    after = last_ids(database)
    assert {table: after[table] for table in marks.ids} == marks.ids
    with closing(sqlite3.connect(database, isolation_level=None)) as sql:
        insert_workflow(sql, new_workflow(linked("a")))
        assert sql.execute("SELECT id FROM workflow ORDER BY id").fetchall() == [(1,), (3,)]


@pytest.mark.parametrize("how", ["its log lost its end", "it is garbage", "it is gone"])
def test_where_the_last_ids_cannot_be_known_a_gap_is_left(database: Path, backup: Path, how: str) -> None:
    if how == "its log lost its end":
        database.with_name("torc.db-wal").write_bytes(b"")
    elif how == "it is garbage":
        database.write_bytes(b"garbage" * 5000)
    else:
        for name in left(database):
            database.with_name(name).unlink()
    before = last_ids(backup)
    put_back(database, backup)
    after = last_ids(database)
    assert after["workflow"] == before["workflow"] + WORKFLOW_GAP
    assert after["job"] == before["job"] + GAP
    assert after["worker"] == GAP
    with closing(sqlite3.connect(database)) as sql:
        assert load_state(sql, 1).attempt_floor == ATTEMPT_GAP


def test_attempts_are_numbered_above_those_of_the_database_that_was_replaced(database: Path, backup: Path) -> None:
    """SEMANTICS 5.3"""
    with closing(sqlite3.connect(database)) as sql, sql:
        sql.execute("UPDATE job_state SET attempt = 7 WHERE workflow_id = 1")
    put_back(database, backup)
    put_back(database, backup)  # the floor itself is remembered
    with closing(sqlite3.connect(database)) as sql:
        assert load_state(sql, 1).attempt_floor == 7
