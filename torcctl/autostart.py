"""Starting the daemon when none answers at the default address (`finding` says where that is).

A user's own address (`--url`, TORC_URL, the config file) is never answered by starting something. Of two
daemons started at once the one that gets the kernel lock stays; the other exits with `LOCKED`, and both
clients reach the first. No lock, pid or socket file is looked at here.
"""

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from torcctl.finding import Elsewhere, Silent, find, url_of
from torcd.protocol.address import Places
from torcd.protocol.client import CONNECT_TIMEOUT_S, Connection, HungUp, NobodyAnswers
from torcd.protocol.errors import RemoteError, Unreachable, error_from_wire

if TYPE_CHECKING:
    from subprocess import Popen

DAEMON = (sys.executable, "-m", "torcd")
"""How a daemon is started."""

LOCKED = 75
"""Exit code of a daemon that found another one running (EX_TEMPFAIL of sysexits.h)."""

TRY_AGAIN = (LOCKED, -signal.SIGKILL, -signal.SIGTERM)
"""Ends of a daemon that say nothing against another start: somebody else had its lock, or killed it."""

START_TIMEOUT_S = 15.0
"""For a new daemon to accept connections: ten times what opening a large database takes."""

START_AGAIN_S = 1.0
"""After a start in vain: whoever took the lock would have answered by then, if it had just started."""

HANGING_UP_S = 5.0
"""A daemon that ends closes its sessions within two seconds."""

SILENCE_S = 2.0
"""For a daemon on another host to come back: its connection file is read again meanwhile."""

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.05
"""Between attempts to connect: nothing can be waited on before the socket exists."""

LOG_LINES = 15
"""How much of the log an error shows."""


def reach(places: Places, *, may_start: bool, again: bool = False, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
    """A session with the daemon, which is started if nobody answers and it may be.

    `again`: also a service that its manager has given up. Raises Unreachable when there is no daemon in the end, or
    what `connect` raises.
    """
    try:
        return _connect(places, timeout_s=timeout_s)
    except NobodyAnswers as error:
        if places.url is not None:
            raise
        if not may_start:
            raise NobodyAnswers(
                f"{error.message}; start one with `torcctl daemon start`, or allow autostart", **error.data
            ) from error
    return _start_service(places, again=again) or start(places)


def _connect(places: Places, *, elsewhere: bool = True, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
    """A session with the daemon. One that hangs up, or is silent elsewhere, may be about to end or to come back: it is
    looked for again."""
    began = time.monotonic()
    while True:
        try:
            return find(places, elsewhere=elsewhere, timeout_s=timeout_s)
        except (HungUp, Silent) as error:
            if time.monotonic() - began > (SILENCE_S if isinstance(error, Silent) else HANGING_UP_S):
                raise
        time.sleep(LONGEST_PAUSE_S)


def _start_service(places: Places, *, again: bool) -> Connection | None:
    """Starts the service that was installed for these places; None when there is none, or no manager for it here.

    A home that hosts share has the units on all of them. Raises Unreachable when the service does not start.
    """
    from torcctl.service.unit_files import SERVICE, read_unit, serves

    text = read_unit(SERVICE, os.environ)
    if text is None or not serves(text, places, os.environ):
        return None
    from torcctl.service.install import start_service
    from torcctl.service.manager import Manager

    manager = Manager(os.environ)
    if manager.why_absent() is not None:
        return None
    ran = start_service(manager, again=again)
    if ran.code != 0:
        raise Unreachable(
            f"the service {SERVICE} does not start: {ran.err or 'systemctl did not say why'}. `torcctl doctor` looks "
            f"for the reason, `systemctl --user status {SERVICE}` and `torcctl daemon logs` may tell it, `torcctl "
            "daemon start` tries again",
            url=url_of(places),
        )
    return _connect(places)


def start(places: Places, *, elsewhere: bool = True) -> Connection:
    """Starts a daemon and returns a session with it, or with one that was started at the same time, be it `elsewhere`.

    A daemon that is about to end does not answer any more and still holds the lock: then it is tried again, and also
    when the new one was killed before it answered.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    log_start = _size(places)
    process = _spawn(places)
    start_again_at = time.monotonic() + START_AGAIN_S
    pause = FIRST_PAUSE_S
    while True:
        # Looked at before the attempt: if it has exited and then nobody answers, waiting is in vain.
        exit_code = process.poll()
        try:
            connection = _connect(places, elsewhere=elsewhere)
        except (NobodyAnswers, Elsewhere) as error:
            if exit_code is not None and exit_code not in TRY_AGAIN:
                why = f"it exited with code {exit_code} before it answered"
                raise _not_started(places, why, log_start) from error
            if time.monotonic() > deadline:
                _let_go(process)
                raise _not_started(places, f"nothing answers after {START_TIMEOUT_S:g} s", log_start) from error
            if exit_code in TRY_AGAIN and time.monotonic() > start_again_at:
                process = _spawn(places)
                start_again_at = time.monotonic() + START_AGAIN_S
        else:
            _let_go(process)
            return connection
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


def _spawn(places: Places) -> "Popen[bytes]":
    """Starts `torcd` with nothing of ours but the environment: own session, `/`, its log."""
    from subprocess import DEVNULL, Popen

    try:
        places.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.open(places.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unreachable(
            f"no daemon runs and none can be started, because its log {places.log} cannot be written: "
            f"{error.strerror}; set TORCD_DATABASE to a place that can",
            log=str(places.log),
        ) from error
    try:
        return Popen(
            DAEMON,
            cwd="/",
            env=_environment(places),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
    finally:
        os.close(log)


def _let_go(process: "Popen[bytes]") -> None:
    """It is no child to care for, be it alive: spares Popen's warning."""
    process.returncode = process.poll() or 0


def _environment(places: Places) -> dict[str, str]:
    """Ours, with places that mean the same in another directory, and without what a service manager told us alone."""
    return {
        **{name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
        "TORCD_DATABASE": str(places.database),
        "TORCD_SOCKET": str(places.socket),
        "TORCD_CONNECTION_FILE": str(places.connection_file),
    }


def restore(places: Places, backup: str) -> bytes:
    """Has torcd put a backup, an absolute path, in the place of the database; what it answers, JSON.

    Raises what it refuses. As ever it runs in `/`: no module of a directory in which others write is taken for its own.
    """
    from subprocess import DEVNULL, run

    command = [*DAEMON, "--restore", backup]
    done = run(command, cwd="/", env=_environment(places), stdin=DEVNULL, capture_output=True, check=False)
    try:
        answer = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError as error:
        said = done.stderr.decode(errors="replace").strip()
        raise RemoteError(f"torcd exited with code {done.returncode} and said: {said or 'nothing'}") from error
    if done.returncode:
        refused = answer["error"]
        raise error_from_wire(refused["code"], refused["message"], refused["data"])
    return done.stdout


def _size(places: Places) -> int:
    return places.log.stat().st_size if places.log.exists() else 0


def _not_started(places: Places, why: str, log_start: int) -> Unreachable:
    """The error that shows what the new daemon had to say."""
    lines: list[str] = []
    if places.log.exists():
        with places.log.open("rb") as log:
            log.seek(log_start)
            lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    said = "".join(f"\n  {line}" for line in lines) or " (empty)"
    return Unreachable(
        f"torcd was started but {why}. The end of its log {places.log}:{said}",
        url=url_of(places),
        log=str(places.log),
    )
