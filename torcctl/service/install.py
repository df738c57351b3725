"""Makes torcd a service of the user's own service manager, and takes that back. Data are never touched."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from torcctl.service.manager import START_S, STOP_S, Manager, Ran
from torcctl.service.unit_files import (
    SERVICE,
    SOCKET,
    is_ours,
    read_unit,
    render_service,
    render_socket,
    unit_directory,
)
from torcd.protocol.address import Places
from torcd.protocol.errors import Conflict, Refused, Unavailable

CONFLICT = "is destructive"
"""What systemctl says of a start while a stop is under way."""

PAUSE_S = 0.1


class Written(msgspec.Struct, frozen=True):
    """A unit file: `written`, `unchanged` or `removed`."""

    unit: str
    path: str
    what: str


class Installed(msgspec.Struct, frozen=True):
    """What `install` and `uninstall` did."""

    units: list[Written]
    enabled: list[str]
    running: bool
    pid: int | None
    linger: bool | None
    advice: list[str]


def check_manager(manager: Manager, what: str) -> None:
    """Raises Refused when there is no service manager."""
    why = manager.why_absent()
    if why is not None:
        raise Refused(
            f"torcd cannot be {what} as a service, because no `systemd --user` answers here: {why}. Without it torcctl "
            "starts torcd by itself with the first command"
        )


def install(
    manager: Manager, command: tuple[str, ...], places: Places, environ: Mapping[str, str], *, now: bool, socket: bool
) -> Installed:
    """Writes and enables the units, and with `now` starts them; again is fine. Raises Refused, Unavailable.

    With `now` no other daemon may run for these places any more.
    """
    check_manager(manager, "installed")
    texts = {SERVICE: render_service(command, places, environ)}
    if socket:
        texts[SOCKET] = render_socket(places, environ)
    for name in (SERVICE, SOCKET):
        _check_ours(name, environ)
    _make_log(places.log)
    units = [_write(name, text, environ) for name, text in texts.items()]
    if not socket:
        units += _drop(manager, SOCKET, environ)
    _must(manager.systemctl("daemon-reload", deadline_s=START_S), "read its units again")
    _check_found(manager, environ)
    _must(manager.systemctl("enable", *texts, deadline_s=START_S), "enable " + " and ".join(texts))
    if now:
        _start(manager, list(texts), changed=any(unit.what != "unchanged" for unit in units))
    state = manager.state_of(SERVICE)
    linger = manager.lingers()
    return Installed(
        units=units,
        enabled=list(texts),
        running=state.active == "active",
        pid=state.pid or None,
        linger=linger,
        advice=_advice(linger, running=state.active == "active"),
    )


def uninstall(manager: Manager, environ: Mapping[str, str]) -> Installed:
    """Stops, disables and removes the units; the database and the log stay. Again is fine."""
    check_manager(manager, "uninstalled")
    for name in (SERVICE, SOCKET):
        _check_ours(name, environ)
    units = [*_drop(manager, SOCKET, environ), *_drop(manager, SERVICE, environ)]
    _must(manager.systemctl("daemon-reload", deadline_s=START_S), "read its units again")
    manager.systemctl("reset-failed", SERVICE, SOCKET)  # fails for units that had not failed
    for directory in (unit_directory(environ), unit_directory(environ).parent):
        with suppress(OSError):
            directory.rmdir()  # only when nothing else is there
    return Installed(units=units, enabled=[], running=False, pid=None, linger=None, advice=[])


def start_service(manager: Manager, *, again: bool = False) -> Ran:
    """Has the manager start the service; with `again` also one that it has given up.

    A stop that is under way is waited for: a worker that lost its daemon must not turn it round.
    """
    if again:
        manager.systemctl("reset-failed", SERVICE, SOCKET)
    give_up_at = time.monotonic() + STOP_S
    while True:
        ran = manager.systemctl("--job-mode=fail", "start", SERVICE, deadline_s=START_S)
        if ran.code == 0 or CONFLICT not in ran.err or time.monotonic() > give_up_at:
            return ran
        time.sleep(PAUSE_S)


def stop_service(manager: Manager) -> None:
    """Stops the daemon and the socket, which would start it again at once."""
    names = [name for name in (SOCKET, SERVICE) if manager.state_of(name).is_active]
    if names:
        _must(manager.systemctl("stop", *names, deadline_s=STOP_S), "stop " + " and ".join(names))


def _start(manager: Manager, names: list[str], *, changed: bool) -> None:
    """Starts the units, the socket first: systemd does not open the socket of a service that runs."""
    if changed or (SOCKET in names and not manager.state_of(SOCKET).is_active):
        stop_service(manager)
    for name in sorted(names, key=[SOCKET, SERVICE].index):
        _must(manager.systemctl("start", name, deadline_s=START_S), f"start {name}")


def _check_ours(name: str, environ: Mapping[str, str]) -> None:
    text = read_unit(name, environ)
    if text is not None and not is_ours(text):
        path = unit_directory(environ) / name
        raise Conflict(
            f"{path} was not written by `torcctl daemon install`: `systemctl --user disable --now {name}`, move it "
            "away and repeat the command",
            path=str(path),
        )


def _make_log(log: Path) -> None:
    """Makes the log and its directory, closed to others: systemd would start nothing without the one."""
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError as error:
        raise Refused(f"the daemon's log {log} cannot be written: {error.strerror}", log=str(log)) from error


def _write(name: str, text: str, environ: Mapping[str, str]) -> Written:
    path = unit_directory(environ) / name
    if read_unit(name, environ) == text:
        return Written(name, str(path), "unchanged")
    fresh = path.with_name(f".{name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text)
        fresh.replace(path)  # at once: a manager that reads it meanwhile sees one or the other
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise Refused(f"{path} cannot be written: {error.strerror}", path=str(path)) from error
    return Written(name, str(path), "written")


def _drop(manager: Manager, name: str, environ: Mapping[str, str]) -> list[Written]:
    """Stops, disables and removes a unit of ours, if it is there."""
    path = unit_directory(environ) / name
    if not path.exists():
        return []
    _must(manager.systemctl("disable", "--now", name, deadline_s=STOP_S), f"stop and disable {name}")
    path.unlink()
    return [Written(name, str(path), "removed")]


def _check_found(manager: Manager, environ: Mapping[str, str]) -> None:
    """Raises Refused unless the manager reads what was written: its XDG_CONFIG_HOME may be another."""
    path = unit_directory(environ) / SERVICE
    found = manager.state_of(SERVICE).path
    if not found or not _same_file(Path(found), path):
        raise Refused(
            f"{path} was written, but the service manager does not read it (it has {found or 'no such unit'}): "
            "XDG_CONFIG_HOME must be the same for both, see `systemctl --user show-environment`",
            path=str(path),
        )


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _must(ran: Ran, what: str) -> None:
    if ran.code != 0:
        raise Unavailable(
            f"the service manager could not {what}: {ran.err or 'it did not say why'}. "
            f"See `systemctl --user status {SERVICE}` and `torcctl daemon logs`"
        )


def _advice(linger: bool | None, *, running: bool) -> list[str]:
    advice = []
    if linger is False:
        advice.append(
            "the daemon ends with your last session on this host. `loginctl enable-linger` keeps it, and starts it "
            "when the machine does"
        )
    elif linger is None:
        advice.append("whether the daemon outlives your sessions here is unknown: see `loginctl enable-linger`")
    if not running:
        advice.append("`torcctl daemon start`, or the next command when no daemon runs, starts the service")
    return advice
