"""`torcctl daemon …`: the daemon of this user on this host."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from torcctl import autostart, output
from torcctl.commands.daemon_service import install, uninstall
from torcctl.exits import DONE, EXITS
from torcctl.finding import Elsewhere
from torcd.protocol.address import parse_url
from torcd.protocol.backups import BackUp
from torcd.protocol.client import Connection, NobodyAnswers
from torcd.protocol.errors import NotFound, Refused, Unavailable, Unreachable
from torcd.protocol.model import Backup, Daemon, Restored
from torcd.protocol.remote_requests import RotateToken, Rotation
from torcd.protocol.requests import DaemonStatus, DaemonStop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torcctl.context import Context
    from torcctl.parameters import Command, Follow

STOP_TIMEOUT_S = 60.0
"""For a daemon to finish its commits and exit: it may be writing a large plan to a slow disk."""

LOG_BYTES = 64 * 1024
"""How much of the log's end is printed."""


def start(*, context: Context) -> None:
    """Start the daemon unless it runs already; as its service, where one is installed."""
    places = context.places
    if places.url is not None:
        raise Refused(f"the address {places.url} was set (--url, TORC_URL or config.toml); nothing is started for it")
    with _start(context) as connection:
        context.show(connection.call(DaemonStatus()), Daemon, _write_daemon)


def _start(context: Context) -> Connection:
    """A daemon: also here when one that is said to run elsewhere does not answer. It was asked for by name."""
    try:
        return autostart.reach(context.places, may_start=True, again=True)
    except Elsewhere as error:
        context.warn(error.message)
        return autostart.start(context.places, elsewhere=False)


def status(*, context: Context) -> int:
    """Show whether the daemon runs, and how it is; exit 5 when it does not run or answer. Never starts one."""
    from torcctl.condition import examine
    from torcctl.health_text import write_health

    condition = examine(context.places, context.environ)
    document = condition.document(context.places)
    if context.options.json:
        output.write_json(document)
    elif not condition.running:
        sys.stdout.write("running: false\n")
    else:
        _write_known({name: document[name] for name in document if name not in ("problem", "health", "answers")})
        if condition.health is not None:
            write_health(condition.health)
    if condition.problem is not None:
        context.note("error", f"{condition.problem.problem}. What to do: {condition.problem.advice}")
    if condition.service is not None and not condition.running:
        context.note("info", "systemd listens for it: the next command starts it")
    return DONE if condition.answers else EXITS[Unreachable.code]


def _write_daemon(daemon: Daemon) -> None:
    _write_known(msgspec.structs.asdict(daemon))


def _write_known(fields: Mapping[str, object]) -> None:
    """Prints what there is to say: no port, no damage and no answer are no lines."""
    output.write_fields((name, value) for name, value in fields.items() if value is not None)


def stop(*, context: Context) -> None:
    """Stop the daemon in order and wait until it is gone. Running jobs go on.

    Of a service the socket is stopped, too: else it would start the daemon again at once.
    """
    from torcctl.service.install import stop_service
    from torcctl.service.manager import Manager

    manager = Manager(context.environ)
    is_service, pid = manager.service_of(context.places) is not None, None
    if not is_service:  # else whoever answers is its daemon, and one that does not answer is stopped as well
        pid = _find_pid(context)
        is_service = pid is not None and manager.service_of(context.places, pid) is not None
    if is_service:
        stop_service(manager)
        context.note("info", "stopped its service; `torcctl daemon start`, the next command or a login starts it")
    elif pid is not None:
        stop_process(context, pid)
    _write_not_running(context)


def _find_pid(context: Context) -> int | None:
    try:
        with autostart.reach(context.places, may_start=False) as connection:
            return msgspec.json.decode(connection.call(DaemonStatus()), type=Daemon).pid
    except NobodyAnswers:
        return None


def stop_process(context: Context, pid: int) -> None:
    """Has the daemon, which is process `pid`, stop, and waits until it is gone. Raises Unavailable."""
    with autostart.reach(context.places, may_start=False) as connection:
        gone = _watch_exit(pid) if parse_url(connection.url).path is not None else None
        connection.call(DaemonStop())
    if gone is not None:
        ended, _, _ = select.select([gone], [], [], STOP_TIMEOUT_S)
        os.close(gone)
        if not ended:
            raise Unavailable(f"the daemon (pid {pid}) has not ended within {STOP_TIMEOUT_S:g} s")


def backup(
    file: Path | None = None,
    /,
    *,
    overwrite: bool = False,
    context: Context,
) -> None:
    """Copy the database to a file while everything goes on, and check the copy.

    Args:
        file: The file, or a directory for a dated one. Left out: a dated one in `backups` beside the database.
        overwrite: Replace a file of that name.
    """
    request = BackUp(path=None if file is None else os.path.abspath(file), overwrite=overwrite)
    context.show(context.call(request, timeout_s=None), Backup, _write_backup)


def _write_backup(made: Backup) -> None:
    size = output.format_size(made.size_bytes)
    sys.stdout.write(f"Backed up {made.database} to {made.path}: {size}, in {made.duration_s:.1f} s, checked\n")


def restore(file: Path, /, *, context: Context) -> None:
    """Put a backup in the place of the database, which is kept. The daemon must not run.

    Args:
        file: A backup. The database itself: goes on with what of it can be read.
    """
    places = context.places
    if places.url is not None:
        raise Refused(
            f"the address {places.url} was set (--url, TORC_URL or config.toml); restore on the daemon's host"
        )
    database = places.database
    context.confirm(f"Replace {database} by what {file} holds? What is there now is kept.")
    restored = autostart.restore(places, os.path.abspath(file))
    context.show(msgspec.Raw(restored), Restored, _write_restored)


def _write_restored(restored: Restored) -> None:
    count = output.count_of(restored.workflows, "workflow")
    size = output.format_size(restored.size_bytes)
    sys.stdout.write(f"Restored {restored.database} from {restored.restored_from}: {count}, {size}\n")
    if restored.kept is not None:
        sys.stdout.write(f"What was there is kept as {restored.kept}\n")
    print(
        "files may be newer than what it remembers of them: `torcctl workflows reinit` finds out, for each workflow",
        file=sys.stderr,
    )


def rotate_token(*, context: Context) -> None:
    """Replace the token by which other hosts reach the daemon. Sessions from there end; workers come back by
    themselves."""
    with autostart.reach(context.places, may_start=False) as connection:  # a new one would have a new token
        raw = connection.call(RotateToken())
    ended = msgspec.json.decode(raw, type=Rotation).sessions_ended
    context.show_done(raw, f"The token was replaced; {output.count_of(ended, 'session')} from other hosts ended")


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
        database = {"database": str(context.places.database), "database_check": None, "database_damage": None}
        output.write_json({"running": False, **unknown, **database})
    else:
        sys.stdout.write("running: false\n")


VERBS: dict[str, Command] = {
    "start": start,
    "stop": stop,
    "status": status,
    "logs": logs,
    "install": install,
    "uninstall": uninstall,
    "backup": backup,
    "restore": restore,
    "rotate-token": rotate_token,
}
