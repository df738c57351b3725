"""What can be relied on after a cancellation, a close or a kill. Real clock: SQLite works in threads."""

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
import trio
from storage_samples import MIGRATIONS, Gate, endless, insert, items, left_threads
from trio.testing import wait_all_tasks_blocked

from torcd.protocol.errors import Unavailable
from torcd.storage.database import Database, open_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "torc.db"


@pytest.fixture(params=["ext4", "nfs"])
async def database(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Database]:
    """Once with write-ahead logging and three connections, once as on a network file system."""
    async with open_database(path, migrations=MIGRATIONS, file_system=request.param) as opened:
        yield opened


async def test_a_commit_under_way_is_not_cancelled(database: Database) -> None:
    gate = Gate(insert(1))
    scope = trio.CancelScope()
    values: list[object] = []

    async def caller() -> None:
        with scope:
            values.append(await database.commit(gate))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await gate.begun.wait()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert values == []
        gate.open.set()
    assert values == [1]
    assert not scope.cancelled_caught
    assert await database.read(items) == [1]


async def test_a_commit_cancelled_in_the_queue_never_runs(database: Database) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.commit, gate)
        await gate.begun.wait()
        with trio.move_on_after(0) as scope:
            await database.commit(insert(1))
        assert scope.cancelled_caught  # while the gate is still closed
        gate.open.set()
    await database.commit(insert(2))
    assert await database.read(items) == [2]


async def test_a_commit_of_a_cancelled_task_does_not_start(database: Database) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await database.commit(insert(1))
    assert scope.cancelled_caught
    assert await database.read(items) == []


async def test_a_cancelled_nursery_withdraws_what_is_queued_and_waits_for_the_rest(
    database: Database,
) -> None:
    gate = Gate(insert(0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.commit, gate)
        await gate.begun.wait()
        for number in range(1, 200):
            nursery.start_soon(database.commit, insert(number))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        gate.open.set()
    assert await database.read(items) == [0]


async def test_in_a_storm_of_cancellations_exactly_the_reported_commits_are_there(database: Database) -> None:
    random_ = random.Random(1)
    reported: set[int] = set()
    cancelled: set[int] = set()

    async def caller(number: int, patience_s: float) -> None:
        with trio.move_on_after(patience_s) as scope:
            reported.add(await database.commit(insert(number)))
        if scope.cancelled_caught:
            cancelled.add(number)

    async with trio.open_nursery() as nursery:
        for number in range(3000):
            nursery.start_soon(caller, number, random_.uniform(0, 0.12))
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
    assert reported | cancelled == set(range(3000))
    assert not reported & cancelled
    assert reported
    assert cancelled
    assert set(await database.read(items)) == reported


async def test_a_storm_of_cancelled_reads_and_commits_leaves_the_database_usable(database: Database) -> None:
    random_ = random.Random(2)
    done: set[int] = set()

    async def writer(number: int) -> None:
        done.add(await database.commit(insert(number)))

    async def reader(patience_s: float, work: object) -> None:
        with trio.move_on_after(patience_s):
            await database.read(work)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(writer, number)
            nursery.start_soon(reader, random_.uniform(0, 0.02), random_.choice([endless, items]))
    assert await database.read(items) == sorted(done) == list(range(100))


async def test_a_cancelled_query_is_interrupted_and_the_connection_free_again(database: Database) -> None:
    begun = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def work(sql: sqlite3.Connection) -> None:
        token.run_sync_soon(begun.set)
        endless(sql)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.read, work)
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert await database.read(items) == []
    await database.commit(insert(1))
    assert await database.read(items) == [1]


async def test_an_interrupt_between_two_statements_ends_the_next_one(database: Database) -> None:
    gate = Gate(endless)  # in Python when it is cancelled, then in SQL
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.read, gate)
        await gate.begun.wait()
        nursery.cancel_scope.cancel()
        gate.open.set()
    assert await database.read(items) == []


async def test_an_interrupted_query_with_open_cursors_does_not_spoil_the_next(database: Database) -> None:
    await database.commit(insert(1))
    await database.commit(insert(2))

    def work(sql: sqlite3.Connection) -> object:
        rows = sql.execute("SELECT id FROM item")
        next(rows)
        return endless(sql), rows

    for _ in range(3):
        with trio.move_on_after(0.01) as scope:
            await database.read(work)
        assert scope.cancelled_caught
        assert await database.read(items) == [1, 2]


async def test_a_query_cancelled_in_the_queue_never_runs(database: Database) -> None:
    gate = Gate()
    ran = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.read, gate)
        await gate.begun.wait()
        with trio.move_on_after(0) as scope:
            await database.read(ran.append)
        assert scope.cancelled_caught
        gate.open.set()
    await database.read(items)
    assert ran == []


