"""`torcd`: runs the daemon in the foreground."""

import argparse
import os
import sys

import trio

from torcd import __version__
from torcd.daemon import run_daemon
from torcd.logs import start_log
from torcd.protocol.address import find_places
from torcd.protocol.errors import Conflict, TorcError

LOCKED = 75
"""Exit code when another daemon holds the lock (EX_TEMPFAIL): a starter may then connect to that one."""


def main() -> None:
    """The entry point."""
    parser = argparse.ArgumentParser(
        prog="torcd", description="The daemon of torcctl: one per user, in the foreground."
    )
    parser.add_argument("--database", help="its database (default: TORCD_DATABASE, config file, state directory)")
    parser.add_argument("--socket", help="its Unix socket (default: TORCD_SOCKET, config file, runtime directory)")
    parser.add_argument(
        "--lease",
        metavar="SECONDS",
        help="how long a worker may be away before its jobs are taken from it (default: TORCD_LEASE, config file, 60)",
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=f"torcd {__version__}")
    options = parser.parse_args()
    start_log(options.log_level)
    os.umask(0o077)
    try:
        places = find_places(os.environ, database=options.database, socket=options.socket, lease=options.lease)
        trio.run(run_daemon, places)
    except* TorcError as group:
        error = _first(group)
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(LOCKED if isinstance(error, Conflict) else 1)


def _first(group: BaseExceptionGroup[TorcError]) -> TorcError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    main()
