"""What doctor makes of facts: each check well, and each way in which it is not."""

from typing import Any

import msgspec
import pytest

from torcctl.condition import Condition
from torcctl.doctor.checks import judge
from torcctl.doctor.facts import (
    Clock,
    ConnectionFile,
    Disk,
    Facts,
    Limits,
    Package,
    Private,
    ServiceFacts,
    Slurm,
)
from torcctl.doctor.verdicts import Check
from torcd.protocol.health import DatabaseHealth, Health, LoopHealth, Problem
from torcd.protocol.model import Daemon

GIB = 1 << 30
NO_CLUSTER = "scontrol: fatal: Could not establish a configuration source"
"""What is said where there are Slurm's packages and no slurm.conf."""
HEALTH = Health(
    uptime_s=1.0,
    memory_bytes=1,
    open_files=1,
    open_files_limit=1,
    connections=1,
    subscriptions=0,
    workers=0,
    event_loop=LoopHealth(lag_ms=0.1, lag_ago_s=0.1),
    database=DatabaseHealth(
        state="ok",
        file_system="ext4",
        is_local=True,
        size_bytes=1,
        free_bytes=1,
        last_commit_at=None,
        last_error=None,
        last_error_at=None,
        silent_s=0.0,
    ),
    workflows=[],
    problems=[],
)
DAEMON = Daemon(
    running=True, pid=7, url="ws+unix:///s", version="1.2.3", started_at="2026-01-01T00:00:00Z", database="d"
)
RUNNING = Condition(running=True, answers=True, daemon=DAEMON, health=HEALTH, pid=7)
PROBLEM = Problem(subject="workflow 3", problem="its actor is stuck", advice="wait")
SERVICE = ServiceFacts(
    absent=None,
    is_installed=True,
    is_ours=True,
    for_these_places=True,
    version="1.2.3",
    command="/bin/python",
    enabled="enabled",
    active="active",
    lingers=True,
    kills_processes=False,
)
FACTS = Facts(
    uid=1000,
    version="1.2.3",
    python="3.11.2",
    sqlite="3.40.1",
    socket="/run/user/1000/torc/torcd.sock",
    condition=RUNNING,
    url=None,
    environment={"XDG_RUNTIME_DIR": "/run/user/1000"},
    disk=Disk(path="/home/me", kind="ext4", free_bytes=100 * GIB, free_inodes=10**6),
    private=[Private(path="/home/me/torc.db", owner=1000, mode=0o600)],
    limits=Limits(whose="the daemon (process 7)", open_files=16384, processes=10_000, processes_now=20),
    clock=Clock(year=2026, skews={"/home/me": 0.01}, jump_s=0.2),
    packages=[Package(name="trio", wanted=">=0.30", found="0.31.0")],
    slurm=Slurm(sbatch="/usr/bin/sbatch", code=0, said="Slurmctld(primary) at head is UP"),
    service=SERVICE,
    connection_file=ConnectionFile(
        path="/home/me/connect.json", mode=0o600, host="head", pid=7, is_here=True, is_alive=True
    ),
)


def with_(**changes: Any) -> Facts:
    """The facts of a healthy machine, but for some; a dict changes a struct."""
    given = {
        name: msgspec.structs.replace(getattr(FACTS, name), **value)
        if isinstance(value, dict) and name != "environment"
        else value
        for name, value in changes.items()
    }
    return msgspec.structs.replace(FACTS, **given)


def only(facts: Facts, verdict: str) -> Check:
    """The one check with a verdict, when all others are well."""
    (found,) = [check for check in judge(facts) if check.verdict != "ok"]
    assert found.verdict == verdict
    assert found.advice
    return found


def test_a_healthy_machine_is_well_in_every_respect() -> None:
    checks = judge(FACTS)
    assert {check.verdict for check in checks} == {"ok"}
    assert all(check.detail and not check.advice for check in checks)


