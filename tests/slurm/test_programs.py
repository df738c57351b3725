"""How Slurm's programs are run, with programs that behave badly: what no cluster does on demand."""

import shutil
import threading
import time
from pathlib import Path

import pytest
import trio

from torcd.core.allocations import PENDING, Row
from torcd.slurm import programs
from torcd.slurm.client import NAMES_AT_ONCE, NoAnswer, Rejected, Slurm

NAME = "torc_1_2_0123abcd"
LINE = f"7|RUNNING|None|{NAME}"


def program(directory: Path, name: str, *lines: str) -> None:
    path = directory / name
    path.write_text("\n".join(["#!/bin/bash", *lines, ""]))
    path.chmod(0o755)


def slurm(directory: Path, timeout_s: float = 20.0) -> Slurm:
    return Slurm({"PATH": f"{directory}:/usr/bin:/bin"}, timeout_s)


async def test_an_answer_counts_although_what_gave_it_has_left_something_running(tmp_path: Path) -> None:
    """Some sites' programs are scripts of their own, which start a helper that has their output for ever."""
    program(tmp_path, "squeue", "setsid sleep 30 &", f"echo '{LINE}'")
    with trio.fail_after(20):
        assert list(await slurm(tmp_path).load_queue()) == [NAME]


async def test_a_program_that_hangs_is_given_up_whatever_it_has_left_running(tmp_path: Path) -> None:
    program(tmp_path, "squeue", "setsid sleep 30 &", "sleep 30")
    with trio.fail_after(20), pytest.raises(NoAnswer, match=r"no answer within 0\.2 s"):
        await slurm(tmp_path, 0.2).load_queue()


async def test_a_program_that_cannot_even_be_killed_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a file system that is gone."""
    freed = threading.Event()
    monkeypatch.setattr(programs, "END_S", 0.05)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: freed.wait(10))
    asked = slurm(tmp_path, 0.05)
    with trio.fail_after(20):
        for _ in range(programs.MOST_AT_ONCE + 1):
            with pytest.raises(NoAnswer, match="timed out"):
                await asked.load_queue()
    freed.set()


async def test_programs_are_looked_for_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of PATH may be on a file system that does not answer."""
    which, threads = shutil.which, set()

    def noting(*arguments: str, path: str) -> str | None:
        threads.add(threading.get_ident())
        return which(*arguments, path=path)

    monkeypatch.setattr(shutil, "which", noting)
    program(tmp_path, "squeue", f"echo '{LINE}'")
    await slurm(tmp_path).load_queue()
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("name", ["sbatch: ", ""])
async def test_the_words_of_a_program_are_told_with_its_name_once(tmp_path: Path, name: str) -> None:
    """sbatch puts its own before them; squeue does not."""
    program(tmp_path, "sbatch", f"echo '{name}error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(NoAnswer, match=r"^sbatch: error: Unable"):
        await slurm(tmp_path).submit("script", {}, str(tmp_path), 0o022)


async def test_a_submission_that_was_killed_may_have_been_accepted(tmp_path: Path) -> None:
    program(tmp_path, "sbatch", "kill -9 $$")
    with pytest.raises(NoAnswer):
        await slurm(tmp_path).submit("script", {}, str(tmp_path), 0o022)
    program(tmp_path, "sbatch", "echo 'sbatch: error: Invalid partition name specified' >&2; exit 1")
    with pytest.raises(Rejected):
        await slurm(tmp_path).submit("script", {}, str(tmp_path), 0o022)


async def test_a_program_ends_also_when_the_daemon_is_killed_meanwhile(tmp_path: Path) -> None:
    """The next daemon must not say that Slurm does not have what its predecessor's sbatch is still about to hand in."""
    program(tmp_path, "sbatch", "tr '\\0' ' ' < /proc/$PPID/cmdline > parent", "echo 7")
    assert await slurm(tmp_path, 30.0).submit("script", {}, str(tmp_path), 0o022) == 7
    parent = await trio.Path(tmp_path / "parent").read_text()
    assert parent.split()[1:3] == ["--signal=KILL", "31"]


async def test_a_program_that_nobody_waits_for_any_more_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which

    def slow(*arguments: str, path: str) -> str | None:
        time.sleep(0.2)
        return which(*arguments, path=path)

    monkeypatch.setattr(shutil, "which", slow)
    program(tmp_path, "sbatch", "touch submitted", "echo 7")
    with pytest.raises(NoAnswer):
        await slurm(tmp_path, 0.1).submit("script", {}, str(tmp_path), 0o022)
    assert not await trio.Path(tmp_path / "submitted").exists()


async def test_the_accounting_is_asked_for_many_jobs_at_once(tmp_path: Path) -> None:
    """After a night without the daemon hundreds may have ended."""
    lines = ["names=${4#--name=}", 'IFS=, read -ra each <<< "$names"', 'printf "7|COMPLETED|%s\\n" "${each[@]}"']
    program(tmp_path, "sacct", f"echo >> {tmp_path}/asked", *lines)
    rows = [row(number) for number in range(2 * NAMES_AT_ONCE + 1)]
    asked = slurm(tmp_path, 20.0)
    found = await asked.find_ended(rows)
    assert len(found) == len(rows)
    assert {seen.state for seen in found.values()} == {"COMPLETED"}
    assert await trio.Path(tmp_path / "asked").read_text() == "\n" * 3


async def test_what_neither_accounting_nor_controller_can_tell_is_not_known(tmp_path: Path) -> None:
    program(tmp_path, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    program(tmp_path, "scontrol", "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1")
    with pytest.raises(NoAnswer, match="scontrol: Unable to contact"):
        await slurm(tmp_path).find_ended([row(1)])
    program(tmp_path, "scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert await slurm(tmp_path).find_ended([row(1)]) == {}


def row(number: int) -> Row:
    return Row(number, 1, PENDING, f"torc_1_{number}_0123abcd", number, "PENDING", None, None, 10**12, None)
