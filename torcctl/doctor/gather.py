"""Finds out everything that doctor judges. Nothing here is started or changed, and nothing is waited for long."""

import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from torcctl import autostart
from torcctl.condition import ANSWER_S, Condition, examine
from torcctl.doctor.facts import Clock, ConnectionFile, Disk, Facts, Package, Private, ServiceFacts, Slurm
from torcctl.doctor.limits import gather_limits
from torcctl.service.manager import Manager, run
from torcctl.service.unit_files import SERVICE, is_ours, read_unit, serves, start_command, version_of
from torcd import __version__
from torcd.protocol.address import Places
from torcd.protocol.errors import NotFound, TorcError
from torcd.protocol.health import Problem
from torcd.protocol.mounts import find_file_system, is_local
from torcd.protocol.requests import GetWorkflow

T = TypeVar("T")

DISK_S = 3.0
"""For a look at a file system: one that is gone may never answer."""

LOG_BYTES = 64 * 1024
"""Of the log's end: its last line is looked for."""

ERROR = "error: "
"""With what torcd says why it does not start."""

SLURM_S = 5.0
"""For `scontrol ping`, which waits longer by itself for a controller that is gone."""


def gather(places: Places, environ: Mapping[str, str]) -> Facts:
    """All facts."""
    here = msgspec.structs.replace(places, url=None)
    condition = _examine(here, environ)
    answering = places if places.url is not None else here if condition.answers else None
    url_error = None if places.url is None else _try_url(places)
    return Facts(
        uid=os.getuid(),
        version=__version__,
        python=sys.version.split()[0],
        sqlite=sqlite3.sqlite_version,
        socket=str(places.socket),
        condition=condition,
        failed_start=None if condition.running else in_time(lambda: _read_failure(places.log), None),
        url=places.url,
        url_from="TORC_URL" if places.url == environ.get("TORC_URL") else "--url or config.toml",
        url_error=url_error,
        environment={name: value for name, value in environ.items() if name.startswith(("TORC_", "TORCD_", "XDG_"))},
        workflow_missing=answering is not None and url_error is None and _misses_workflow(answering, environ),
        disk=in_time(lambda: _look_at_disk(places), Disk(path=str(places.database.parent), answers=False)),
        private=in_time(lambda: _private(places), []),
        limits=gather_limits(condition.pid if condition.is_here else None),
        clock=in_time(lambda: _clock(places, condition), Clock(year=datetime.now().year)),
        packages=_packages(),
        slurm=_slurm(environ),
        service=_service(here, environ),
        connection_file=in_time(lambda: _connection_file(places.connection_file), None),
    )


def in_time(look: Callable[[], T], otherwise: T, deadline_s: float = DISK_S) -> T:
    """What `look` returns, or `otherwise` when a file system does not answer in time or refuses."""
    found: list[T] = []

    def work() -> None:
        try:
            found.append(look())
        except OSError:
            return

    thread = threading.Thread(target=work, daemon=True)  # one that never ends keeps nobody from exiting
    thread.start()
    thread.join(deadline_s)
    return found[0] if found else otherwise


def _examine(places: Places, environ: Mapping[str, str]) -> Condition:
    try:
        return examine(places, environ)
    except TorcError as error:  # a daemon on another host, or a connection file that is not to be believed
        said = Problem(subject="daemon", problem=f"none can be found: {error.message}", advice="see what that names")
        return Condition(running=False, answers=False, problem=said)