def test_nothing_but_a_plain_machine_is_needed() -> None:
    """No daemon, no service manager, no Slurm, no connection file, nothing known of sessions."""
    plain = with_(
        condition=Condition(running=False, answers=False),
        service=ServiceFacts(absent="no bus"),
        slurm=Slurm(sbatch=None),
        connection_file=None,
    )
    assert {check.verdict for check in judge(plain)} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "verdict", "check", "words"),
    [
        ({"condition": {"daemon": msgspec.structs.replace(DAEMON, version="1.2.2")}}, "warning", "daemon", "1.2.2"),
        ({"condition": {"health": None}}, "warning", "health", "too old"),
        ({"condition": Condition(running=True, answers=False, problem=PROBLEM)}, "problem", "daemon", "stuck"),
        (
            {"condition": Condition(running=False, answers=False), "failed_start": "database d: it is damaged"},
            "problem",
            "daemon",
            "it is damaged",
        ),
        (
            {"condition": {"health": msgspec.structs.replace(HEALTH, problems=[PROBLEM])}},
            "problem",
            "workflow 3",
            "its actor is stuck",
        ),
        (
            {"url": "ws+unix:///x", "url_from": "TORC_URL", "url_error": "nobody"},
            "problem",
            "environment",
            "TORC_URL is",
        ),
        (
            {"workflow_missing": True, "environment": {"TORC_WORKFLOW_ID": "9", "XDG_RUNTIME_DIR": "/r"}},
            "warning",
            "environment",
            "TORC_WORKFLOW_ID is 9",
        ),
        ({"environment": {"XDG_RUNTIME_DIR": "/r", "TORC_NO_AUTOSTART": "1"}}, "warning", "environment", "no daemon"),
        ({"environment": {}}, "warning", "environment", "XDG_RUNTIME_DIR is not set"),
        ({"service": {"command_exists": False}}, "problem", "service", "/bin/python does not exist"),
        ({"service": {"for_these_places": False}}, "warning", "service", "another database"),
        ({"service": {"absent": "no bus"}}, "warning", "service", "no service manager answers: no bus"),
        ({"service": {"version": "1.2.2"}}, "warning", "service", "written by version 1.2.2"),
        ({"service": {"active": "failed"}}, "problem", "service", "given up"),
        ({"service": {"enabled": "disabled"}}, "warning", "service", "does not start at login"),
        ({"service": {"lingers": False}}, "warning", "sessions", "lingering is off"),
        (
            {"service": ServiceFacts(absent=None, lingers=True, kills_processes=True)},
            "warning",
            "sessions",
            "KillUserProcesses=yes",
        ),
        ({"disk": Disk(path="/home", answers=False)}, "problem", "file system", "does not answer"),
        ({"disk": {"kind": "nfs4", "is_local": False}}, "warning", "file system", "nfs4"),
        ({"disk": {"free_bytes": GIB}}, "warning", "space", "1 GiB"),
        ({"disk": {"free_bytes": 1000}}, "problem", "space", "1000 B"),
        ({"disk": {"free_inodes": 50}}, "problem", "space", "50 inodes"),
        ({"private": [Private(path="/d", owner=5, mode=0o700)]}, "problem", "owner", "user 5"),
        ({"private": [Private(path="/d", owner=1000, mode=0o640)]}, "problem", "modes", "mode 0640"),
        ({"socket": "/" + "x" * 107}, "problem", "socket path", "108 bytes"),
        (
            {"connection_file": {"is_alive": False}},
            "warning",
            "connection file",
            "process 7 of this host, which is gone",
        ),
        ({"connection_file": {"mode": 0o644}}, "problem", "connection file", "mode 0644"),
        ({"connection_file": {"host": ""}}, "problem", "connection file", "cannot be understood"),
        ({"limits": {"cpu_s": 3600}}, "problem", "limits", "killed after 1 h 0 min"),
        ({"limits": {"open_files": 256}}, "warning", "limits", "256 files"),
        ({"limits": {"processes": 30}}, "warning", "limits", "10 more processes"),
        ({"limits": {"memory_bytes": GIB // 2}}, "warning", "limits", "512 MiB of memory"),
        ({"limits": {"group_processes": 20}}, "warning", "limits", "20 processes"),
        ({"clock": {"year": 1970}}, "problem", "clock", "1970"),
        ({"clock": {"skews": {"/home/me": -4.0}}}, "warning", "clock", "4.0 s behind"),
        ({"clock": {"jump_s": 3600.0}}, "warning", "clock", "+3600 s"),
        ({"sqlite": "3.31.0"}, "problem", "versions", "SQLite 3.31.0"),
        ({"packages": [Package(name="trio", wanted=">=0.30", found="0.9")]}, "problem", "versions", "trio 0.9"),
        ({"packages": [Package(name="trio", wanted="<0.31,>=0.30", found=None)]}, "problem", "versions", "missing"),
        ({"packages": [Package(name="trio", wanted="<0.31,>=0.30", found="0.31")]}, "problem", "versions", "0.31"),
        ({"slurm": {"code": 0, "said": "Slurmctld(primary) at head is DOWN"}}, "problem", "slurm", "DOWN"),
        ({"slurm": {"code": None, "said": "scontrol did not answer within 5 s"}}, "problem", "slurm", "within 5 s"),
    ],
)
def test_what_is_not_well_is_the_only_thing_that_is_told(
    changes: dict[str, Any], verdict: str, check: str, words: str
) -> None:
    found = only(with_(**changes), verdict)
    assert found.check == check
    assert words in found.detail


def test_a_service_is_not_killed_with_a_session() -> None:
    facts = with_(service={"kills_processes": True})
    (sessions,) = [check for check in judge(facts) if check.check == "sessions"]
    assert sessions.verdict == "ok"


def test_slurms_packages_without_a_cluster_are_no_problem() -> None:
    facts = with_(slurm={"code": 1, "said": NO_CLUSTER})
    (check,) = [each for each in judge(facts) if each.check == "slurm"]
    assert (check.verdict, "in no cluster" in check.detail) == ("ok", True)
