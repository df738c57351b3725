"""A Slurm cluster of a test session's own, started by the script `cluster` beside this file."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("cluster")
PATIENCE_S = 120.0
"""For what takes a second or two on an idle machine."""

PORTS = range(21_000, 31_000, 32)
"""Where a cluster's ports may begin: below those that the kernel hands out by itself."""


class Cluster:
    """A running cluster: `environ` is what Slurm's programs need to find it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {"SLURM_CONF": str(directory / "slurm.conf")}

    def run(self, *argv: str) -> str:
        """What one of Slurm's programs prints."""
        done = subprocess.run(
            argv, env={**os.environ, **self.environ}, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout.strip()

    def state(self, job_id: int) -> str:
        """A job's state."""
        return self.run("squeue", "-h", "-t", "all", "-j", str(job_id), "-o", "%T")

    def wait(self, what: str, holds: Callable[[], object]) -> None:
        """Until it holds: Slurm tells nobody of what it does, so it is asked again and again."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"in vain: {what}; {self.run('squeue', '-t', 'all')}"
            time.sleep(0.1)

    def empty(self) -> None:
        """Ends all jobs."""
        self.run("scancel", "--me")
        self.wait("the queue is empty", lambda: not self.run("squeue", "--noheader"))

    def names(self) -> list[str]:
        """The names of the jobs that wait or run."""
        return self.run("squeue", "--noheader", "--format=%j").split()

    def crash(self, node: str) -> None:
        """Kills all of a node, as a power loss does."""
        _script("crash", self.directory, node)

    @contextmanager
    def without_controller(self, job_id: int) -> Iterator[None]:
        """Nobody answers for this cluster meanwhile. The job is known again afterwards."""
        self.run("scontrol", "update", f"JobId={job_id}", "Comment=kept")
        saved = self.directory / "state" / "job_state"
        self.wait("its state is saved", lambda: saved.exists() and b"kept" in saved.read_bytes())
        pid_file = self.directory / "run" / "slurmctld.pid"
        os.kill(int(pid_file.read_text()), 9)
        try:
            yield
        finally:
            subprocess.run(["/usr/sbin/slurmctld", "-f", self.environ["SLURM_CONF"]], check=True, timeout=PATIENCE_S)
            ping = [str(SCRIPT), "ping", str(self.directory)]
            self.wait("the controller is back", lambda: subprocess.run(ping, check=False).returncode == 0)


def _script(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@contextmanager
def started(*settings: str, nodes: int = 4) -> Iterator[Cluster]:
    """A cluster, for as long as the body runs; the test is skipped where there can be none."""
    if os.getuid() != 0:
        pytest.skip("only root can start a Slurm cluster here")
    missing = _script("missing").stdout.split()
    if missing:
        pytest.skip(f"there is no {', '.join(missing)}: tests/slurm/cluster install")
    directory = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # tmp_path is too long for munge's socket
    try:
        came_up = _script("up", directory, _find_ports(), nodes, *settings)
        if not came_up.stdout.endswith("ready\n"):
            pytest.skip(f"the Slurm cluster did not start: {came_up.stderr.strip()[-500:]}")
        yield Cluster(directory)
    finally:
        _script("down", directory)
        shutil.rmtree(directory, ignore_errors=True)


def _find_ports() -> int:
    """The first of 32 free ports; several checkouts may test at once."""
    first = os.getpid() % len(PORTS)
    for start in (*PORTS[first:], *PORTS[:first]):
        if all(_is_free(port) for port in range(start, start + 32)):
            return start
    pytest.skip("there are no 32 free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