def _read_failure(log: Path) -> str | None:
    """What torcd said last, if that was why it could not start; but for one that only found another at work."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
        last = file.read().decode(errors="replace").rstrip().rpartition("\n")[2]
    said = last.removeprefix(ERROR)
    return None if said == last or said.startswith("lock file ") else said


def _try_url(places: Places) -> str | None:
    try:
        autostart.reach(places, may_start=False, timeout_s=ANSWER_S).close()
    except TorcError as error:
        return error.message
    return None


def _misses_workflow(places: Places, environ: Mapping[str, str]) -> bool:
    wanted = environ.get("TORC_WORKFLOW_ID", "")
    if not wanted.isdecimal():
        return False
    try:
        with autostart.reach(places, may_start=False, timeout_s=ANSWER_S) as connection:
            connection.call(GetWorkflow(workflow_id=int(wanted)), timeout_s=ANSWER_S)
    except NotFound:
        return True
    except TorcError:
        return False
    return False


def _look_at_disk(places: Places) -> Disk:
    directory = existing(places.database.parent)
    kind = find_file_system(directory)
    space = os.statvfs(directory)
    return Disk(
        path=str(directory),
        kind=kind,
        is_local=is_local(kind),
        free_bytes=space.f_bavail * space.f_frsize,
        free_inodes=space.f_favail if space.f_files else None,
    )


def existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that exists."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory


def _private(places: Places) -> list[Private]:
    found = []
    database = places.database
    closed = {
        database.parent: 0o022,  # the files in it are closed themselves
        database: 0o077,
        database.with_name(database.name + "-wal"): 0o077,
        places.socket.parent: 0o077,
        places.socket: 0o077,
        places.connection_file: 0o077,
    }
    for path, mask in closed.items():
        try:
            status = path.stat()
        except OSError:
            continue
        found.append(Private(path=str(path), owner=status.st_uid, mode=status.st_mode & 0o777, closed=mask))
    return found


def _clock(places: Places, condition: Condition | None) -> Clock:
    skews = {}
    for directory in {places.database.parent, Path.cwd()}:
        if directory.is_dir() and os.access(directory, os.W_OK):
            with tempfile.TemporaryFile(dir=directory) as probe:
                before = time.time()
                probe.write(b"x")
                probe.flush()
                os.fsync(probe.fileno())
                changed = os.fstat(probe.fileno()).st_mtime
                after = time.time()
            skews[str(directory)] = changed - min(max(changed, before), after)
    return Clock(year=datetime.now().year, skews=skews, jump_s=_jump(condition))


def _jump(condition: Condition | None) -> float | None:
    """By how much more this machine's clock went on since the daemon started than one that is never set."""
    if condition is None or condition.daemon is None or condition.health is None:
        return None
    started = datetime.fromisoformat(condition.daemon.started_at).timestamp()
    return time.time() - started - condition.health.uptime_s


def _packages() -> list[Package]:
    from importlib import metadata

    found = []
    for requirement in metadata.requires("torcd") or []:
        plain, _, marker = requirement.partition(";")
        if "extra" in marker:
            continue
        name = plain.strip()
        for char in "<>=!~ ([":
            name = name.split(char)[0]
        wanted = plain.strip()[len(name) :].strip(" ()")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        found.append(Package(name=name, wanted=wanted, found=version))
    return found


def _slurm(environ: Mapping[str, str]) -> Slurm:
    sbatch = shutil.which("sbatch", path=environ.get("PATH"))
    if sbatch is None:
        return Slurm(sbatch=None)
    ran = run(["scontrol", "ping"], environ, SLURM_S)
    return Slurm(sbatch=sbatch, code=ran.code, said=" ".join((ran.out + " " + ran.err).split()))


def _service(places: Places, environ: Mapping[str, str]) -> ServiceFacts:
    manager = Manager(environ)
    absent = manager.why_absent()
    text = read_unit(SERVICE, environ)
    state = manager.state_of(SERVICE) if absent is None else None
    command = None if text is None else start_command(text)
    return ServiceFacts(
        absent=absent,
        is_installed=text is not None,
        is_ours=text is not None and is_ours(text),
        for_these_places=text is not None and serves(text, places, environ),
        version=None if text is None else version_of(text),
        command=command,
        command_exists=command is None or shutil.which(command) is not None,
        enabled="" if state is None else state.enabled,
        active="" if state is None else state.active,
        lingers=manager.lingers(),
        kills_processes=manager.kills_processes(),
    )


def _connection_file(path: Path) -> ConnectionFile | None:
    try:
        mode = path.stat().st_mode & 0o777
        content: Any = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return ConnectionFile(path=str(path), mode=mode)
    known = content if isinstance(content, dict) else {}
    host, pid = str(known.get("host", "")), known.get("pid", 0)
    is_here = host == socket.gethostname()
    same_boot = known.get("boot_id") == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ConnectionFile(
        path=str(path),
        mode=mode,
        host=host,
        pid=pid if isinstance(pid, int) else 0,
        is_here=is_here,
        is_alive=same_boot and _is_daemon(pid),
    )


def _is_daemon(pid: object) -> bool:
    try:
        return b"torcd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
