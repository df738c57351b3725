"""What is noted of running jobs: all of their processes together."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from torcctl.worker.process import Process, reap
from torcctl.worker.sampling import LEAST_PAUSE_S, Member, Sampler, find_members, note

MIB = 2**20

FAMILY = """
import os, sys, time
size = 60 * 2**20
def hold():
    memory = bytearray(size)
    memory[::4096] = b'x' * len(memory[::4096])
    while time.process_time() < 0.2: pass
    os.write(1, b'held\\n')  # in one piece
    sys.stdin.readline()
for _ in range(2):
    if os.fork() == 0:
        hold()
        os._exit(0)
sys.stdin.readline()
"""
"""Two children that hold 60 MiB each, their parent nearly nothing; lines on stdin end them."""


@pytest.fixture
def family() -> Iterator[Process]:
    """A job of three processes that hold their memory now."""
    popen = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert popen.stdin is not None
    assert popen.stdout is not None
    assert [popen.stdout.readline() for _ in range(2)] == [b"held\n"] * 2
    process = Process(popen.pid, os.pidfd_open(popen.pid), 0, 0.0, "", "")
    yield process
    popen.stdin.close()
    popen.stdout.close()
    reap(process)
    popen.returncode = 0  # it was reaped already


def test_the_memory_of_all_processes_of_a_job_is_counted_together_and_shared_memory_once(family: Process) -> None:
    """SEMANTICS 8.5"""
    Sampler().sample({family.pid: family})
    assert 120 * MIB <= family.sampled_memory_bytes < 180 * MIB


def test_the_processor_time_of_processes_that_nobody_has_waited_for_counts(family: Process) -> None:
    """SEMANTICS 8.5"""
    Sampler().sample({family.pid: family})
    assert family.sampled_cpu_s >= 0.3


def test_the_processes_of_others_are_not_counted(family: Process) -> None:
    found = find_members({family.pid: family})
    assert list(found) == [family.pid]
    assert len(found[family.pid]) == 3
    assert find_members({}) == {}


def test_the_peak_stays_when_a_job_lets_go_of_memory() -> None:
    process = Process(1, -1, 0, 0.0, "", "")
    note(process, [Member(1, 50 * MIB, 1.0)])
    note(process, [Member(1, 20 * MIB, 2.0)])
    assert (process.sampled_memory_bytes, process.sampled_cpu_s) == (50 * MIB, 2.0)


def test_a_job_that_has_gone_keeps_what_was_noted_and_looks_are_not_more_often_than_every_second() -> None:
    sampler, process = Sampler(), Process(2**22 + 1, -1, 0, 0.0, "", "", sampled_memory_bytes=7)
    sampler.sample({process.pid: process})
    assert process.sampled_memory_bytes == 7
    assert sampler.pause_s >= LEAST_PAUSE_S
