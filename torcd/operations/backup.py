"""Backs the database up: one consistent file, made while everything goes on, checked, then named."""

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from torcd.protocol.errors import BadRequest, Unavailable
from torcd.protocol.model import Backup
from torcd.storage.backup import BackupFile
from torcd.storage.database import Database
from torcd.storage.migrate import load_migrations


async def back_up(database: Database, path: str | None, *, overwrite: bool) -> Backup:
    """Copies the database to `path`, as `BackUp` says. Cancelled, it leaves nothing behind.

    Raises `Conflict` or `Refused` for a path that will not do, `Unavailable` when the disk fails or the copy turns out
    to be damaged.
    """
    if path is not None and not Path(path).is_absolute():
        raise BadRequest(f"path {path!r} is not absolute", path="$.path")
    started = time.monotonic()
    try:
        target = None if path is None else Path(path)
        begin = partial(BackupFile, database.path, target, overwrite=overwrite, now=datetime.now(UTC))
        file = await trio.to_thread.run_sync(begin)
        try:
            await database.copy_to(file.draft)
            size = await trio.to_thread.run_sync(file.finish, load_migrations())
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(file.discard)
    except OSError as error:
        raise Unavailable(
            f"{path or database.path.parent}: the backup cannot be written: {error.strerror}. Choose another place",
            path=path,
        ) from error
    return Backup(
        database=str(database.path),
        path=str(file.path),
        size_bytes=size,
        duration_s=round(time.monotonic() - started, 3),
    )
