"""`torcctl daemon install` and `uninstall`: torcd as a service of the user's own systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import output
from torcd.protocol.errors import Refused

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.service.install import Installed
    from torcctl.service.manager import Manager


def install(*, now: bool = False, no_socket: bool = False, context: Context) -> None:
    """Make the daemon a service of `systemd --user`: it starts at login and is restarted when it fails.

    Writes the units with this installation's torcd and the places that apply now, and enables them; again is fine. A
    daemon that runs already is then stopped (jobs go on) and started as the service.

    Args:
        now: Start it, too.
        no_socket: Do without the socket unit, which starts the daemon with the first client.
    """
    from torcctl import autostart
    from torcctl.service.install import check_manager
    from torcctl.service.install import install as write
    from torcctl.service.manager import Manager

    places = context.places
    if places.url is not None:
        raise Refused(f"the address {places.url} was set (--url, TORC_URL or config.toml): it names another daemon")
    manager = Manager(context.environ)
    check_manager(manager, "installed")
    if now:
        _stop_other(context, manager)
    _show(context, write(manager, autostart.DAEMON, places, context.environ, now=now, socket=not no_socket))


def uninstall(*, context: Context) -> None:
    """Take back what install did: stop and disable the service, remove its units. Data and log stay."""
    from torcctl.service.install import uninstall as remove
    from torcctl.service.manager import Manager

    _show(context, remove(Manager(context.environ), context.environ))


def _stop_other(context: Context, manager: Manager) -> None:
    """Stops a daemon that is not the service's, because it holds the database."""
    from torcctl.commands.daemon import stop_process
    from torcctl.condition import examine

    if manager.service_of(context.places) is not None:
        return
    daemon = examine(context.places, context.environ).daemon
    if daemon is not None and manager.service_of(context.places, daemon.pid) is None:
        stop_process(context, daemon.pid)
        context.note("info", f"stopped the daemon that ran already (process {daemon.pid}); running jobs go on")


def _show(context: Context, done: Installed) -> None:
    if context.options.json:
        output.write_json(done)
        return
    for unit in done.units:
        print(f"{unit.what}: {unit.path}")
    if done.enabled:
        print(f"enabled: {', '.join(done.enabled)}")
        print(f"running: {'true, process ' + str(done.pid) if done.running else 'false'}")
    elif not done.units:
        print("nothing was installed")
    for line in done.advice:
        context.note("info", line)
