"""Damage is told before anything is written, and nothing is written once it is known.

Whatever is refused is left byte for byte as it was.
"""
# ruff: noqa: ASYNC240  # the tests' own small file accesses may block

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing
from builders import insert as insert_workflow
from builders import linked, new_workflow
from storage_samples import MIGRATIONS, insert, items

from torcd.protocol.errors import Refused, TorcError, Unavailable
from torcd.storage import health as health_module
from torcd.storage.connection import create_database
from torcd.storage.database import open_database
from torcd.storage.faults import Damaged, find_fault
from torcd.storage.load import load_state
from torcd.storage.migrate import load_migrations, migrate
from torcd.storage.soundness import check_schema, find_damage, find_lost

SUFFIXES = ("", "-wal", "-shm")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "torc.db"


@pytest.fixture
async def killed(path: Path) -> Path:
    """What a daemon leaves that is killed: a database whose last changes are in its log only."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir()
    async with open_database(elsewhere / path.name, migrations=MIGRATIONS, file_system="ext4") as database:
        for number in range(20):
            await database.commit(insert(number, "x" * 3000))
        for suffix in SUFFIXES:
            shutil.copyfile(elsewhere / (path.name + suffix), path.with_name(path.name + suffix))
    return path


def files(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}


async def refusal(path: Path, *, was_left_open: bool = True) -> TorcError:
    """Why the database is not opened; it must be left as it is."""
    before = files(path)
    with pytest.raises((Refused, Unavailable)) as caught:
        async with open_database(path, migrations=MIGRATIONS, file_system="ext4", was_left_open=was_left_open):
            raise AssertionError("it was opened")
    assert files(path) == before
    assert str(path) in caught.value.message
    return caught.value


async def damage(path: Path, *, was_left_open: bool = True) -> str:
    error = await refusal(path, was_left_open=was_left_open)
    assert isinstance(error, Damaged)
    assert "It is left as it is" in error.message
    assert "`torcctl daemon restore FILE`" in error.message
    return error.message


# ---- the log ----


async def test_a_killed_daemons_log_is_taken_up(killed: Path) -> None:
    async with open_database(killed, migrations=MIGRATIONS, file_system="ext4", was_left_open=True) as database:
        assert await database.read(items) == list(range(20))


async def test_a_missing_index_is_made_anew(killed: Path) -> None:
    killed.with_name("torc.db-shm").unlink()
    async with open_database(killed, migrations=MIGRATIONS, file_system="ext4", was_left_open=True) as database:
        assert await database.read(items) == list(range(20))


@pytest.mark.parametrize("length", [0, 16, 40, 20_000, -1])
async def test_a_truncated_log_is_damage(killed: Path, length: int) -> None:
    log = killed.with_name("torc.db-wal")
    log.write_bytes(log.read_bytes()[:length])
    assert "its log torc.db-wal lost what was written last" in await damage(killed)


async def test_a_missing_log_is_damage(killed: Path) -> None:
    killed.with_name("torc.db-wal").unlink()
    assert "it is empty or not there" in await damage(killed)


@pytest.mark.parametrize("was_left_open", [True, False])
async def test_a_log_of_garbage_is_damage_whatever_the_index_says(killed: Path, was_left_open: bool) -> None:
    killed.with_name("torc.db-wal").write_bytes(random.Random(1).randbytes(40_000))
    assert "its log" in await damage(killed, was_left_open=was_left_open)


async def test_a_flipped_byte_early_in_the_log_is_damage_after_a_power_cut_too(killed: Path) -> None:
    log = killed.with_name("torc.db-wal")
    data = bytearray(log.read_bytes())
    data[5000] ^= 1
    log.write_bytes(data)
    assert "transactions follow" in await damage(killed, was_left_open=False)
    assert "can be read" in await damage(killed)


async def test_when_log_and_index_are_gone_a_warning_is_all_that_can_be_said(
    killed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A shell that opens and closes the database of a killed daemon leaves it so in all order."""
    with closing(sqlite3.connect(killed)) as shell:
        assert len(items(shell)) == 20
    assert not killed.with_name("torc.db-wal").exists()
    async with open_database(killed, migrations=MIGRATIONS, file_system="ext4", was_left_open=True) as database:
        assert await database.read(items) == list(range(20))
    assert "the log that it left is gone" in caplog.text


# ---- the file ----


