"""`torcd`: runs the daemon in the foreground."""

import argparse
import faulthandler
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio

from torcd import __version__
from torcd.daemon import run_daemon
from torcd.logs import start_log
from torcd.protocol.address import Places, find_places
from torcd.protocol.errors import Conflict, TorcError
from torcd.storage.lock import acquire_lock
from torcd.storage.migrate import load_migrations
from torcd.storage.replacement import restore

LOCKED = 75
"""Exit code when another daemon holds the lock (EX_TEMPFAIL): a starter may then connect to that one."""


STOP_IT = (
    "Nothing was restored. Stop it with `torcctl daemon stop`, then repeat the command; workers on this host start it "
    "again at once: end them before, or set TORC_NO_AUTOSTART=1 for them"
)


def main() -> None:
    """The entry point."""
    parser = argparse.ArgumentParser(
        prog="torcd", description="The daemon of torcctl: one per user, in the foreground."
    )
    parser.add_argument("--database", help="its database (default: TORCD_DATABASE, config file, state directory)")
    parser.add_argument("--socket", help="its Unix socket (default: TORCD_SOCKET, config file, runtime directory)")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="where it listens for other hosts (TLS): auto, off or an address, :0 being any port of all interfaces"
        " (default: TORCD_LISTEN, config file, auto: where the state directory is on a file system that hosts share,"
        " or where there is Slurm)",
    )
    parser.add_argument(
        "--lease",
        metavar="SECONDS",
        help="how long a worker may be away before its jobs are taken from it (default: TORCD_LEASE, config file, 60)",
    )
    parser.add_argument(
        "--restore", metavar="FILE", help="put a backup in the place of the database, which is kept; then end"
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=f"torcd {__version__}")
    options = parser.parse_args()
    start_log(options.log_level)
    umask = os.umask(0o077)
    faulthandler.enable()  # a watchdog's SIGABRT leaves in the log what every thread was at
    try:
        places = find_places(
            os.environ,
            database=options.database,
            socket=options.socket,
            listen=options.listen,
            lease=options.lease,
        )
        if options.restore is not None:
            _restore(places, Path(options.restore))
        else:
            trio.run(run_daemon, places, umask)
    except* TorcError as group:
        error = _first(group)
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(LOCKED if isinstance(error, Conflict) else 1)


def _restore(places: Places, backup: Path) -> None:
    """Restores a backup and tells of it, or of what stands against it, in JSON on standard output."""
    try:
        with acquire_lock(places.lock, advice=STOP_IT) as lock:
            restored = restore(
                places.database,
                backup.absolute(),
                load_migrations(),
                was_left_open=lock.was_left_open,
                now=datetime.now(UTC),
            )
            lock.note_closed()
    except TorcError as error:
        document = {"error": {"code": error.code, "message": error.message, "data": error.data}}
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        raise
    sys.stdout.write(msgspec.json.encode(restored).decode() + "\n")


def _first(group: BaseExceptionGroup[TorcError]) -> TorcError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    main()
