"""Checks of the daemon, its service, and how it is found. Pure: facts in, verdicts out."""

from torcctl.doctor.facts import Facts
from torcctl.doctor.verdicts import Check, ok, problem, warning
from torcctl.output import count_of


def check_daemon(facts: Facts) -> list[Check]:
    """Whether it runs and answers, in which version, and what it says of itself."""
    condition = facts.condition
    if not condition.running:
        if (said := condition.problem) is not None:
            return [problem("daemon", said.problem, said.advice)]
        if facts.failed_start is not None:
            why = f"none runs, and the last one could not start: {facts.failed_start}"
            return [problem("daemon", why, "mend that; the next command tries again")]
        return [ok("daemon", "none runs on this host; the next command starts it")]
    if not condition.answers or condition.daemon is None:
        said = condition.problem
        return [problem("daemon", "it does not answer" if said is None else said.problem, said.advice if said else "")]
    version = condition.daemon.version
    where = f"process {condition.pid}, version {version}"
    if version == facts.version:
        found = [ok("daemon", f"{where}, answers")]
    else:
        advice = "`torcctl daemon stop`; the next command starts the new one, and running jobs go on"
        found = [warning("daemon", f"{where}, while this torcctl is version {facts.version}", advice)]
    if condition.health is None:
        return [
            *found,
            warning("health", "this daemon is too old to tell how it is", "restart it: `torcctl daemon stop`"),
        ]
    problems = [problem(each.subject, each.problem, each.advice) for each in condition.health.problems]
    loaded = count_of(len(condition.health.workflows), "workflow")
    return found + (problems or [ok("health", f"{loaded} loaded, none stuck or faulted; the database commits")])


def check_environment(facts: Facts) -> list[Check]:
    """Variables that lead astray."""
    found = []
    if facts.url is not None and facts.url_error is not None:
        advice = "unset it unless you mean that daemon: none is ever started for an address that was set"
        found.append(problem("environment", f"{facts.url_from} is {facts.url}, where {facts.url_error}", advice))
    elif facts.url is not None:
        found.append(ok("environment", f"{facts.url_from} is {facts.url}, which answers"))
    if facts.workflow_missing:
        wanted = facts.environment.get("TORC_WORKFLOW_ID")
        found.append(warning("environment", f"TORC_WORKFLOW_ID is {wanted}, which is no workflow", "unset it"))
    if facts.environment.get("TORC_NO_AUTOSTART") == "1":
        found.append(
            warning("environment", "TORC_NO_AUTOSTART=1: commands start no daemon", "unset it unless that is meant")
        )
    if not facts.environment.get("XDG_RUNTIME_DIR") and not facts.environment.get("TORCD_SOCKET"):
        advice = "log in by ssh rather than su, or set TORCD_SOCKET, so that all your shells look for the same socket"
        found.append(warning("environment", f"XDG_RUNTIME_DIR is not set; the socket is {facts.socket}", advice))
    return found or [ok("environment", "no address is set, and nothing leads astray")]


def check_service(facts: Facts) -> list[Check]:
    """Whether torcd is a service, and whether that would start this torcd for these places."""
    service = facts.service
    if service.absent is not None and not service.is_installed:
        return [ok("service", f"no service manager answers here ({service.absent}); torcctl starts torcd by itself")]
    if not service.is_installed:
        return [ok("service", "torcd is no service; `torcctl daemon install --now` has it start at login")]
    again = "`torcctl daemon install --now` writes it anew"
    if not service.command_exists:
        return [problem("service", f"its program {service.command} does not exist", again)]
    if not service.is_ours:
        return [ok("service", f"torcd.service is your own, {service.active or 'not loaded'}")]
    if not service.for_these_places:
        advice = f"{again} for the places that apply now; or unset TORCD_DATABASE and TORCD_SOCKET"
        return [warning("service", "it is for another database or socket than this shell's", advice)]
    if service.absent is not None:
        advice = "none, if this is a batch job or another host; else log in by ssh"
        return [warning("service", f"it is installed, but no service manager answers: {service.absent}", advice)]
    if service.version != facts.version:
        return [warning("service", f"it was written by version {service.version} of torcctl", again)]
    if service.active == "failed":
        advice = "`torcctl daemon logs` tells why; `torcctl daemon start` tries again"
        return [problem("service", "it has failed and was given up", advice)]
    if service.enabled != "enabled":
        return [warning("service", f"it is {service.enabled or 'not known'} and does not start at login", again)]
    return [ok("service", f"installed, enabled, {service.active}")]


def check_sessions(facts: Facts) -> list[Check]:
    """Whether the daemon outlives the session in which it was started."""
    service = facts.service
    name = "sessions"
    tell = "`loginctl enable-linger`"
    is_service = service.is_installed and service.active == "active"
    if is_service and service.lingers is False:
        return [warning(name, "lingering is off: the service ends with your last session", tell)]
    if service.kills_processes and not is_service:
        advice = f"`torcctl daemon install --now` and {tell}; run workers by `systemd-run --user --scope torcctl run …`"
        return [warning(name, "KillUserProcesses=yes: what a session started is killed at its end", advice)]
    if service.lingers is None and service.kills_processes is None:
        return [ok(name, "nothing is known of lingering or KillUserProcesses (no logind here)")]
    lingers = {True: "on", False: "off", None: "unknown"}[service.lingers]
    kills = "; processes of ended sessions are killed, the service is not" if service.kills_processes else ""
    return [ok(name, f"lingering is {lingers}{kills or '; processes outlive their session'}")]


def check_connection_file(facts: Facts) -> list[Check]:
    """Whether the file by which other hosts find the daemon is true, and nobody else's to read."""
    file = facts.connection_file
    if file is None:
        return [ok("connection file", "there is none: no daemon listens for other hosts")]
    if file.mode & 0o077:
        advice = f"`chmod 600 {file.path}`, then `torcctl daemon rotate-token`"
        return [problem("connection file", f"others may read the token in {file.path} (mode {file.mode:04o})", advice)]
    if not file.host:
        return [problem("connection file", f"{file.path} cannot be understood", "remove it; the daemon writes it anew")]
    if file.is_here and not file.is_alive:
        advice = "none is needed: the next daemon replaces it; workers on other hosts wait for that"
        return [warning("connection file", f"it names process {file.pid} of this host, which is gone", advice)]
    return [ok("connection file", f"it names process {file.pid} on {file.host}")]
