"""Whether SQLite can keep a database in a directory of a network file system: tried, not believed."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from torcd.protocol.errors import Refused


def probe(directory: Path) -> None:
    """Writes and reads a throw-away database as a network file system has to; refuses where that fails.

    The pragmas can claim success there and the first write fail.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".torcd-probe-", dir=directory) as scratch:
            uri = f"{Path(scratch).absolute().as_uri()}/probe.db"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = TRUNCATE")
                connection.executescript("CREATE TABLE probe (x); INSERT INTO probe VALUES (1);")
                connection.execute("SELECT x FROM probe").fetchone()
    except (OSError, sqlite3.Error) as error:
        raise Refused(
            f"directory {directory}: SQLite cannot keep a database here: {error}. Set `database` to a path "
            "on a local disk",
            directory=str(directory),
        ) from error
