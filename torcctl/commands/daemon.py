"""`torcctl daemon …`: the daemon of this user on this host."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from torcctl import autostart, output
from torcctl.exits import DONE, exit_of
from torcd.protocol.address import parse_url
from torcd.protocol.client import NobodyAnswers
from torcd.protocol.errors import NotFound, Refused, Unavailable
from torcd.protocol.model import Daemon
from torcd.protocol.requests import DaemonStatus, DaemonStop

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Follow

STOP_TIMEOUT_S = 60.0
"""For a daemon to finish its commits and exit: it may be writing a large plan to a slow disk."""

LOG_BYTES = 64 * 1024
"""How much of the log's end is printed."""


def start(*, context: Context) -> None:
    """Start the daemon unless it runs already."""
    places = context.places
    if places.url is not None:
        raise Refused(f"the address {places.url} was set (--url, TORC_URL or config.toml); nothing is started for it")
    with autostart.reach(places, may_start=True) as connection:
        context.show(connection.call(DaemonStatus()), Daemon, output.write_struct)


def status(*, context: Context) -> int:
    """Show whether the daemon runs; exit 5 when not. Never starts one."""
    try:
        connection = autostart.reach(context.places, may_start=False)
    except NobodyAnswers as error:
        _write_not_running(context)
        return exit_of(error)
    with connection:
        context.show(connection.call(DaemonStatus()), Daemon, output.write_struct)
    return DONE


def stop(*, context: Context) -> None:
    """Stop the daemon in order and wait until it is gone. Running jobs go on."""
    try:
        connection = autostart.reach(context.places, may_start=False)
    except NobodyAnswers:
        _write_not_running(context)
        return
    with connection:
        daemon = msgspec.json.decode(connection.call(DaemonStatus()), type=Daemon)
        gone = _watch_exit(daemon.pid) if parse_url(context.url).path is not None else None
        connection.call(DaemonStop())
    if gone is not None:
        ended, _, _ = select.select([gone], [], [], STOP_TIMEOUT_S)
        os.close(gone)
        if not ended:
            raise Unavailable(f"the daemon (pid {daemon.pid}) has not ended within {STOP_TIMEOUT_S:g} s")
    _write_not_running(context)


def logs(*, follow: Follow = False, context: Context) -> None:
    """Print the end of the daemon's log."""
    from torcctl.logs import POLL_S, Tail

    path = context.places.log
    if not path.exists():
        raise NotFound(f"there is no log {path}: no daemon was started by torcctl here", noun="log", id=str(path))
    tail = Tail(str(path), last_bytes=LOG_BYTES, follows_links=True)
    tail.copy()
    while follow:
        time.sleep(POLL_S)
        tail.copy()


def _watch_exit(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None when there is none on this host."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _write_not_running(context: Context) -> None:
    if context.options.json:
        unknown = {"pid": None, "url": context.url, "version": None, "started_at": None}
        output.write_json({"running": False, **unknown, "database": str(context.places.database)})
    else:
        sys.stdout.write("running: false\n")


VERBS: dict[str, Command] = {"start": start, "stop": stop, "status": status, "logs": logs}
