"""Commits while the disk fails, for `test_disk_errors`, which runs it with the library of faults.

Prints a line of JSON for each kind of failure: what became of the commit, what a read shows while the disk fails and
afterwards, and what there would be after a kill.
"""

import errno
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import trio
from faulty_disk import ALL, DATABASE, JOURNAL, FaultyDisk, FaultySwitch
from storage_samples import MIGRATIONS, insert, items

from torcd.protocol.errors import TorcError
from torcd.storage.database import Database, open_database
from torcd.storage.transaction import Work

FAULTS: list[dict[str, int]] = [
    {"syncs": 1},
    {"syncs": 2},
    {"syncs": ALL},
    {"writes": 1},
    {"writes": ALL},
    {"writes": ALL, "error": errno.ENOSPC},
    {"syncs": 1, "which": JOURNAL},
    {"syncs": 1, "which": JOURNAL, "after": 2},
    {"syncs": 1, "which": DATABASE},
    {"writes": 1, "which": DATABASE},
    {"writes": ALL, "which": DATABASE},
]


def after_a_kill(path: Path) -> list[int]:
    """What the files hold that a kill would leave now."""
    copy = path.parent / "copy"
    copy.mkdir()
    for each in path.parent.iterdir():
        if each.is_file() and not each.name.endswith("-shm"):
            shutil.copyfile(each, copy / each.name)
    with closing(sqlite3.connect(copy / path.name)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = items(sql)
    shutil.rmtree(copy)
    return found


async def outcome_of(database: Database, work: Work[object]) -> str:
    try:
        await database.commit(work)
    except TorcError as error:
        return type(error).__name__
    return "made"


async def main(path: Path, file_system: str, disk: FaultySwitch) -> None:
    async with open_database(path, migrations=MIGRATIONS, file_system=file_system) as database:
        for number, fault in enumerate(FAULTS):
            disk.fail(**fault)
            outcome = await outcome_of(database, insert(number, "x" * 6000))
            disk.heal()
            killed = after_a_kill(path)
            seen = await database.read(items)
            again = await outcome_of(database, insert(1000 + number))
            print(
                json.dumps(
                    {
                        "fault": fault,
                        "outcome": outcome,
                        "seen": number in seen,
                        "after_a_kill": number in killed,
                        "same": seen == killed,
                        "next": again,
                    }
                )
            )
        # a disk that cannot be read looks like damage until it can
        await database.commit(lambda sql: [insert(2000 + number, "y" * 3000)(sql) for number in range(2000)])
        disk.fail(reads=ALL)
        try:
            await database.read(lambda sql: sql.execute("SELECT sum(length(note)) FROM item").fetchone())
            read = "made"
        except TorcError as error:
            read = type(error).__name__
        refused = await outcome_of(database, insert(5000))
        disk.heal()
        await database.health.check(database.find_damage, thorough=True)
        mended = await outcome_of(database, insert(5001))
        print(json.dumps({"read": read, "refused": refused, "mended": mended}))
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


trio.run(main, Path(sys.argv[1]), sys.argv[2], FaultyDisk.of_this_process())
