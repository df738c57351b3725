"""Commits, reads, opening and failing, on real files."""
# ruff: noqa: ASYNC240  # the tests' own small file accesses may block

import contextlib
import inspect
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest
import trio
import trio.testing
from storage_samples import MIGRATIONS, Gate, endless, insert, items, left_threads

from torcd.protocol.errors import Refused, TimedOut, Unavailable
from torcd.storage import connection as connection_module
from torcd.storage.connection import check_sqlite
from torcd.storage.database import Database, open_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "torc.db"


@pytest.fixture(params=["ext4", "nfs"])
async def database(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Database]:
    """Once with write-ahead logging and three connections, once as on a network file system."""
    async with open_database(path, migrations=MIGRATIONS, file_system=request.param) as opened:
        yield opened


@pytest.fixture
async def local(path: Path) -> AsyncIterator[Database]:
    async with open_database(path, migrations=MIGRATIONS, file_system="ext4") as opened:
        yield opened


async def commit_all(database: Database, works: list) -> list:
    """Commits all at once, behind a gate so that they share a group; what each returned or raised."""
    results: list = [None] * len(works)

    async def one(index: int) -> None:
        try:
            results[index] = await database.commit(works[index])
        except (sqlite3.Error, ArithmeticError, RuntimeError, Unavailable) as error:
            results[index] = error

    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.commit, gate)
        await gate.begun.wait()
        for index in range(len(works)):
            nursery.start_soon(one, index)
            await trio.testing.wait_all_tasks_blocked()  # they queue up in this order
        gate.open.set()
    return results


async def test_a_commit_returns_the_value_of_its_work(database: Database) -> None:
    assert await database.commit(insert(7)) == 7


async def test_a_read_sees_every_commit_that_returned_before_it(database: Database) -> None:
    for number in range(5):
        await database.commit(insert(number))
        assert await database.read(items) == list(range(number + 1))
        assert await database.read(items, long=True) == list(range(number + 1))


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
async def test_what_was_committed_is_there_after_reopening(path: Path, file_system: str) -> None:
    async with open_database(path, migrations=MIGRATIONS, file_system=file_system) as database:
        await database.commit(insert(1))
    async with open_database(path, migrations=MIGRATIONS, file_system=file_system) as database:
        assert await database.read(items) == [1]


async def test_a_database_moves_from_a_local_to_a_network_disk_and_back(path: Path) -> None:
    for number, file_system in enumerate(["ext4", "nfs", "ext4"]):
        async with open_database(path, migrations=MIGRATIONS, file_system=file_system) as database:
            await database.commit(insert(number))
            assert await database.read(items) == list(range(number + 1))


