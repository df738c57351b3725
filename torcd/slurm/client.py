"""Runs Slurm's programs, each within a time, and says what came of it in Slurm's own words.

Whoever runs torcd may not have Slurm in its PATH, while whoever schedules nodes has: the directory of the latter's
programs, and its SLURM_CONF, are used where torcd's own environment has none.
"""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import trio

from torcd.core.allocations import Row, Seen
from torcd.core.partitions import NodeKind, find_limits
from torcd.core.sizing import Limits
from torcd.open_files import with_limit_of_before
from torcd.protocol.errors import Refused, Unavailable
from torcd.protocol.slurm import is_of_a_job, lacks_configuration, unconfigured_text
from torcd.slurm import commands, partitions
from torcd.slurm.commands import Ran

TIMEOUT_S = 30.0
"""For each program. They give up a controller that is gone after 9 s, but wait longer for a busy one."""

END_S = 2.0
"""For a program that was killed to end. One that waits for a file system that is gone does not, and is left behind."""

MOST_AT_ONCE = 8
"""Programs that run together: those left behind must not take the threads of everybody else."""

FILTERS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")
"""Variables by which users restrict what these programs show and do: what they hide would be taken for ended."""

NAMES_AT_ONCE = 1000
"""In one question to the accounting: the kernel takes no argument longer than 128 KiB."""

LIKELY = "/usr/local/bin:/usr/bin:/opt/slurm/bin:/opt/slurm/current/bin:/cm/shared/apps/slurm/current/bin"
"""Where Slurm's programs mostly are: a daemon that its service manager started anew may have none in its PATH."""

MISSING = 127
"""The exit code that stands for a program that is not there, as in a shell."""


class NoAnswer(Unavailable):
    """The scheduler did not answer: what it was asked for may be done or not."""


class Rejected(Refused):
    """The scheduler does not do what it was asked for."""


