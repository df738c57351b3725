"""The database under trio: durable commits in groups, reads on snapshots, and a close that always ends.

The only module that knows asyncio. Each connection lives in a thread of aiosqlite's; a hop into it costs a
hundred times a small statement, so a transaction is one function and one hop. Why aiosqlite's `_execute` is
used for that, and what replaces it, is docs/adr/0001-aiosqlite-under-trio.md. Knows no table.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import aiosqlite
import trio
import trio_asyncio

from torcd.protocol.errors import TimedOut, Unavailable
from torcd.protocol.mounts import find_file_system, is_local
from torcd.storage.backup import back_up_before_migration, copy_pages, copy_snapshot
from torcd.storage.connection import check_sqlite, connect, create_database, prepare_reader, prepare_writer
from torcd.storage.faults import Damaged, translated
from torcd.storage.filesystem import probe
from torcd.storage.health import Health
from torcd.storage.lane import Lane
from torcd.storage.migrate import Migration, load_migrations
from torcd.storage.pauses import Over, Pauses, Stopped
from torcd.storage.soundness import check_files, find_damage, tables_of
from torcd.storage.transaction import Work
from torcd.storage.vitals import Vitals

T = TypeVar("T")
_log = logging.getLogger(__name__)

READ_TIMEOUT_S = 30.0
"""For a short query: a thousand times what it should take; its caller is told instead of left hanging."""

LOAD_TIMEOUT_S = 600.0
"""For a long load: a million jobs take seconds on a local disk, minutes on a slow network one."""

STOP_DEADLINE_S = 20.0
"""For opening or closing a file: a checkpoint of the log takes seconds. Then its thread is left behind."""


class Database:
    """What the daemon does with its database; made by `open_database`, usable from any task inside it."""

    def __init__(
        self, path: Path, file_system: str, thread: "_SqlThread", *, writer: Lane, short: Lane, long: Lane
    ) -> None:
        self.path = path
        self.file_system = file_system
        """Its type, as `find_file_system` has it."""
        self.health = Health(path)
        self._thread = thread
        self._writer = writer
        self._short = short
        self._long = long

    @property
    def is_shared(self) -> bool:
        """Whether reads and writes share one connection, because the file system cannot do better."""
        return self._short is self._writer

    @property
    def vitals(self) -> Vitals:
        """How the thread is that writes."""
        return self._writer.vitals

    async def commit(self, work: Work[T]) -> T:
        """The value of `work`, once it is committed and on disk.

        Commits that wait at the same time share a transaction. If that fails, each is replayed in its own, so
        that an exception comes to the caller of the `work` that raised it, unwrapped, and only that work has
        no effect. `work` may therefore run twice, see `Work`.

        Cancellation: while it waits for its turn, the commit is withdrawn and never runs. Once the SQL thread
        has it, the wait cannot be cancelled. `Cancelled` means: not committed; a value means: committed.

        Raises `Unavailable` when the disk or the file fails (nothing was changed, later commits may succeed)
        and when the database is being closed; its kind `InDoubt` when the disk failed in such a way that the commit
        may turn out to be made, and `Damaged` while what is stored is.
        """
        self.health.check_writable()
        try:
            return await self._writer.commit(work)
        except Damaged as error:
            self.health.meet(error)
            raise

    async def read(self, work: Work[T], *, timeout_s: float | None = None, long: bool = False) -> T:
        """The value of `work` on one snapshot, which holds every commit that returned before.

        `long` is for loads: they have a connection of their own, so that short queries never wait behind
        them. Cancellation interrupts the query and returns when the connection is free again; Python code
        inside `work` runs to its end. Raises `TimedOut` after `timeout_s` (default `READ_TIMEOUT_S` or
        `LOAD_TIMEOUT_S`).
        """
        lane = self._long if long else self._short
        if timeout_s is None:
            timeout_s = LOAD_TIMEOUT_S if long else READ_TIMEOUT_S
        try:
            with trio.move_on_after(timeout_s):
                return await lane.read(work)
        except Damaged as error:
            self.health.meet(error)
            raise
        raise TimedOut(
            f"database {self.path}: a query was stopped after {timeout_s:g} s. Ask for less, or try later",
            database=str(self.path),
        )

    async def copy_to(self, copy: Path) -> None:
        """Copies one state of the database over the empty file `copy`, while commits and reads go on.

        Cancelled, it ends within a piece. Raises what a read raises.
        """
        if self.is_shared:
            await self._thread.run_with_pauses(lambda sql, pause: copy_pages(sql, copy, pause))
        else:
            await _run_beside(self.path, lambda sql, pause: copy_snapshot(sql, copy, pause))

    async def watch(self) -> None:
        """Checks the database beside what else is done, and again when damage was met; until cancelled."""
        await self.health.watch(self.find_damage)

    async def find_damage(self, thorough: bool = False) -> str | None:
        """Reads the whole database and says what is wrong with it. Raises `Unavailable`.

        On a single connection it goes table by table, and what belongs to no table is not looked at.
        """
        if not self.is_shared:
            return await _run_beside(self.path, lambda sql, pause: find_damage(sql, thorough=thorough))
        for name in await self.read(tables_of):
            finding = await self.read(partial(find_damage, table=name, thorough=thorough), long=True)
            if finding is not None:
                return finding
        return None


async def _run_beside(path: Path, function: Callable[[sqlite3.Connection, Callable[[], None]], T]) -> T:
    """What `function` returns on a connection of its own that only reads, in a thread of its own.

    Cancelled, it ends soon: statements are interrupted, and the function it is given raises.
    """
    stopped = threading.Event()

    def pause() -> None:
        if stopped.is_set():
            raise Stopped

    def run() -> T:
        with closing(connect(path)) as connection:
            prepare_reader(connection, path)
            connection.set_progress_handler(stopped.is_set, 10_000)
            with translated(path):
                return function(connection, pause)

    try:
        return await trio.to_thread.run_sync(run, abandon_on_cancel=True)
    finally:
        stopped.set()


class _SqlThread:
    """One connection and its thread. All that this project knows of aiosqlite stands here."""

    def __init__(self, loop: trio_asyncio.TrioEventLoop, name: str, path: Path) -> None:
        self._loop = loop
        self._name = name
        self._path = path
        self._sql: sqlite3.Connection | None = None
        self._pauses: Pauses | None = None
        self._connection = aiosqlite.Connection(self._connect, iter_chunk_size=64)
        # Stuck in a dead network mount, the thread must not keep the process from ending.
        self._connection._thread.daemon = True

    def _connect(self) -> sqlite3.Connection:
        threading.current_thread().name = self._name
        self._cpu_clock = time.pthread_getcpuclockid(threading.get_ident())
        self._sql = connect(self._path)
        return self._sql

    async def open(self) -> None:
        """Opens the file; shielded, since aiosqlite would forget one whose opening is cancelled."""

        async def opened() -> None:
            try:
                await self._connection
            finally:
                if self._sql is None:  # aiosqlite tells the thread to end, but does not wait for that
                    self._join()

        with trio.move_on_after(STOP_DEADLINE_S, shield=True) as deadline:
            await self._loop.run_aio_coroutine(opened())
        if deadline.cancelled_caught:
            raise Unavailable(
                f"database {self._path}: not opened within {STOP_DEADLINE_S:g} s. Check its file system",
                database=str(self._path),
            )

    async def run(self, function: Callable[[sqlite3.Connection], T], /) -> T:
        """What `function` returns or raises; cancelled, it is no longer waited for but runs on."""
        if self._pauses is not None:
            try:
                return await self._pauses.run(function)
            except Over:
                self._pauses = None
        hop = self._connection._execute(function, self._sql)  # type: ignore[no-untyped-call]  # not public
        return cast(T, await self._loop.run_aio_coroutine(hop))

    def cpu_s(self) -> float:
        """The processor time that it has used. Raises OSError when it has ended."""
        return time.clock_gettime(self._cpu_clock)

    async def run_with_pauses(self, function: Callable[[sqlite3.Connection, Callable[[], None]], T]) -> T:
        """What a long function returns or raises; what others run meanwhile is done in its pauses.

        One at a time. Cancelled, the function ends at its next pause.
        """
        assert self._sql is not None
        pauses = Pauses(self._sql)
        hop = self._connection._execute(pauses.run_long, function)  # type: ignore[no-untyped-call]  # not public
        self._pauses = pauses
        try:
            return cast(T, await self._loop.run_aio_coroutine(hop))
        finally:
            pauses.stop()

    def interrupt(self) -> None:
        """Ends the statement that runs now; from any thread."""
        assert self._sql is not None
        self._sql.interrupt()

    def _join(self) -> None:
        """Waits the moment that a thread with nothing more to do needs, since it may not outlive the loop."""
        self._connection._thread.join(timeout=1)

    async def stop(self) -> None:
        """Closes the file and ends the thread, after what that does now; shielded, with a deadline."""

        async def stopped() -> None:
            closed = self._connection.stop()
            assert closed is not None
            await closed
            self._join()

        with trio.move_on_after(STOP_DEADLINE_S, shield=True) as deadline:
            await self._loop.run_aio_coroutine(stopped())
        if deadline.cancelled_caught:
            _log.error("database %s: %s does not end; left behind", self._path, self._name)


async def _open_thread(
    resources: AsyncExitStack, loop: trio_asyncio.TrioEventLoop, name: str, path: Path
) -> _SqlThread:
    thread = _SqlThread(loop, name, path)
    await thread.open()
    resources.push_async_callback(thread.stop)
    return thread


async def _open(
    resources: AsyncExitStack, path: Path, steps: Sequence[Migration], file_system: str | None, was_left_open: bool
) -> Database:
    """Opens everything, the thing to be closed last first; what is open when it fails is in `resources`."""
    check_sqlite()
    kind = file_system or find_file_system(path.parent)
    await trio.to_thread.run_sync(_find_or_create, path, steps, kind, was_left_open)
    loop = await resources.enter_async_context(trio_asyncio.open_loop())
    threads = [await _open_thread(resources, loop, "torcd-sql-writer", path)]

    def prepare(connection: sqlite3.Connection) -> None:
        prepare_writer(
            connection,
            path,
            steps,
            exclusive=not is_local(kind),
            save=lambda sql: back_up_before_migration(sql, path, steps),
        )

    await threads[0].run(prepare)
    if is_local(kind):
        for name in ("torcd-sql-short", "torcd-sql-long"):
            reader = await _open_thread(resources, loop, name, path)
            await reader.run(lambda connection: prepare_reader(connection, path))
            threads.append(reader)

    nursery = await resources.enter_async_context(trio.open_nursery())
    lanes = [Lane(path, thread.run, thread.interrupt, Vitals(thread.cpu_s)) for thread in threads]
    for lane in lanes:
        nursery.start_soon(lane.serve)
        resources.callback(lane.close)
    return Database(path, kind, threads[0], writer=lanes[0], short=lanes[len(lanes) // 2], long=lanes[-1])


def _find_or_create(path: Path, steps: Sequence[Migration], kind: str, was_left_open: bool) -> None:
    """Sees to it that there is a file to be opened, and that it is all there."""
    check_files(path, was_left_open=was_left_open)
    if not is_local(kind):
        _log.warning(
            "database %s: on a %s file system: slower, and only one query at a time. "
            "Set `database` to a path on a local disk",
            path,
            kind,
        )
        probe(path.parent)
    if not path.exists():
        create_database(path, steps)


@asynccontextmanager
async def open_database(
    path: Path,
    *,
    migrations: Sequence[Migration] | None = None,
    file_system: str | None = None,
    was_left_open: bool = False,
) -> AsyncIterator[Database]:
    """The database at `path`, created or migrated if need be, for the body of the `async with`.

    `migrations` are the package's own by default. `file_system` overrides what is found out about the
    directory (`"nfs"` gives the single connection of network file systems). `was_left_open` as in `find_lost`.

    At the end, cancelled or not: reads are stopped, queued commits are made, the files are closed, all within
    `CLOSE_DEADLINE_S` and `STOP_DEADLINE_S`; a thread that does not end is left behind and keeps nobody from
    exiting. Exceptions of the body pass unwrapped. Raises `Refused` for a file that is not ours, is from a
    newer version, or cannot be created, and `Unavailable` for one that is damaged or cannot be used now.
    """
    resources = AsyncExitStack()
    try:
        steps = load_migrations() if migrations is None else migrations
        yield await _open(resources, path, steps, file_system, was_left_open)
    finally:
        # As if the body had ended well: its exception goes past the nurseries and is not wrapped by each of
        # them.
        await resources.aclose()
