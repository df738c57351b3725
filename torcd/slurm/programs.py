"""Runs Slurm's programs, each within a time, whatever they do and leave running.

Whoever runs torcd may not have Slurm in its PATH, while whoever schedules nodes has: the directory of the latter's
programs, and its SLURM_CONF, are used where torcd's own environment has none.
"""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import trio

from torcd.open_files import with_limit_of_before
from torcd.protocol.errors import Refused
from torcd.protocol.slurm import is_of_a_job
from torcd.slurm.commands import Ran

TIMEOUT_S = 30.0
"""For each program. They give up a controller that is gone after 9 s, but wait longer for a busy one."""

END_S = 2.0
"""For a program that was killed to end. One that waits for a file system that is gone does not, and is left behind."""

MOST_AT_ONCE = 8
"""Programs that run together: those left behind must not take the threads of everybody else."""

FILTERS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")
"""Variables by which users restrict what these programs show and do: what they hide would be taken for ended."""

LIKELY = "/usr/local/bin:/usr/bin:/opt/slurm/bin:/opt/slurm/current/bin:/cm/shared/apps/slurm/current/bin"
"""Where Slurm's programs mostly are: a daemon that its service manager started anew may have none in its PATH."""

MISSING = 127
"""The exit code that stands for a program that is not there, as in a shell."""


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises Refused for an environment that no process can be given."""
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise Refused(f"environment: {name!r} is no variable that a process can be given", field="environment")


class Programs:
    """Those of the cluster that this host belongs to."""

    def __init__(self, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        self._environ = {
            name: value for name, value in environ.items() if not (is_of_a_job(name) or name.startswith(FILTERS))
        }
        self._timeout_s = timeout_s
        self._path = environ.get("PATH", "")
        self._threads = trio.CapacityLimiter(MOST_AT_ONCE)

    def learn(self, environment: Mapping[str, str]) -> None:
        """Takes from the environment of somebody who has Slurm what is missing here."""
        self._path = f"{self._environ.get('PATH', '')}:{environment.get('PATH', '')}"
        if "SLURM_CONF" in environment:
            self._environ.setdefault("SLURM_CONF", environment["SLURM_CONF"])

    @property
    def configuration_file(self) -> str | None:
        """The SLURM_CONF that they get."""
        return self._environ.get("SLURM_CONF")

    def is_in_path(self, program: str) -> bool:
        """Whether a user finds it. Blocks: it looks into the directories of PATH."""
        return shutil.which(program, path=self._path) is not None

    def make_environment(self, users: Mapping[str, str]) -> dict[str, str]:
        """The environment that a user's job is submitted with, which so becomes its own."""
        kept = {name: value for name, value in users.items() if not is_of_a_job(name)}
        if self.configuration_file is not None:
            kept["SLURM_CONF"] = self.configuration_file
        return {**kept, "PATH": users.get("PATH") or self._path}

    async def run(
        self, argv: list[str], environment: Mapping[str, str] | None = None, directory: str = "/", umask: int = -1
    ) -> Ran:
        """What a program came to; one that takes too long is killed. It has a session of its own."""
        if environment is None:
            environment = {**self._environ, "PATH": self._path, "LC_ALL": "C.UTF-8"}
        give_up_at = time.monotonic() + self._timeout_s
        try:
            with trio.move_on_after(self._timeout_s + END_S):  # also where PATH is on a file system that is gone
                return await trio.to_thread.run_sync(
                    self._finish, argv, environment, directory, umask, give_up_at,
                    abandon_on_cancel=True, limiter=self._threads,
                )  # fmt: skip
        except OSError as error:
            return Ran(126, "", f"{argv[0]}: {error.strerror}")
        return self._timed_out(argv)

    def _finish(
        self, argv: list[str], environment: Mapping[str, str], directory: str, umask: int, give_up_at: float
    ) -> Ran:
        """Blocks. What it prints goes to memory: a pipe would be held open by whatever it leaves running."""
        paths = (environment["PATH"], self._path, LIKELY)
        program = next((found for path in paths if (found := shutil.which(argv[0], path=path))), None)
        if program is None:
            return Ran(MISSING, "", f"{argv[0]}: there is no such program in PATH")
        if time.monotonic() > give_up_at:  # nobody waits any more
            return self._timed_out(argv)
        with _memory() as out, _memory() as err:
            process = subprocess.Popen(
                with_limit_of_before([*self._find_bound(), program, *argv[1:]]),
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                umask=umask,
            )
            if not _has_ended(process, give_up_at - time.monotonic()):
                os.killpg(process.pid, signal.SIGKILL)
                _has_ended(process, END_S)
            if process.poll() in (None, -signal.SIGKILL):
                return self._timed_out(argv)
            return Ran(process.returncode, _read(out), _read(err))

    def _find_bound(self) -> list[str]:
        """Ends a program also when the daemon is killed meanwhile: the next one must not find that it goes on."""
        program = shutil.which("timeout", path=LIKELY)
        return [] if program is None else [program, "--signal=KILL", f"{self._timeout_s + END_S / 2:g}"]

    def _timed_out(self, argv: list[str]) -> Ran:
        return Ran(124, "", f"{argv[0]}: timed out, no answer within {self._timeout_s:g} s")


@contextmanager
def _memory() -> Iterator[int]:
    """A file that is nowhere."""
    descriptor = os.memfd_create("torcd-slurm")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode(errors="replace")


def _has_ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Waits for a process without asking again and again."""
    descriptor = os.pidfd_open(process.pid)
    try:
        ends = select.poll()
        ends.register(descriptor, select.POLLIN)
        return bool(ends.poll(max(within_s, 0.0) * 1000))
    finally:
        os.close(descriptor)
