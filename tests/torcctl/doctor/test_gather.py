"""How doctor finds out: nothing is waited for long, and what the system does not tell is unknown."""

import os
import threading
from pathlib import Path

import msgspec
import pytest

from torcctl.doctor import gather as gathering
from torcctl.doctor.gather import gather, in_time
from torcctl.doctor.limits import gather_limits, parse_groups, parse_limits
from torcctl.service.manager import parse_kill_user_processes, run
from torcd.protocol.address import Places, find_places

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max cpu time              3600                 unlimited            seconds
Max processes             unlimited            unlimited            processes
Max open files            1024                 524288               files
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return find_places({"HOME": str(tmp_path), "TORCD_SOCKET": str(tmp_path / "torcd.sock")})


def test_a_look_that_never_ends_is_given_up_and_one_that_fails_too() -> None:
    never = threading.Event()
    assert in_time(lambda: never.wait(), False, deadline_s=0.05) is False
    never.set()

    def fail() -> int:
        raise OSError

    assert in_time(fail, 7, deadline_s=30) == 7
    assert in_time(lambda: 8, 7, deadline_s=30) == 8


def test_a_program_that_is_missing_or_slow_is_told_in_a_sentence() -> None:
    assert run(["/nowhere/systemctl"], {}).err == "/nowhere/systemctl: No such file or directory"
    slow = run(["sleep", "60"], os.environ, deadline_s=0.05)
    assert (slow.code, slow.err) == (None, "sleep did not answer within 0.05 s")


def test_limits_are_read_as_the_kernel_writes_them() -> None:
    assert parse_limits(LIMITS) == {"cpu_s": 3600, "processes": None, "open_files": 1024}
    assert gather_limits(None).whose == "this session"
    own = gather_limits(os.getpid())
    assert own.whose == f"the daemon (process {os.getpid()})"
    assert (own.processes_now or 0) >= 1


def test_control_groups_of_both_versions_are_read() -> None:
    text = "9:name=systemd:/a\n4:memory:/b/c\n8:pids:/d\n0::/user.slice/e\n"
    assert parse_groups(text, "memory") == ["memory/b/c", "user.slice/e"]
    assert parse_groups(text, "pids") == ["pids/d", "user.slice/e"]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], None),
        (["[Login]\n#KillUserProcesses=no\n"], None),
        (["[Login]\nKillUserProcesses=no\n"], False),
        (["[Login]\nKillUserProcesses=no\n", "[Login]\nKillUserProcesses = yes\n"], True),
    ],
)
def test_the_last_word_on_killing_processes_counts(texts: list[str], found: bool | None) -> None:
    assert parse_kill_user_processes(texts) is found


def test_without_anything_there_all_facts_are_found_and_nothing_is_made(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    facts = gather(places, {"HOME": str(tmp_path), "PATH": "/nowhere"})
    assert facts.condition is not None
    assert not facts.condition.running
    assert facts.disk.answers
    assert facts.disk.path == str(tmp_path)
    assert facts.slurm.sbatch is None
    assert facts.service.absent is not None
    assert (facts.service.lingers, facts.connection_file) == (None, None)
    assert set(facts.clock.skews) == {str(tmp_path)}
    assert {package.name for package in facts.packages} >= {"trio", "msgspec"}
    assert list(tmp_path.iterdir()) == []


def test_a_controller_that_does_not_answer_is_not_waited_for(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "SLURM_S", 0.2)
    for name, script in (("sbatch", "true"), ("scontrol", "exec sleep 60")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    slurm = gather(places, os.environ).slurm
    assert (slurm.sbatch, slurm.code) == (str(tmp_path / "sbatch"), None)
    assert "did not answer within 0.2 s" in slurm.said


def test_what_others_could_read_or_write_is_found(places: Places) -> None:
    places = msgspec.structs.replace(places, database=places.database.parent / "t" / "torc.db")
    places.database.parent.mkdir(parents=True)
    places.database.parent.chmod(0o775)
    places.database.write_text("")
    places.database.chmod(0o640)
    found = {each.path: each.mode & each.closed for each in gather(places, {"HOME": "/nowhere"}).private}
    assert found[str(places.database.parent)] == 0o020
    assert found[str(places.database)] == 0o040