async def test_an_empty_file_is_damage_and_not_a_new_database(killed: Path) -> None:
    for suffix in SUFFIXES[1:]:
        killed.with_name("torc.db" + suffix).unlink()
    killed.write_bytes(b"")
    assert "it is empty (0 bytes)" in await damage(killed)


async def test_a_database_that_is_gone_while_its_log_is_there_is_damage(killed: Path) -> None:
    """SQLite would make a new one and delete the log."""
    killed.unlink()
    assert "it is not there, and torc.db-wal, which belongs to it, is" in await damage(killed)


async def test_a_truncated_file_is_damage(path: Path) -> None:
    async with open_database(path, migrations=MIGRATIONS, file_system="ext4") as database:
        for number in range(20):
            await database.commit(insert(number, "x" * 3000))
    path.write_bytes(path.read_bytes()[: 4096 * 5])
    assert "SQLITE_CORRUPT" in await damage(path)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, b"sqlite", "not an SQLite database, or its beginning is damaged"),
        (16, b"\x11\x11", "not an SQLite database, or its beginning is damaged"),
        (60, b"\x00\x00\x00\x09", "its schema is version 9"),
        (60, b"\x00\x00\x00\x00", "it cannot be brought from schema version 0 to 1"),
        (60, b"\xff\xff\xff\xff", "its schema is version -1"),
        (68, b"\x00\x00\x00\x07", "belongs to another program"),
    ],
)
async def test_a_damaged_header_is_refused(path: Path, place: int, value: bytes, said: str) -> None:
    async with open_database(path, migrations=MIGRATIONS, file_system="ext4") as database:
        await database.commit(insert(1))
    data = path.read_bytes()
    path.write_bytes(data[:place] + value + data[place + len(value) :])
    before = path.read_bytes()
    with pytest.raises((Refused, Unavailable), match=said):
        async with open_database(path, migrations=MIGRATIONS, file_system="ext4"):
            pass
    assert path.read_bytes() == before


def test_a_creation_that_is_killed_leaves_no_half_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", kill)
        with pytest.raises(Killed):
            create_database(path, MIGRATIONS)
    assert find_lost(path, was_left_open=False) is None
    assert not path.exists()
    create_database(path, MIGRATIONS)
    assert [each.name for each in path.parent.iterdir()] == ["torc.db"]
    assert path.stat().st_mode & 0o777 == 0o600


# ---- the schema ----


