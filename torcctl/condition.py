"""How a daemon is found from outside: it answers, it does not run, or it runs and does not answer.

Looking starts nothing: not even through a socket on which systemd listens for a daemon that does not run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from torcctl import autostart
from torcctl.finding import Elsewhere, url_of
from torcctl.service.manager import Manager, Service
from torcd.protocol.address import Places, parse_url
from torcd.protocol.client import NobodyAnswers
from torcd.protocol.errors import UnknownMethod, Unreachable
from torcd.protocol.health import GetHealth, Health, Problem
from torcd.protocol.model import Daemon
from torcd.protocol.requests import DaemonStatus

ANSWER_S = 3.0
"""For each answer: a daemon that is well takes milliseconds, and one under a heavy load a second."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `running` without `answers`: somebody listens there and says nothing."""

    running: bool
    answers: bool
    daemon: Daemon | None = None
    health: Health | None = None
    """None also of a daemon that is too old to tell."""
    pid: int | None = None
    problem: Problem | None = None
    service: Service | None = None
    is_here: bool = True
    """Whether it was found on this host; else `pid` is that of a process elsewhere."""
    told: dict[str, Any] = {}
    """What the daemon said of itself, word for word: `health` is in it, too."""

    def document(self, places: Places) -> dict[str, object]:
        """As `daemon status` prints it: the keys of INTERFACE 3, what else the daemon says, and the health."""
        unknown = {
            "running": self.running,
            "pid": self.pid,
            "url": url_of(places),
            "version": None,
            "started_at": None,
            "database": str(places.database),
        }
        return {**unknown, "answers": self.answers, "problem": self.problem, "health": None, **self.told}


def examine(places: Places, environ: Mapping[str, str]) -> Condition:
    """Looks, for a few seconds at most. Raises Unreachable for a user's own address that cannot be reached."""
    service = Manager(environ).service_of(places)
    if service is not None and service.listens and not service.runs:
        return Condition(running=False, answers=False, service=service)
    try:
        with autostart.reach(places, may_start=False, timeout_s=ANSWER_S) as connection:
            is_here = parse_url(connection.url).path is not None
            told = msgspec.json.decode(connection.call(DaemonStatus(), timeout_s=ANSWER_S))
            try:
                told["health"] = msgspec.json.decode(connection.call(GetHealth(), timeout_s=ANSWER_S))
            except UnknownMethod:
                told["health"] = None
    except NobodyAnswers:
        return _absent(places, service)
    except Elsewhere:
        raise
    except Unreachable as error:
        if parse_url(url_of(places)).path is None:
            raise
        return _silent(places, error)
    daemon = msgspec.convert(told, Daemon)
    return Condition(
        running=True,
        answers=True,
        daemon=daemon,
        health=msgspec.convert(told["health"], Health | None),
        pid=daemon.pid,
        service=service,
        is_here=is_here,
        told=told,
    )


def _absent(places: Places, service: Service | None) -> Condition:
    """Nobody listens: there is no daemon, or one that holds the database and listens elsewhere."""
    pid = None if places.url is not None else find_holder(places.lock)
    if pid is None or not holds_lock(pid, places.lock):
        return Condition(running=False, answers=False, service=service)
    problem = Problem(
        subject="daemon",
        problem=f"process {pid} serves {places.database}, and nobody listens at {places.socket}",
        advice=(
            "try again if it is just starting or ending; else it has another socket (TORCD_SOCKET, XDG_RUNTIME_DIR, or "
            f"a service that took this one over): `kill {pid}` ends it in order, and running jobs go on"
        ),
    )
    return Condition(running=True, answers=False, pid=pid, problem=problem, service=service)


def _silent(places: Places, error: Unreachable) -> Condition:
    pid = find_holder(places.lock)
    state = "" if pid is None else process_state(pid)
    return Condition(running=True, answers=False, pid=pid, problem=explain_silence(pid, state, error.message))


def find_holder(lock: Path) -> int | None:
    """The daemon that wrote itself into the lock file, if it lives on this host."""
    try:
        word = lock.read_text(errors="replace").split(" ")[0].strip()
        words = Path(f"/proc/{word}/cmdline").read_bytes().split(b"\0") if word.isdecimal() else []
    except OSError:
        return None
    return int(word) if any(b"torcd" in each for each in words) else None


def holds_lock(pid: int, lock: Path) -> bool:
    """Whether the process has locked that file, as proc_locks(5) has it; False where that cannot be told."""
    try:
        inode = str(lock.stat().st_ino)
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return False
    return any(row[1:2] == ["FLOCK"] and row[4] == str(pid) and row[5].endswith(f":{inode}") for row in rows)


def process_state(pid: int) -> str:
    """The letter that proc_pid_stat(5) has for the state of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def explain_silence(pid: int | None, state: str, error: str) -> Problem:
    """What may be the matter with a daemon that does not answer, and what to do."""
    if pid is None:
        said = f"it does not answer ({error}), and which process it is cannot be told"
        return Problem(subject="daemon", problem=said, advice="look for torcd with `ps -fu $USER`")
    match state:
        case "T" | "t":
            return Problem(
                subject="daemon",
                problem=f"process {pid} is stopped (SIGSTOP, or a debugger) and answers nobody",
                advice=f"`kill -CONT {pid}` lets it go on",
            )
        case "D":
            return Problem(
                subject="daemon",
                problem=f"process {pid} waits in the kernel for a disk or a file system and answers nobody",
                advice="see whether the file systems of the database and the home directory answer (df, dmesg)",
            )
        case _:
            return Problem(
                subject="daemon",
                problem=f"process {pid} runs and did not answer within {ANSWER_S:g} s",
                advice=(
                    f"wait if the machine is overloaded; else `kill -ABRT {pid}` ends it, and its log "
                    "(`torcctl daemon logs`) then says what it was at. Running jobs go on"
                ),
            )
