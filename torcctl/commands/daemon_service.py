"""`torcctl daemon install` and `uninstall`: torcd as a service of the user's own systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl import output
from torcd.protocol.errors import Refused, Unavailable

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
    from torcctl.commands.daemon import stop_process
    from torcctl.service.install import check_manager
    from torcctl.service.install import install as write
    from torcctl.service.manager import Manager

    places = context.places
    if places.url is not None:
        raise Refused(f"the address {places.url} was set (--url, TORC_URL or config.toml): it names another daemon")
    manager = Manager(context.environ)
    check_manager(manager, "installed")
    other = _find_other(context, manager)
    if other is not None and now:
        stop_process(context, other)
        context.note("info", f"stopped the daemon that ran already (process {other}); running jobs go on")
    elif other is not None:
        context.warn(f"process {other} runs already: `torcctl daemon install --now` has the service take its place")
    _show(context, write(manager, autostart.DAEMON, places, context.environ, now=now, socket=not no_socket))


def uninstall(*, context: Context) -> None:
    """Take back what install did: stop and disable the service, remove its units. Data and log stay."""
    from torcctl.service.install import uninstall as remove
    from torcctl.service.manager import Manager

    _show(context, remove(Manager(context.environ), context.environ))


def _find_other(context: Context, manager: Manager) -> int | None:
    """The daemon that runs for these places and is not the service's. Raises Unavailable when it does not answer."""
    from torcctl.condition import examine

    if manager.service_of(context.places) is not None:
        return None
    condition = examine(context.places, context.environ)
    if condition.problem is not None:
        raise Unavailable(f"{condition.problem.problem}. What to do first: {condition.problem.advice}")
    if condition.pid is None or manager.service_of(context.places, condition.pid) is not None:
        return None
    return condition.pid


def _show(context: Context, done: Installed) -> None:
    if context.options.json:
        output.write_json(done)
        return
    for unit in done.units:
        print(f"{unit.what}: {unit.path}")
    if done.enabled:
        print(f"enabled: {', '.join(done.enabled)}")
        print(f"service: {f'running, process {done.pid}' if done.running else 'not running'}")
    elif not done.units:
        print("nothing was installed")
    for line in done.advice:
        context.note("info", line)