def test_a_schema_that_is_not_that_of_its_version_is_damage(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        migrate(sql, path)
        check_schema(sql, path, load_migrations())
        sql.execute("CREATE INDEX of_my_own ON job (priority)")
        sql.execute("ANALYZE")
        check_schema(sql, path, load_migrations())
        sql.execute("ALTER TABLE job RENAME COLUMN priority TO prioritx")
        with pytest.raises(Damaged, match=r"its schema is not that of version \d+ \(table job\)"):
            check_schema(sql, path, load_migrations())
        sql.execute("ALTER TABLE job RENAME COLUMN prioritx TO priority")
        sql.execute("DROP INDEX task_by_workflow")
        with pytest.raises(Damaged, match="index task_by_workflow"):
            check_schema(sql, path, load_migrations())


# ---- while it is in use ----


async def damaged_later(path: Path) -> None:
    """A database of which one page of a table is not what was written."""
    async with open_database(path, migrations=MIGRATIONS, file_system="ext4") as database:
        for number in range(40):
            await database.commit(insert(number, "x" * 3000))
    data = path.read_bytes()
    page = data.rindex(b"x" * 3000) // 4096 * 4096
    path.write_bytes(data[:page] + b"\xee" * 64 + data[page + 64 :])


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
async def test_damage_that_a_read_finds_ends_all_writing(path: Path, file_system: str) -> None:
    await damaged_later(path)
    async with open_database(path, migrations=MIGRATIONS, file_system=file_system) as database:
        with pytest.raises(Damaged, match="restore a backup"):
            await database.read(lambda sql: sql.execute("SELECT sum(length(note)) FROM item").fetchone())
        before = path.read_bytes() if file_system == "ext4" else None
        with pytest.raises(Damaged):
            await database.commit(insert(100))
        assert await database.read(lambda sql: sql.execute("SELECT 1").fetchone()) == (1,), "what can be read is"
        assert database.health.state == "damaged"
        if before is not None:
            assert path.read_bytes() == before


async def test_damage_that_a_commit_finds_fails_it_and_all_later_ones(path: Path) -> None:
    await damaged_later(path)
    async with open_database(path, migrations=MIGRATIONS, file_system="ext4") as database:
        for work in (lambda sql: sql.execute("UPDATE item SET note = ''"), insert(100)):
            with pytest.raises(Damaged):
                await database.commit(work)


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
async def test_a_check_finds_what_nobody_has_read(path: Path, file_system: str) -> None:
    await damaged_later(path)
    async with open_database(path, migrations=MIGRATIONS, file_system=file_system) as database:
        assert (database.health.state, database.health.damage) == ("running", None)
        await database.health.check(database.find_damage)
        assert database.health.state == "damaged"
        with pytest.raises(Damaged):
            await database.commit(insert(100))


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
async def test_a_check_of_a_sound_database_says_so(path: Path, file_system: str) -> None:
    async with open_database(path, file_system=file_system) as database:
        await database.health.check(database.find_damage)
        assert (database.health.state, database.health.damage) == ("sound", None)


async def test_damage_stands_until_a_thorough_check_does_not_find_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that fails to read looks like damage."""
    monkeypatch.setattr(health_module, "FIRST_PAUSE_S", 0.01)
    findings: list[str | None] = ["a page", "a page", None]

    async def find(thorough: bool) -> str | None:
        await trio.lowlevel.checkpoint()
        return findings.pop(0) if thorough else None

    async with (
        open_database(path, migrations=MIGRATIONS, file_system="ext4") as database,
        trio.open_nursery() as nursery,
    ):
        health = database.health
        nursery.start_soon(health.watch, find)
        await trio.testing.wait_all_tasks_blocked()
        assert health.state == "sound"
        health.meet(Damaged("a read failed", sqlite="SQLITE_CORRUPT"))
        with pytest.raises(Damaged, match="a read failed"):
            await database.commit(insert(1))
        with trio.fail_after(5):
            while health.damage is not None:  # noqa: ASYNC110  # nothing tells of it
                await trio.sleep(0.01)
        assert findings == []
        await database.commit(insert(1))
        nursery.cancel_scope.cancel()
    assert "the damage was not found again" in caplog.text


@pytest.mark.parametrize("error", [Unavailable("the disk reports an error"), sqlite3.OperationalError("locked")])
async def test_a_check_that_cannot_be_made_is_said_to_have_failed(path: Path, error: Exception) -> None:
    async def find(thorough: bool) -> str | None:
        await trio.lowlevel.checkpoint()
        raise error

    async with open_database(path, migrations=MIGRATIONS) as database:
        await database.health.check(find)
        assert (database.health.state, database.health.damage) == ("failed", None)
        await database.commit(insert(1))


async def test_one_value_that_is_no_text_does_not_end_all_writing(path: Path) -> None:
    async with open_database(path, migrations=MIGRATIONS) as database:
        await database.commit(lambda sql: sql.execute("INSERT INTO item VALUES (1, CAST(x'ff41' AS TEXT))"))
        with pytest.raises(Damaged, match="Could not decode"):
            await database.read(lambda sql: sql.execute("SELECT note FROM item").fetchall())
        await database.commit(insert(2))


def test_text_that_is_none_is_damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("CREATE TABLE item (x TEXT)")
        sql.execute("INSERT INTO item VALUES (CAST(x'ff41' AS TEXT))")
        with pytest.raises(sqlite3.OperationalError) as caught:
            sql.execute("SELECT x FROM item").fetchall()
    assert isinstance(find_fault(caught.value, path), Damaged)


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """A real database, of 60 jobs."""
    path = tmp_path / "whole.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        migrate(sql, path)
        insert_workflow(sql, new_workflow(linked(*(f"job{number}" for number in range(60)))))
    return path.read_bytes()


def test_no_flipped_byte_makes_more_than_an_error(whole: bytes, path: Path) -> None:
    """What SQLite sees is damage; what it takes for content may be anything, but ends nothing."""
    luck = random.Random(7)
    used = [place for place, value in enumerate(whole) if value]
    found = 0
    for _ in range(40):
        data = bytearray(whole)
        data[luck.choice(used)] ^= 1 << luck.randrange(8)
        path.write_bytes(data)
        with closing(sqlite3.connect(path, isolation_level=None)) as sql:
            try:
                migrate(sql, path)
                check_schema(sql, path, load_migrations())
                found += find_damage(sql, thorough=True) is not None
                load_state(sql, 1)
            except Exception:  # noqa: BLE001  # whatever it is: the supervisor bears it
                found += 1
    assert found > 5