async def test_a_query_that_fails_while_it_is_cancelled_tells_its_error(database: Database) -> None:
    gate = Gate(lambda sql: 1 // 0)

    async def caller() -> None:
        with pytest.raises(ZeroDivisionError):
            await database.read(gate)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await gate.begun.wait()
        nursery.cancel_scope.cancel()
        gate.open.set()


# Closing


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
async def test_closing_makes_the_commits_that_are_queued(path: Path, file_system: str) -> None:
    done: list[int] = []
    async with (
        trio.open_nursery() as nursery,
        open_database(path, migrations=MIGRATIONS, file_system=file_system) as database,
    ):

        async def caller(number: int) -> None:
            done.append(await database.commit(insert(number)))

        gate = Gate()
        nursery.start_soon(database.commit, gate)
        await gate.begun.wait()
        for number in range(50):
            nursery.start_soon(caller, number)
        await wait_all_tasks_blocked()
        gate.open.set()
    assert sorted(done) == list(range(50))
    assert left_threads() == []
    async with open_database(path, migrations=MIGRATIONS) as database:
        assert await database.read(items) == list(range(50))


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
async def test_closing_stops_queries_and_refuses_what_comes_later(path: Path, file_system: str) -> None:
    refused = []

    async def reader(database: Database, work: object) -> None:
        with pytest.raises(Unavailable, match="being closed: nothing was done"):
            await database.read(work)
        refused.append(work)

    async with (
        trio.open_nursery() as nursery,
        open_database(path, migrations=MIGRATIONS, file_system=file_system) as database,
    ):
        nursery.start_soon(reader, database, endless)
        await wait_all_tasks_blocked()
        nursery.start_soon(reader, database, items)
        await wait_all_tasks_blocked()
    assert refused == [items, endless]
    with pytest.raises(Unavailable, match="being closed"):
        await database.commit(insert(1))
    with pytest.raises(Unavailable, match="being closed"):
        await database.read(items)
    assert left_threads() == []


async def test_a_cancelled_body_finishes_its_commit_and_closes(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_database(path, migrations=MIGRATIONS) as database, trio.open_nursery() as nursery:
            gate = Gate(insert(1))
            nursery.start_soon(database.commit, gate)
            nursery.start_soon(trio.sleep_forever)
            await gate.begun.wait()
            scope.cancel()
            gate.open.set()
    assert scope.cancelled_caught
    assert left_threads() == []
    with closing(sqlite3.connect(path)) as sql:
        assert items(sql) == [1]


async def test_opening_under_cancellation_leaves_no_thread(path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_database(path, migrations=MIGRATIONS):
            pytest.fail("it was opened")
    assert scope.cancelled_caught
    assert left_threads() == []


async def test_the_database_can_be_closed_from_an_exit_stack(path: Path) -> None:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(path, migrations=MIGRATIONS))
        await database.commit(insert(1))
    assert left_threads() == []


def run_python(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Runs an async `body` in a process of its own, which has to end by itself."""
    program = f"""
import logging, sys, threading, trio
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from storage_samples import *
import torcd.storage.database, torcd.storage.lane
from torcd.storage.database import open_database
path = Path({str(tmp_path / "torc.db")!r})

async def main():
{textwrap.indent(textwrap.dedent(body), "    ")}

trio.run(main)
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_process_ends_although_its_sql_thread_is_stuck(tmp_path: Path) -> None:
    ended = run_python(
        tmp_path,
        """
        begun = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def stuck(sql):
            token.run_sync_soon(begun.set)
            threading.Event().wait()

        async with trio.open_nursery() as nursery, open_database(path, migrations=MIGRATIONS) as database:
            torcd.storage.lane.CLOSE_DEADLINE_S = torcd.storage.database.STOP_DEADLINE_S = 0.2

            async def caller():
                try:
                    await database.commit(stuck)
                except torcd.protocol.errors.Unavailable as error:
                    print(error)

            nursery.start_soon(caller)
            await begun.wait()
        print("closed")
        """,
    )
    assert "it may or may not have been committed" in ended.stdout
    assert ended.stdout.endswith("closed\n")
    assert "does not end; left behind" in ended.stderr
    assert ended.returncode == 0


def test_a_process_ends_when_its_body_raises(tmp_path: Path) -> None:
    ended = run_python(
        tmp_path,
        """
        async with open_database(path, migrations=MIGRATIONS) as database:
            await database.commit(insert(1))
            raise SystemExit(3)
        """,
    )
    assert ended.returncode == 3, ended.stderr


def test_a_process_interrupted_by_the_keyboard_ends(tmp_path: Path) -> None:
    ended = run_python(
        tmp_path,
        """
        import os, signal
        async with open_database(path, migrations=MIGRATIONS) as database:

            async def caller(first):
                for number in range(first, 10**9, 10):
                    await database.commit(insert(number))

            async with trio.open_nursery() as nursery:
                for first in range(10):
                    nursery.start_soon(caller, first)
                await trio.sleep(0.1)
                os.kill(os.getpid(), signal.SIGINT)
        """,
    )
    assert "KeyboardInterrupt" in ended.stderr
    assert "Internal" not in ended.stderr


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    ended = run_python(
        tmp_path,
        """
        import os, signal
        async with open_database(path, migrations=MIGRATIONS) as database:

            async def caller(first):
                for number in range(first, 10**9, 10):
                    print(await database.commit(insert(number)), flush=True)
                    if number > 1000:
                        os.kill(os.getpid(), signal.SIGKILL)

            async with trio.open_nursery() as nursery:
                for first in range(10):
                    nursery.start_soon(caller, first)
        """,
    )
    assert ended.returncode == -signal.SIGKILL
    acknowledged = {int(line) for line in ended.stdout.split()}
    assert len(acknowledged) > 100
    with closing(sqlite3.connect(tmp_path / "torc.db")) as sql:
        assert acknowledged <= set(items(sql))
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
