"""Checks of the machine: file systems, limits, clocks, versions, Slurm. Pure: facts in, verdicts out."""

import os

from torcctl.doctor.facts import Facts, Package
from torcctl.doctor.verdicts import Check, Verdict, ok, problem, warning
from torcctl.health_text import duration
from torcctl.output import format_size

MIB, GIB = 1 << 20, 1 << 30

LITTLE_BYTES, TOO_FEW_BYTES = 2 * GIB, 64 * MIB
"""A million jobs are a database of some hundred MiB, and a mass reset writes as much again for a while."""

FEW_INODES, TOO_FEW_INODES = 10_000, 100
"""Each attempt of a job leaves two files."""

SOCKET_BYTES = 107
"""Longest path of a Unix socket, unix(7)."""

FEW_CPU_S = 24 * 3600
"""A daemon of weeks, at a few percent of a processor, needs a day of its time in a month."""

FEW_FILES = 1024
FEW_PROCESSES = 64
LITTLE_MEMORY = GIB

SKEW_S = 2.0
"""What a clock may be off: file systems round to 2 s at worst."""

JUMP_S = 5.0

OLDEST_SQLITE = (3, 37)
"""STRICT tables."""


def check_file_system(facts: Facts) -> list[Check]:
    """Whether the database lies on a local disk."""
    disk = facts.disk
    if not disk.answers:
        advice = "see `df` and `mount`; a dead mount has to be mounted anew, or set TORCD_DATABASE to another place"
        return [problem("file system", f"that of {disk.path} does not answer", advice)]
    if not disk.is_local:
        advice = "set `database` in config.toml (or TORCD_DATABASE) to a path on a local disk of this host"
        detail = f"{disk.path} is on {disk.kind}, a network file system or an unknown one: slower, one query at a time"
        return [warning("file system", detail, advice)]
    return [ok("file system", f"{disk.path} is on {disk.kind}, local")]


def check_space(facts: Facts) -> list[Check]:
    """Whether there is room for the database."""
    disk = facts.disk
    if disk.free_bytes is None:
        return [ok("space", "unknown")]
    verdict: Verdict = "ok"
    if disk.free_bytes < LITTLE_BYTES or (disk.free_inodes or FEW_INODES) < FEW_INODES:
        verdict = "warning"
    if disk.free_bytes < TOO_FEW_BYTES or (disk.free_inodes or FEW_INODES) < TOO_FEW_INODES:
        verdict = "problem"
    inodes = "" if disk.free_inodes is None else f" and {disk.free_inodes} inodes"
    detail = f"{format_size(disk.free_bytes)}{inodes} free for {disk.path}"
    return [Check(check="space", verdict=verdict, detail=detail, advice="" if verdict == "ok" else "free some")]


def check_private(facts: Facts) -> list[Check]:
    """Whether the daemon's files are the user's own and closed to others."""
    found = []
    for each in facts.private:
        if each.owner not in (facts.uid, 0):
            advice = "set TORCD_DATABASE and TORCD_SOCKET to places of your own"
            found.append(problem("owner", f"{each.path} belongs to user {each.owner}, not to you", advice))
        elif each.mode & each.closed:
            advice = f"`chmod {each.mode & ~each.closed:04o} {each.path}`"
            found.append(problem("modes", f"{each.path} is open to others (mode {each.mode:04o})", advice))
    return found or [
        ok("modes", "the database, the socket and the connection file are yours, and nobody else reads or writes them")
    ]


def check_socket_path(facts: Facts) -> list[Check]:
    """Whether the socket's path fits into an address."""
    length = len(os.fsencode(facts.socket))
    if length > SOCKET_BYTES:
        detail = f"{facts.socket} has {length} bytes, and at most {SOCKET_BYTES} are possible"
        return [problem("socket path", detail, "set TORCD_SOCKET to a shorter path")]
    return [ok("socket path", f"{length} of {SOCKET_BYTES} bytes")]


