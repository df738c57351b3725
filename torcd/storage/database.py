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
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

import aiosqlite
import trio
import trio_asyncio

from torcd.protocol.errors import TimedOut, Unavailable
from torcd.protocol.mounts import find_file_system, is_local
from torcd.storage.connection import connect, prepare_reader, prepare_writer
from torcd.storage.filesystem import probe
from torcd.storage.lane import Lane
from torcd.storage.migrate import Migration
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

    def __init__(self, path: Path, file_system: str, *, writer: Lane, short: Lane, long: Lane) -> None:
        self.path = path
        self.file_system = file_system
        """Its type, as `find_file_system` has it."""
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
        and when the database is being closed.
        """
        return await self._writer.commit(work)

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
        with trio.move_on_after(timeout_s):
            return await lane.read(work)
        raise TimedOut(
            f"database {self.path}: a query was stopped after {timeout_s:g} s. Ask for less, or try later",
            database=str(self.path),
        )


class _SqlThread:
    """One connection and its thread. All that this project knows of aiosqlite stands here."""

    def __init__(self, loop: trio_asyncio.TrioEventLoop, name: str, path: Path) -> None:
        self._loop = loop
        self._name = name
        self._path = path
        self._sql: sqlite3.Connection | None = None
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
        hop = self._connection._execute(function, self._sql)  # type: ignore[no-untyped-call]  # not public
        return cast(T, await self._loop.run_aio_coroutine(hop))

    def cpu_s(self) -> float:
        """The processor time that it has used. Raises OSError when it has ended."""
        return time.clock_gettime(self._cpu_clock)

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
    resources: AsyncExitStack, path: Path, migrations: Sequence[Migration] | None, file_system: str | None
) -> Database:
    """Opens everything, the thing to be closed last first; what is open when it fails is in `resources`."""
    loop = await resources.enter_async_context(trio_asyncio.open_loop())
    threads = [await _open_thread(resources, loop, "torcd-sql-writer", path)]

    def prepare(connection: sqlite3.Connection) -> str:
        kind = file_system or find_file_system(path.parent)
        if not is_local(kind):
            _log.warning(
                "database %s: on a %s file system: slower, and only one query at a time. "
                "Set `database` to a path on a local disk",
                path,
                kind,
            )
            probe(path.parent)
        prepare_writer(connection, path, migrations, exclusive=not is_local(kind))
        return kind

    kind = await threads[0].run(prepare)
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
    return Database(path, kind, writer=lanes[0], short=lanes[len(lanes) // 2], long=lanes[-1])


@asynccontextmanager
async def open_database(
    path: Path, *, migrations: Sequence[Migration] | None = None, file_system: str | None = None
) -> AsyncIterator[Database]:
    """The database at `path`, created or migrated if need be, for the body of the `async with`.

    `migrations` are the package's own by default. `file_system` overrides what is found out about the
    directory (`"nfs"` gives the single connection of network file systems).

    At the end, cancelled or not: reads are stopped, queued commits are made, the files are closed, all within
    `CLOSE_DEADLINE_S` and `STOP_DEADLINE_S`; a thread that does not end is left behind and keeps nobody from
    exiting. Exceptions of the body pass unwrapped. Raises `Refused` for a file that is not ours, is from a
    newer version, or cannot be created, and `Unavailable` for one that is damaged or cannot be used now.
    """
    resources = AsyncExitStack()
    try:
        yield await _open(resources, path, migrations, file_system)
    finally:
        # As if the body had ended well: its exception goes past the nurseries and is not wrapped by each of
        # them.
        await resources.aclose()
