"""What care for the database costs: its check at the start, and a backup, with the commits that wait meanwhile."""

import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from benchmarks.service import Torc, finish_jobs
from benchmarks.table import Row, median, print_table
from benchmarks.workloads import fan, prepare_directory, write_spec
from torcd.operations.backup import back_up
from torcd.storage.database import Database, open_database
from torcd.storage.log_file import read_log
from torcd.storage.soundness import find_damage

REPEATS = 3
PAUSE_S = 0.002
"""Between commits: those of a few hundred jobs a second."""


def main(size: int = 100_000) -> None:
    """Prints the table, for a finished workflow of about `size` jobs."""
    with Torc() as torc:
        root = torc.directory / "fan"
        workload = fan(size)
        prepare_directory(workload, root)
        spec = write_spec(workload, root)
        workflow_id = torc.ask("workflows", "create", spec, cwd=root)["workflow_id"]
        torc.run("workflows", "init", str(workflow_id), "--force")
        with closing(torc.connect()) as session:
            finish_jobs(session, workflow_id)
        database = Path(torc.ask("daemon", "status")["database"])
        torc.stop()
        rows = [Row("size of the database", database.stat().st_size / 1e6, "MB")]
        rows += _measure_checks(database)
        for file_system in ("ext4", "nfs"):
            rows += trio.run(_measure_backup, database, file_system)
    print_table(f"The database, {size} jobs", rows)


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _measure_checks(database: Path) -> list[Row]:
    log = database.with_name("bench.db")
    with closing(sqlite3.connect(log, isolation_level=None)) as sql:
        sql.executescript("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE x (y)")
        for _ in range(1000):
            sql.execute("INSERT INTO x VALUES (zeroblob(62000))")
        log_s = median(_seconds(lambda: read_log(log.with_name("bench.db-wal"))) for _ in range(REPEATS))
    rows = [Row("reading a log of 64 MB after a kill", log_s * 1e3, "ms")]
    with closing(sqlite3.connect(database)) as sql:
        for name, thorough in (("check of all pages, beside the daemon's work", False), ("thorough check", True)):
            check_s = median(
                _seconds(lambda thorough=thorough: find_damage(sql, thorough=thorough)) for _ in range(REPEATS)
            )  # type: ignore[misc]  # it is bound
            rows.append(Row(name, check_s * 1e3, "ms"))
    return rows


async def _measure_backup(path: Path, file_system: str) -> list[Row]:
    mode = "write-ahead log" if file_system == "ext4" else "single connection"
    began = time.perf_counter()
    async with open_database(path, file_system=file_system) as database:
        opening_s = time.perf_counter() - began
        quiet_s = await _longest_commit(database, partial(trio.sleep, 1))
        backups: list[float] = []

        async def back_up_often() -> None:
            for _ in range(REPEATS):
                made = await back_up(database, str(path.with_name("copy.db")), overwrite=True)
                backups.append(made.duration_s)

        busy_s = await _longest_commit(database, back_up_often)
    return [
        Row(f"opening ({mode})", opening_s * 1e3, "ms"),
        Row(f"backup, checked ({mode})", median(backups) * 1e3, "ms"),
        Row(f"longest commit meanwhile ({mode})", busy_s * 1e3, "ms", "without a backup", quiet_s * 1e3),
    ]


async def _longest_commit(database: Database, action: Callable[[], Awaitable[None]]) -> float:
    """The longest of the commits that are made one after the other until `action` ends."""
    longest = 0.0

    async def write() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await database.commit(lambda db: db.execute("UPDATE workflow SET counter = counter + 1"))
            longest = max(longest, time.perf_counter() - began)
            await trio.sleep(PAUSE_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await action()
        nursery.cancel_scope.cancel()
    return longest


if __name__ == "__main__":
    main()