class Slurm:
    """The programs of the cluster that this host belongs to."""

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

    def check_installed(self) -> None:
        """Raises Refused where there is no Slurm. Blocks: it looks into the directories of PATH."""
        if shutil.which("sbatch", path=self._path) is None:
            raise Refused(
                "there is no sbatch in PATH: nodes can be scheduled only where Slurm's programs are. Stop this daemon "
                "(`torcctl daemon stop`) and start it on a login node of the cluster; or run the jobs here with "
                "`torcctl run`"
            )

    async def check_configured(self) -> None:
        """Raises Refused where Slurm's programs are, but no cluster of theirs. One that is silent may be there."""
        await self._check_configuration_file()
        ran = await self._run(list(commands.VERSION))
        if ran.code != 0 and not ran.got_no_answer and lacks_configuration(ran.words):
            raise _unconfigured(ran.words)

    async def _check_configuration_file(self) -> None:
        """Raises Refused for one that is not there: Slurm's programs would look for it for a minute."""
        path = self._environ.get("SLURM_CONF")
        if path is not None and not await trio.to_thread.run_sync(os.path.exists, path, abandon_on_cancel=True):
            raise _unconfigured(f"SLURM_CONF is {path}, which is not there")

    async def submit(self, script: str, environment: Mapping[str, str], directory: str, umask: int) -> int:
        """Submits a batch script; the job's id. Its jobs get this environment and umask.

        Raises Rejected, or NoAnswer: it may be there.
        """
        kept = {name: value for name, value in environment.items() if not is_of_a_job(name)}
        if "SLURM_CONF" in self._environ:
            kept["SLURM_CONF"] = self._environ["SLURM_CONF"]
        ran = await self._run(
            commands.submit(script), {**kept, "PATH": environment.get("PATH") or self._path}, directory, umask
        )
        job_id = commands.parse_submitted(ran.out)
        if ran.code != 0 and job_id is None and not ran.got_no_answer:
            raise Rejected(ran.words)
        if job_id is None:
            raise NoAnswer(f"sbatch: {ran.words}")
        return job_id

    async def load_queue(self) -> dict[str, Seen]:
        """The allocations that the controller knows, by job name. Raises NoAnswer."""
        ran = await self._ask(list(commands.QUEUE))
        return await trio.to_thread.run_sync(commands.parse_queue, ran.out)  # a user may have 100,000 other jobs

    async def find_ended(self, rows: Sequence[Row]) -> dict[str, Seen]:
        """What is known elsewhere of jobs that are not in the queue, by name: the accounting's word, else the
        controller's. Of those that are left out nobody knows anything. Raises NoAnswer when it cannot be found out."""
        found: dict[str, Seen] = {}
        for names, since in _batches({row.job_name: row.created_at_ms for row in rows}):
            ran = await self._run(commands.account(names, since))
            if ran.code != 0:  # mostly there is no accounting
                break
            found |= commands.parse_account(ran.out, names)
        for row in rows:
            if row.job_name not in found and row.job_id is not None:
                ran = await self._run(commands.show(row.job_id))
                if ran.got_no_answer:
                    raise NoAnswer(f"scontrol: {ran.words}")
                seen = commands.parse_shown(ran.out, row.job_name) if ran.code == 0 else None
                if seen is not None:
                    found[row.job_name] = seen
        return found

    async def load_account(self, named: Mapping[str, int]) -> list[dict[str, str]]:
        """What the accounting has of jobs, by name with when each was made. Raises Rejected where there is none."""
        found = []
        for names, since in _batches(named):
            ran = await self._run(commands.account_details(names, since))
            if ran.got_no_answer:
                raise NoAnswer(f"sacct: {ran.words}")
            if ran.code != 0:
                raise Rejected(_explain("sacct", ran))
            found += commands.parse_details(ran.out)
        return found

    async def load_limits(self, names: Sequence[str]) -> Limits:
        """What Slurm's partitions give at most, the default one where none is named; empty where it does not say."""
        ran = await self._run(list(partitions.SINFO))
        return find_limits(partitions.parse_partitions(ran.out) if ran.code == 0 else [], names)

    async def cancel(self, name: str, job_id: int | None) -> None:
        """Has the job of that name canceled, if there is one. Raises NoAnswer and Rejected."""
        ran = await self._run(commands.cancel(name, job_id))
        said = ran.words.lower()
        if ran.code == 0 or any(each in said for each in commands.JOB_ENDED):
            return
        raise NoAnswer(f"scancel: {ran.words}") if ran.got_no_answer else Rejected(f"scancel: {ran.words}")

    async def load_partitions(self) -> list[NodeKind]:
        """The kinds of nodes of all partitions that are up. Raises Refused where there are none, and NoAnswer."""
        await self._check_configuration_file()
        ran = await self._run(list(partitions.SINFO))
        said = f"sinfo: {ran.words.removeprefix('sinfo: ')}"
        if ran.got_no_answer:
            raise NoAnswer(
                f"{said}. What this cluster has is not known until its controller answers: see "
                "`scontrol ping`, and try again"
            )
        if ran.code == MISSING:
            raise Refused(
                "there is no sinfo in PATH: what a cluster has can be asked only where Slurm's programs are. Stop this "
                "daemon (`torcctl daemon stop`) and try it again on a login node of the cluster"
            )
        if ran.code != 0 and lacks_configuration(ran.words):
            raise _unconfigured(ran.words)
        if ran.code != 0:
            raise Rejected(f"{said}. See `sinfo -s`")
        found = partitions.parse_partitions(ran.out)
        if not found:
            raise Refused("sinfo lists no partition that is up: see `sinfo -s`")
        return found

    async def _ask(self, argv: list[str]) -> Ran:
        ran = await self._run(argv)
        if ran.code != 0:
            raise NoAnswer(_explain(argv[0], ran))
        return ran

    async def _run(
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


def _explain(program: str, ran: Ran) -> str:
    return unconfigured_text(ran.words) if lacks_configuration(ran.words) else f"{program}: {ran.words}"


def _unconfigured(words: str) -> Refused:
    return Refused(f"{unconfigured_text(words)} (the daemon's own goes before yours); `torcctl run` runs jobs here")


def _batches(named: Mapping[str, int]) -> Iterator[tuple[list[str], str]]:
    """Names of jobs that may be asked for together, and the local time before which none of them was there."""
    names = list(named)
    for first in range(0, len(names), NAMES_AT_ONCE):
        batch = names[first : first + NAMES_AT_ONCE]
        since = datetime.fromtimestamp(min(named[name] for name in batch) / 1000) - timedelta(days=1)  # clocks differ
        yield batch, since.strftime("%Y-%m-%dT%H:%M:%S")


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