async def test_an_exception_of_a_work_comes_unwrapped_to_its_caller(database: Database) -> None:
    await database.commit(insert(1))
    with pytest.raises(sqlite3.IntegrityError):
        await database.commit(insert(1))
    with pytest.raises(ZeroDivisionError):
        await database.commit(lambda sql: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await database.read(lambda sql: 1 // 0)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.read(lambda sql: sql.execute("SELECT * FROM missing"))
    with pytest.raises(sqlite3.ProgrammingError):
        await database.commit(lambda sql: sql.execute("SELECT ?", ()))


async def test_a_work_that_raises_leaves_nothing_behind(database: Database) -> None:
    def work(sql: sqlite3.Connection) -> None:
        insert(1)(sql)
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await database.commit(work)
    assert await database.read(items) == []
    await database.commit(insert(1))


async def test_a_read_that_writes_raises_and_writes_nothing(database: Database) -> None:
    with pytest.raises((sqlite3.OperationalError, RuntimeError)):
        await database.read(insert(1))
    assert await database.read(items) == []


async def test_commits_that_wait_together_share_a_transaction(database: Database) -> None:
    statements: list[str] = []
    await database.commit(lambda sql: sql.set_trace_callback(statements.append))
    statements.clear()
    assert await commit_all(database, [insert(n) for n in range(50)]) == list(range(50))
    await database.commit(lambda sql: sql.set_trace_callback(None))
    assert statements.count("COMMIT") == 2  # the gate's and the group's


async def test_one_bad_commit_of_a_group_fails_alone(database: Database) -> None:
    works = [insert(1), insert(2), insert(1), insert(3), lambda sql: 1 // 0, insert(4)]
    results = await commit_all(database, works)
    assert results[0:2] == [1, 2]
    assert isinstance(results[2], sqlite3.IntegrityError)
    assert results[3] == 3
    assert isinstance(results[4], ZeroDivisionError)
    assert results[5] == 4
    assert await database.read(items) == [1, 2, 3, 4]


async def test_a_constraint_that_breaks_at_the_end_fails_its_own_commit_alone(database: Database) -> None:
    def orphan(sql: sqlite3.Connection) -> None:
        sql.execute("INSERT INTO part (item_id) VALUES (99)")

    results = await commit_all(database, [insert(1), orphan, insert(2)])
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert await database.read(items) == [1, 2]


async def test_a_work_may_not_end_its_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError, match="ended the transaction"):
        await database.commit(lambda sql: sql.executescript("INSERT INTO item VALUES (1, '')"))
    await database.commit(insert(2))


async def test_a_failed_read_does_not_keep_its_snapshot(database: Database) -> None:
    def half_read(sql: sqlite3.Connection) -> None:
        rows = sql.execute("SELECT id FROM item")
        next(rows)
        raise ArithmeticError

    await database.commit(insert(1))
    await database.commit(insert(2))
    with pytest.raises(ArithmeticError):  # the exception, and with it the frame, lives on
        await database.read(half_read)
    await database.commit(insert(3))
    assert await database.read(items) == [1, 2, 3]


async def test_a_short_query_does_not_wait_behind_a_long_load(local: Database) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: local.read(gate, long=True))
        await gate.begun.wait()
        assert await local.read(items) == []
        assert await local.commit(insert(1)) == 1
        gate.open.set()


async def test_a_query_does_not_wait_behind_a_commit(local: Database) -> None:
    gate = Gate(insert(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(local.commit, gate)
        await gate.begun.wait()
        assert await local.read(items) == []
        gate.open.set()


async def test_a_query_that_takes_too_long_is_stopped(database: Database) -> None:
    with pytest.raises(TimedOut, match=r"torc\.db"):
        await database.read(endless, timeout_s=0.01)
    assert await database.read(items) == []


async def test_two_databases_can_be_open_at_once(tmp_path: Path) -> None:
    async with (
        open_database(tmp_path / "one.db", migrations=MIGRATIONS) as one,
        open_database(tmp_path / "two.db", migrations=MIGRATIONS) as two,
    ):
        await one.commit(insert(1))
        await two.commit(insert(2))
        assert await one.read(items) == [1]
        assert await two.read(items) == [2]


async def test_a_task_from_outside_the_body_can_use_the_database(path: Path) -> None:
    async with trio.open_nursery() as nursery, open_database(path, migrations=MIGRATIONS) as database:
        done = trio.Event()

        async def use() -> None:
            assert await database.commit(insert(1)) == 1
            assert await database.read(items) == [1]
            done.set()

        nursery.start_soon(use)
        await done.wait()


# Settings


def pragma(name: str) -> Callable[[sqlite3.Connection], object]:
    return lambda sql: sql.execute(f"PRAGMA {name}").fetchone()[0]


async def test_commits_are_durable_and_checked(database: Database) -> None:
    assert await database.commit(pragma("synchronous")) == 2
    assert await database.commit(pragma("foreign_keys")) == 1
    assert await database.commit(pragma("journal_mode")) == ("truncate" if database.is_shared else "wal")
    assert await database.commit(pragma("locking_mode")) == ("exclusive" if database.is_shared else "normal")


async def test_readers_cannot_write(local: Database) -> None:
    for long in (False, True):
        assert await local.read(pragma("query_only"), long=long) == 1


async def test_a_new_database_belongs_to_its_owner_alone(local: Database, path: Path) -> None:
    await local.commit(insert(1))
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


async def test_a_shell_that_ends_leaves_the_log_to_the_daemon(local: Database, path: Path) -> None:
    """Whoever closes a descriptor drops all locks of its process: a shell would then take itself for the last user."""
    await local.commit(insert(1))
    shell = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM item').fetchone()[0])"
    )
    done = await trio.run_process([sys.executable, "-c", shell, str(path)], capture_stdout=True)
    assert done.stdout == b"1\n"
    assert path.with_name("torc.db-wal").exists()
    await local.commit(insert(2))
    copy = path.with_name("copy.db")  # what a kill would leave behind
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.db-wal").write_bytes(path.with_name("torc.db-wal").read_bytes())
    with closing(sqlite3.connect(copy)) as sql:
        assert items(sql) == [1, 2]


async def test_a_network_file_system_is_warned_about(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_database(path, migrations=MIGRATIONS, file_system="lustre"):
            pass
    assert f"{path}: on a lustre file system" in caplog.text


def test_an_sqlite_without_strict_tables_is_refused() -> None:
    check_sqlite((3, 37, 0))
    with pytest.raises(Refused, match=r"3\.26\.0 is too old"):
        check_sqlite((3, 26, 0))


# Opening


async def fails_to_open(path: Path) -> Exception:
    with pytest.raises((Refused, Unavailable)) as caught:
        async with open_database(path, migrations=MIGRATIONS):
            raise AssertionError("it was opened")
    assert str(path) in caught.value.message
    assert left_threads() == []
    return caught.value


async def test_a_file_that_is_not_a_database_is_refused_untouched(path: Path) -> None:
    path.write_bytes(b"#!/bin/bash\n" * 100)
    assert "not an SQLite database" in str(await fails_to_open(path))
    assert path.read_bytes() == b"#!/bin/bash\n" * 100


async def test_a_damaged_database_is_said_to_be_damaged(path: Path) -> None:
    async with open_database(path, migrations=MIGRATIONS):
        pass
    with path.open("r+b") as file:  # the first page after its header is the schema
        file.seek(100)
        file.write(b"\xff" * 3996)
    assert "damaged" in str(await fails_to_open(path))


async def test_a_database_of_another_program_is_refused_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE bookmark (url)")
    before = path.read_bytes()
    assert "another program" in str(await fails_to_open(path))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert "No such file or directory" in str(await fails_to_open(tmp_path / "missing" / "torc.db"))
    assert "Is a directory" in str(await fails_to_open(tmp_path))


async def test_a_migration_that_fails_leaves_no_thread(path: Path) -> None:
    wrong = [*MIGRATIONS, MIGRATIONS[0].__class__(version=2, name="wrong", sql="CREATE TABLE item (x)")]
    with pytest.raises(Refused, match="already exists"):
        async with open_database(path, migrations=wrong):
            pass
    assert left_threads() == []


async def test_an_exception_of_the_body_passes_unwrapped_and_closes_everything(path: Path) -> None:
    async def body() -> None:
        async with open_database(path, migrations=MIGRATIONS) as database:
            await database.commit(insert(1))
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await body()
    assert left_threads() == []
    with closing(sqlite3.connect(path)) as sql:
        assert items(sql) == [1]


async def test_the_threads_have_names(local: Database) -> None:
    names = {await local.commit(lambda sql: threading.current_thread().name)}
    for long in (False, True):
        names.add(await local.read(lambda sql: threading.current_thread().name, long=long))
    assert names == {"torcd-sql-writer", "torcd-sql-short", "torcd-sql-long"}


# Faults of the disk


def fill(sql: sqlite3.Connection) -> None:
    sql.execute("INSERT INTO item (note) VALUES (?)", ("x" * 4_000_000,))


async def test_a_full_database_fails_the_commit_and_accepts_later_ones(database: Database) -> None:
    await database.commit(lambda sql: sql.execute("PRAGMA max_page_count = 20").fetchone())
    with pytest.raises(Unavailable, match="disk is full") as caught:
        await database.commit(fill)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert str(database.path) in caught.value.message
    await database.commit(insert(1))
    assert await database.read(items) == [1]
    await database.commit(lambda sql: sql.execute("PRAGMA max_page_count = 100000").fetchone())
    await database.commit(fill)


async def test_in_a_full_database_the_commits_that_fit_succeed(database: Database) -> None:
    await database.commit(lambda sql: sql.execute("PRAGMA max_page_count = 20").fetchone())
    results = await commit_all(database, [insert(1), fill, insert(2)])
    assert isinstance(results[1], Unavailable)
    assert await database.read(items) == [1, 2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    point = tmp_path / "small"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(point)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield point
    subprocess.run(["umount", str(point)], check=True)


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
async def test_after_a_full_disk_commits_succeed_when_there_is_space(small_disk: Path, file_system: str) -> None:
    path = small_disk / "torc.db"
    async with open_database(path, migrations=MIGRATIONS, file_system=file_system) as database:
        await database.commit(insert(1))
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        with pytest.raises(Unavailable, match=str(path)):
            await database.commit(lambda sql: sql.execute("INSERT INTO item VALUES (2, ?)", ("x" * 90_000,)))
        assert await database.read(items) == [1]
        ballast.unlink()
        await database.commit(insert(3))
        assert await database.read(items) == [1, 3]


async def test_while_another_process_writes_every_commit_fails_after_one_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BUSY_TIMEOUT_S", 0.2)
    statements: list[str] = []
    async with open_database(path, migrations=MIGRATIONS) as database:
        await database.commit(lambda sql: sql.set_trace_callback(statements.append))
        statements.clear()
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            outcomes: list[Unavailable] = []

            async def one(number: int) -> None:
                with pytest.raises(Unavailable, match="another process") as caught:
                    await database.commit(insert(number))
                outcomes.append(caught.value)

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(one, number)
            assert len({id(error) for error in outcomes}) == 20
            assert statements == ["BEGIN IMMEDIATE"]
            shell.execute("ROLLBACK")
        await database.commit(insert(1))
        assert await database.read(items) == [1]


# The contract with aiosqlite


async def test_aiosqlite_still_has_what_the_one_hop_needs() -> None:
    """Fails when a new aiosqlite needs another `_SqlThread`; see docs/adr/0001-aiosqlite-under-trio.md."""
    assert list(inspect.signature(aiosqlite.Connection.__init__).parameters)[1:3] == [
        "connector",
        "iter_chunk_size",
    ], "aiosqlite.Connection takes other arguments"
    assert list(inspect.signature(aiosqlite.Connection._execute).parameters) == [
        "self",
        "fn",
        "args",
        "kwargs",
    ], "aiosqlite.Connection._execute takes other arguments"
    assert inspect.iscoroutinefunction(aiosqlite.Connection._execute)
    assert not inspect.iscoroutinefunction(aiosqlite.Connection.stop), "stop() must not need an await"
    connection = aiosqlite.Connection(lambda: sqlite3.connect(":memory:"), iter_chunk_size=64)
    assert isinstance(connection._thread, threading.Thread), "aiosqlite's thread is not in _thread"
    assert not connection._thread.is_alive(), "the thread must not start before daemon is set"
