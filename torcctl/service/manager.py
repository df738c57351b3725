"""`systemd --user` of this user on this host, through systemctl and loginctl. Every call has a deadline.

That there is none is common (containers, batch jobs, other init systems), and said in a sentence.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from torcctl.service.unit_files import SERVICE, SOCKET
from torcd.protocol.address import Places

ASK_S = 5.0
"""For a question: systemd answers in milliseconds, on a busy login node in a second."""

START_S = 45.0
"""For a start or a reload: a large database takes seconds to open."""

STOP_S = 110.0
"""For a stop: what TimeoutStopSec= of the service allows, and the kill after it."""


class Ran(msgspec.Struct, frozen=True):
    """What a program left behind; `code` is None when it could not be started or did not end in time."""

    code: int | None
    out: str
    err: str


def run(argv: list[str], environ: Mapping[str, str], deadline_s: float = ASK_S) -> Ran:
    """Runs a program, killed at its deadline."""
    environ = {**environ, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    try:
        done = subprocess.run(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
    except OSError as error:
        return Ran(None, "", f"{argv[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Ran(None, "", f"{argv[0]} did not answer within {deadline_s:g} s")
    return Ran(done.returncode, done.stdout, done.stderr.strip())


class UnitState(msgspec.Struct, frozen=True):
    """What the manager knows of a unit; empty strings where it knows nothing."""

    active: str = ""
    enabled: str = ""
    pid: int = 0
    listen: str = ""
    path: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it runs, or is about to or just ending."""
        return self.active in ("active", "activating", "reloading", "deactivating")


class Manager:
    """The service manager, if there is one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    @property
    def may_be_there(self) -> bool:
        """Whether asking is worth the time: its runtime directory exists."""
        runtime = self._environ.get("XDG_RUNTIME_DIR")
        return bool(runtime) and os.path.isdir(os.path.join(runtime or "", "systemd"))

    def why_absent(self) -> str | None:
        """Why there is no service manager; None when there is one that answers."""
        if not self._environ.get("XDG_RUNTIME_DIR"):
            return (
                "XDG_RUNTIME_DIR is not set, so this is no login session: log in by ssh or at the console (not by su "
                f"or sudo), or `export XDG_RUNTIME_DIR=/run/user/{os.getuid()}`"
            )
        ran = self.systemctl("show", "--property=Version")
        if ran.code == 0:
            return None
        return ran.err.partition("\n")[0] or "systemctl --user failed without a word"

    def systemctl(self, *words: str, deadline_s: float = ASK_S) -> Ran:
        """`systemctl --user …`."""
        return run(["systemctl", "--user", *words], self._environ, deadline_s)

    def state_of(self, unit: str) -> UnitState:
        """What is known of a unit."""
        names = ("ActiveState", "UnitFileState", "MainPID", "Listen", "FragmentPath")
        ran = self.systemctl("show", unit, *(f"--property={name}" for name in names))
        known = dict(line.split("=", 1) for line in ran.out.splitlines() if "=" in line)
        pid = known.get("MainPID", "0")
        return UnitState(
            active=known.get("ActiveState", ""),
            enabled=known.get("UnitFileState", ""),
            pid=int(pid) if pid.isdecimal() else 0,
            listen=known.get("Listen", "").removesuffix(" (Stream)"),
            path=known.get("FragmentPath", ""),
        )

    def service_of(self, places: Places, pid: int | None = None) -> "Service | None":
        """The service that listens at these places, or whose daemon is process `pid`; None: there is none."""
        if places.url is not None or not self.may_be_there:
            return None
        service, socket = self.state_of(SERVICE), self.state_of(SOCKET)
        listens = socket.is_active and socket.listen == str(places.socket)
        runs = service.is_active and service.pid != 0 and pid in (None, service.pid)
        if listens or (pid is not None and runs):
            return Service(listens=listens, runs=service.is_active)
        return None

    def lingers(self) -> bool | None:
        """Whether this user's services outlive the last session; None: nobody knows."""
        ran = run(["loginctl", "show-user", _user_name(), "--property=Linger", "--value"], self._environ)
        if ran.code == 0 and ran.out.strip() in ("yes", "no"):
            return ran.out.strip() == "yes"
        marks = Path("/var/lib/systemd/linger")
        try:
            return _user_name() in os.listdir(marks)
        except OSError:
            return None

    def kills_processes(self) -> bool | None:
        """Whether processes of a session are killed when it ends (logind's KillUserProcesses); None: nobody knows."""
        ran = run(["loginctl", "show-session", "--property=KillUserProcesses", "--value"], self._environ)
        if ran.code == 0 and ran.out.strip() in ("yes", "no"):
            return ran.out.strip() == "yes"
        return parse_kill_user_processes(_read_logind())


class Service(msgspec.Struct, frozen=True):
    """A service that answers for a daemon: whether systemd listens for it, and whether it runs."""

    listens: bool
    runs: bool


def parse_kill_user_processes(texts: list[str]) -> bool | None:
    """The setting in logind.conf and its drop-ins, the last one wins; None: it is nowhere set."""
    found = None
    for text in texts:
        for line in text.splitlines():
            name, equals, value = line.partition("=")
            if equals and name.strip() == "KillUserProcesses":
                found = value.strip().lower() in ("yes", "true", "1", "on")
    return found


def _read_logind() -> list[str]:
    texts = []
    drop_ins = [
        path
        for directory in ("/usr/lib/systemd/logind.conf.d", "/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d")
        for path in sorted(Path(directory).glob("*.conf"))
    ]
    for path in [Path("/etc/systemd/logind.conf"), *drop_ins]:
        try:
            texts.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return texts


def _user_name() -> str:
    from torcctl.context import user_name

    return user_name(os.environ)