def check_limits(facts: Facts) -> list[Check]:
    """Whether the daemon may use what it needs: login nodes like to limit that."""
    limits = facts.limits
    found = []
    away = "`torcctl daemon install --now`: a service has none of the shell's limits; or ask the administrators"
    if limits.cpu_s is not None and limits.cpu_s < FEW_CPU_S:
        detail = f"{limits.whose} is killed after {duration(limits.cpu_s)} of processor time (ulimit -t)"
        found.append(problem("limits", detail, away))
    if limits.open_files is not None and limits.open_files < FEW_FILES:
        detail = f"{limits.whose} may open {limits.open_files} files, one for each client and worker"
        found.append(warning("limits", detail, "`ulimit -n 4096`, or " + away))
    if limits.processes is not None and limits.processes_now is not None:
        left = limits.processes - limits.processes_now
        if left < FEW_PROCESSES:
            detail = f"{left} more processes and threads are allowed to you (ulimit -u {limits.processes})"
            found.append(warning("limits", detail, "end some, or ask the administrators"))
    if limits.memory_bytes is not None and limits.memory_bytes < LITTLE_MEMORY:
        detail = f"the control group of {limits.whose} may use {format_size(limits.memory_bytes)} of memory"
        found.append(warning("limits", detail, "a workflow of a million jobs takes 350 MB: run the daemon elsewhere"))
    if limits.group_processes is not None and limits.group_processes < FEW_PROCESSES:
        detail = f"the control group of {limits.whose} may have {limits.group_processes} processes and threads"
        found.append(warning("limits", detail, "run the daemon elsewhere, or ask the administrators"))
    if found:
        return found
    files = "any number of" if limits.open_files is None else limits.open_files
    cpu = "no limit of processor time" if limits.cpu_s is None else f"{duration(limits.cpu_s)} of processor time"
    return [ok("limits", f"{limits.whose}: {files} open files, {cpu}")]


def check_clock(facts: Facts) -> list[Check]:
    """Whether times of files can be compared, and whether the clock keeps still."""
    clock = facts.clock
    found = []
    if clock.year < 2024:
        found.append(problem("clock", f"this machine believes it is the year {clock.year}", "set its clock"))
    for directory, skew_s in clock.skews.items():
        if abs(skew_s) > SKEW_S:
            side = "ahead of" if skew_s > 0 else "behind"
            detail = f"the file system of {directory} is {abs(skew_s):.1f} s {side} this machine's clock"
            advice = "harmless to what reruns (times are compared with themselves), confusing in logs: see ntp on both"
            found.append(warning("clock", detail, advice))
    if clock.jump_s is not None and abs(clock.jump_s) > JUMP_S:
        detail = f"since the daemon started the clock was set by {clock.jump_s:+.0f} s, or the machine was suspended"
        found.append(warning("clock", detail, "see that ntp runs; leases of workers do not depend on this clock"))
    if found:
        return found
    worst = max((abs(skew) for skew in clock.skews.values()), default=None)
    seen = "not compared with any file system" if worst is None else f"agrees with the file systems to {worst:.3f} s"
    return [ok("clock", seen)]


def check_versions(facts: Facts) -> list[Check]:
    """Whether Python and the libraries are those that torcd was made for."""
    wrong = [package for package in facts.packages if not fits(package)]
    if tuple(map(int, facts.sqlite.split(".")[:2])) < OLDEST_SQLITE:
        detail = f"SQLite {facts.sqlite} is older than {'.'.join(map(str, OLDEST_SQLITE))}"
        return [problem("versions", detail, "use a newer Python")]
    if wrong:
        named = ", ".join(f"{each.name} {each.found or 'missing'} (needs {each.wanted or 'any'})" for each in wrong)
        return [problem("versions", named, "install torcd again in an environment of its own (pipx, venv)")]
    return [ok("versions", f"torcctl {facts.version}, Python {facts.python}, SQLite {facts.sqlite}, all libraries fit")]


def fits(package: Package) -> bool:
    """Whether a package is there in a version that is wanted: >= and < are understood, other wishes are granted."""
    if package.found is None:
        return False
    have = _numbers(package.found)
    for wish in filter(None, package.wanted.split(",")):
        wish = wish.strip()
        if wish.startswith(">=") and have < _numbers(wish[2:]):
            return False
        if wish.startswith("<") and not wish.startswith("<=") and have >= _numbers(wish[1:]):
            return False
    return True


def _numbers(version: str) -> list[int]:
    numbers = []
    for part in version.strip().split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return numbers


def check_slurm(facts: Facts) -> list[Check]:
    """Whether Slurm answers, where there is one."""
    slurm = facts.slurm
    if slurm.sbatch is None:
        return [ok("slurm", "no sbatch in PATH: jobs run where workers are started")]
    if slurm.code == 0 and " UP" in slurm.said.upper():
        return [ok("slurm", slurm.said)]
    said = slurm.said or "scontrol ping said nothing"
    if "configuration source" in said:
        return [
            ok("slurm", "its programs are here, but this host is in no cluster: jobs run where workers are started")
        ]
    return [problem("slurm", f"its controller does not answer: {said}", "ask the administrators; running jobs go on")]
