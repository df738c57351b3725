"""The harness of faults, for a moment on a few seeds (`make faults` goes on for an hour), and its own parts."""

import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from cutting_proxy import Acknowledged, CuttingProxy, Frames
from harness import JOB, Harness
from invariants import Invariants, Violation
from wall_clock import WallClock

from torcd.protocol.websocket import TEXT, encode_frame

SEEDS = (1, 2)
SECONDS = 3.0


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_nothing_runs_twice_whatever_is_killed(tmp_path: Path, seed: int) -> None:
    """SEMANTICS 5, 5.3, 6.6, 8.4"""
    harness = Harness(tmp_path, seed, longest_s=3.0)
    try:
        harness.run(SECONDS)
    finally:
        harness.close()


# ---- the harness's own parts ----


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
def test_two_attempts_at_once_are_noticed_also_when_only_a_child_of_the_first_is_left(tmp_path: Path) -> None:
    environ = {
        **os.environ, "FAULTS_JOURNAL": str(tmp_path),
        "TORC_JOB_NAME": "j", "TORC_JOB_ID": "1", "TORC_WORKFLOW_ID": "1",
    }  # fmt: skip
    first = subprocess.Popen(
        ["bash", str(JOB), "1000"], env={**environ, "TORC_ATTEMPT_ID": "1"}, start_new_session=True
    )
    invariants = Invariants(tmp_path / "db", tmp_path, Acknowledged())
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "journal").exists() or not psutil.Process(first.pid).children():  # the child: its sleep
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.kill()
        first.wait()
        subprocess.run(["bash", str(JOB), "0"], env={**environ, "TORC_ATTEMPT_ID": "2"}, check=True)
        with pytest.raises(Violation, match="attempt 2 began beside another one"):
            invariants.check()
    finally:
        os.killpg(first.pid, 9)


def test_a_clock_that_is_set_is_seen_by_processes_and_leaves_the_monotonic_one_alone(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    if not clock.is_settable:
        pytest.skip("there is no C compiler")
    clock.set(-86400)
    words = [sys.executable, "-c", "import time; print(time.time(), time.time_ns(), time.monotonic())"]
    ran = subprocess.run(words, env={**os.environ, **clock.environ}, capture_output=True, text=True, check=True)
    seconds, nanoseconds, monotonic = map(float, ran.stdout.split())
    assert abs(seconds + 86400 - time.time()) < 60
    assert abs(nanoseconds / 1e9 - seconds) < 1
    assert abs(monotonic - time.monotonic()) < 60


def test_frames_are_found_in_whatever_pieces_they_come() -> None:
    luck = random.Random(1)
    messages = [b"x" * size for size in (0, 1, 125, 126, 70_000)]
    data = b"GET / HTTP/1.1\r\n\r\n" + b"".join(encode_frame(TEXT, message) for message in messages)
    frames, found = Frames(), []
    while data:
        size = luck.randint(1, 30_000)
        found += frames.feed(data[:size])
        data = data[size:]
    assert found == messages


def test_the_proxy_passes_on_delays_and_cuts_in_the_middle(tmp_path: Path) -> None:
    directory = Path(os.path.relpath(tmp_path))  # a socket's path must be short
    others = threading.enumerate()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "d"))
        listener.listen()
        proxy = CuttingProxy(directory / "p", directory / "d", Acknowledged(), random.Random(3))
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(proxy.path))
                daemon, _ = listener.accept()
                with daemon:
                    proxy.delay_s = 0.01
                    client.sendall(b"question")
                    assert daemon.recv(100) == b"question"
                    daemon.sendall(b"answer")
                    assert client.recv(100) == b"answer"
                    proxy.cut(1, in_the_middle=True)
                    daemon.sendall(b"x" * 1000)
                    got = b"".join(iter(lambda: client.recv(2000), b""))
                    assert len(got) < 1000
                    assert daemon.recv(100) == b""
            assert proxy.num_cuts == 1
        finally:
            proxy.stop()
    for thread in set(threading.enumerate()).difference(others):
        thread.join(30)
        assert not thread.is_alive()
