"""Backups: one moment's state as one file, made beside everything else, and named only when it was checked."""
# ruff: noqa: ASYNC240  # the tests' own small file accesses may block

import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing
from storage_samples import MIGRATIONS, Gate, insert, items, left_threads

from torcd.protocol.errors import Conflict, Refused, TorcError, Unavailable
from torcd.storage import backup as backup_module
from torcd.storage import database as database_module
from torcd.storage.backup import BackupFile, copy_pages, publish
from torcd.storage.connection import create_file
from torcd.storage.database import Database, open_database
from torcd.storage.faults import Damaged

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "torc.db"


@pytest.fixture(params=["ext4", "nfs"])
async def database(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Database]:
    """Of some 400 pages: with write-ahead logging, and on the single connection of network file systems."""
    async with open_database(path, migrations=MIGRATIONS, file_system=request.param) as opened:
        await opened.commit(lambda sql: [insert(number, "x" * 3000)(sql) for number in range(400)])
        yield opened


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten pages in a piece, so that there are many."""
    monkeypatch.setattr(backup_module, "PIECE_PAGES", 10)


def contents(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return items(sql)


async def make(database: Database, target: Path | None, *, overwrite: bool = False) -> Path:
    """A backup, as the operation makes it."""
    file = BackupFile(database.path, target, overwrite=overwrite, now=NOW)
    try:
        await database.copy_to(file.draft)
        file.finish(MIGRATIONS)
    finally:
        file.discard()
    return file.path


async def test_a_backup_is_one_file_with_all_that_was_committed(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "copy.db"
    target.parent.mkdir()
    assert await make(database, target) == target
    assert [each.name for each in target.parent.iterdir()] == ["copy.db"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert contents(target) == list(range(400))


@pytest.fixture
def in_pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Callable[[], None]], None]], None]:
    """Has a function called instead of each pause of a copy, in its thread; it gets the pause."""

    def set_up(instead: Callable[[Callable[[], None]], None]) -> None:
        def copy(source: sqlite3.Connection, target: Path, pause: Callable[[], None]) -> None:
            copy_pages(source, target, lambda: instead(pause))

        monkeypatch.setattr(database_module, "copy_pages", copy)
        monkeypatch.setattr(backup_module, "copy_pages", copy)

    return set_up


@pytest.mark.usefixtures("pieces")
async def test_commits_and_reads_go_on_while_it_is_copied_and_it_is_one_moments_state(
    database: Database, tmp_path: Path, in_pauses: Callable[..., None]
) -> None:
    """Each transaction adds one and removes another: no moment has another number of them."""
    copied, committed = trio.Event(), threading.Event()
    commits = 0

    def swap(sql: sqlite3.Connection) -> None:
        sql.execute("DELETE FROM item WHERE id = ?", (commits,))
        insert(commits + 400, "y" * 3000)(sql)

    async def write() -> None:
        nonlocal commits
        while not copied.is_set():
            await database.commit(swap)
            commits += 1
            assert len(await database.read(items)) == 400
            committed.set()

    def wait_for_a_commit(pause: Callable[[], None]) -> None:
        committed.clear()
        while not committed.wait(0.001):
            pause()

    in_pauses(wait_for_a_commit)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        path = await make(database, tmp_path / "copy.db")
        copied.set()
    found = contents(path)
    assert found == list(range(found[0], found[0] + 400))
    assert found[0] <= commits
    assert commits > 30


@pytest.mark.usefixtures("pieces")
async def test_a_failed_commit_in_a_pause_fails_its_caller_alone(path: Path) -> None:
    async with open_database(path, migrations=MIGRATIONS, file_system="nfs") as database:
        await database.commit(lambda sql: [insert(number, "x" * 3000)(sql) for number in range(100)])
        failures = 0

        async def write() -> None:
            nonlocal failures
            while True:
                try:
                    await database.commit(insert(1))
                except sqlite3.IntegrityError:
                    failures += 1
                with trio.move_on_after(0):
                    await database.read(items)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            assert contents(await make(database, path.with_name("copy.db"))) == list(range(100))
            nursery.cancel_scope.cancel()
        assert failures
        await database.commit(insert(200))


@pytest.mark.usefixtures("pieces")
async def test_a_backup_that_is_cancelled_leaves_nothing_and_the_database_free(
    database: Database, tmp_path: Path, in_pauses: Callable[..., None]
) -> None:
    gate, begun = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def hold(pause: Callable[[], None]) -> None:
        token.run_sync_soon(begun.set)
        gate.wait(10)
        pause()

    in_pauses(hold)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            await make(database, tmp_path / "copy.db")

        nursery.start_soon(ask)
        await begun.wait()
        nursery.cancel_scope.cancel()
        gate.set()
    await database.commit(insert(1000))
    assert 1000 in await database.read(items)
    assert not [each for each in tmp_path.iterdir() if "copy" in each.name]


async def test_the_single_connection_is_served_by_whoever_has_it(path: Path) -> None:
    """Also a work that waits when the long function ends."""
    async with open_database(path, migrations=MIGRATIONS, file_system="nfs") as database:
        gate = Gate()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await database._thread.run_with_pauses(lambda sql, pause: gate(sql)) == "through"

            nursery.start_soon(ask)
            await gate.begun.wait()
            nursery.start_soon(database.commit, insert(1))
            await trio.testing.wait_all_tasks_blocked()
            gate.open.set()
        assert await database.read(items) == [1]
    assert left_threads() == []


# ---- names ----


def draft(tmp_path: Path) -> Path:
    made = tmp_path / "draft"
    create_file(made)
    return made


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_overwritten(path: Path, tmp_path: Path) -> None:
    path.touch()
    taken = tmp_path / "taken.db"
    taken.write_text("mine")
    with pytest.raises(Conflict, match="exists already: choose another name, or say --overwrite"):
        BackupFile(path, taken, overwrite=False, now=NOW)
    with pytest.raises(Conflict):  # also when it was taken meanwhile
        publish(draft(tmp_path), taken, overwrite=False)
    assert taken.read_text() == "mine"
    publish(tmp_path / "draft", taken, overwrite=True)
    assert taken.read_text() == ""
    assert not (tmp_path / "draft").exists()


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    publish(draft(tmp_path), tmp_path / "copy.db", overwrite=False)
    with pytest.raises(Conflict):
        publish(draft(tmp_path), tmp_path / "copy.db", overwrite=False)


@pytest.mark.parametrize(
    "name", ["torc.db", "torc.db-wal", "torc.db-shm", "torc.db.lock", "torc.db.restore", "torc.db.restoring", "link.db"]
)
def test_the_databases_own_files_are_never_overwritten(path: Path, name: str) -> None:
    path.write_text("the database")
    path.with_name("link.db").symlink_to(path)
    with pytest.raises(Refused, match="is the database's own file"):
        BackupFile(path, path.with_name(name), overwrite=True, now=NOW)
    assert path.read_text() == "the database"


def test_without_a_name_it_is_dated_and_lies_beside_the_database(path: Path, tmp_path: Path) -> None:
    path.write_text("")
    file = BackupFile(path, None, overwrite=False, now=NOW)
    assert file.path == tmp_path / "backups" / "torc-20260304T050607Z.db"
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    into = BackupFile(path, tmp_path, overwrite=False, now=NOW)
    assert into.path == tmp_path / "torc-20260304T050607Z.db"
    with pytest.raises(Refused, match="its directory does not exist"):
        BackupFile(path, tmp_path / "missing" / "x.db", overwrite=False, now=NOW)


# ---- what is damaged gets no name ----


async def test_a_copy_that_does_not_pass_the_check_is_not_kept(path: Path) -> None:
    async with open_database(path, migrations=MIGRATIONS, file_system="ext4") as database:
        await database.commit(lambda sql: [insert(number, "x" * 3000)(sql) for number in range(40)])
    data = path.read_bytes()
    page = data.rindex(b"x" * 3000) // 4096 * 4096
    path.write_bytes(data[:page] + b"\xee" * 64 + data[page + 64 :])
    async with open_database(path, migrations=MIGRATIONS, file_system="ext4") as database:
        with pytest.raises(Damaged, match=r"copy\.db"):
            await make(database, path.with_name("copy.db"))
    assert not [each for each in path.parent.iterdir() if "copy" in each.name]


async def test_a_disk_that_is_full_fails_the_backup_alone(database: Database, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with pytest.raises((TorcError, OSError)):
        await database.copy_to(Path("/dev/full"))
    await database.commit(insert(1000))
    assert 1000 in await database.read(items)


# ---- before a migration ----


async def test_an_older_database_is_kept_before_it_is_brought_to_a_newer_version(path: Path) -> None:
    """The older torcd could not read it any more."""
    async with open_database(path, migrations=MIGRATIONS) as database:
        await database.commit(insert(1))
    newer = [*MIGRATIONS, MIGRATIONS[0].__class__(version=2, name="more", sql="CREATE TABLE more (x)")]
    async with open_database(path, migrations=newer):
        pass
    (kept,) = (path.parent / "backups").iterdir()
    assert kept.name.startswith("torc-version-1-")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert contents(kept) == [1]
    with closing(sqlite3.connect(kept)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (1,)
    async with open_database(path, migrations=newer):
        pass
    assert len(list((path.parent / "backups").iterdir())) == 1


async def test_a_database_that_cannot_be_kept_is_not_migrated(path: Path) -> None:
    async with open_database(path, migrations=MIGRATIONS):
        pass
    before = path.read_bytes()
    (path.parent / "backups").write_text("in the way")
    newer = [*MIGRATIONS, MIGRATIONS[0].__class__(version=2, name="more", sql="CREATE TABLE more (x)")]
    with pytest.raises(Unavailable, match=r"its backup in .*backups cannot be written"):
        async with open_database(path, migrations=newer, file_system="nfs"):
            pass
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (1,)
    assert len(path.read_bytes()) == len(before)
