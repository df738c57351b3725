"""Runs Slurm's programs, each within a time, and says what came of it in Slurm's own words.

Whoever runs torcd may not have Slurm in its PATH, while whoever schedules nodes has: the directory of the latter's
programs, and its SLURM_CONF, are used where torcd's own environment has none.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta

import trio

from torcd.core.allocations import Seen
from torcd.open_files import with_limit_of_before
from torcd.protocol.errors import Refused, Unavailable
from torcd.protocol.slurm import is_of_a_job, lacks_configuration, unconfigured_text
from torcd.slurm import commands
from torcd.slurm.commands import Ran

TIMEOUT_S = 30.0
"""For each program. They give up a controller that is gone after 9 s, but wait longer for a busy one."""

LIKELY = "/usr/local/bin:/usr/bin:/opt/slurm/bin:/opt/slurm/current/bin:/cm/shared/apps/slurm/current/bin"
"""Where Slurm's programs mostly are: a daemon that its service manager started anew may have none in its PATH."""


class NoAnswer(Unavailable):
    """The scheduler did not answer: what it was asked for may be done or not."""


class Rejected(Refused):
    """The scheduler does not do what it was asked for."""


class Slurm:
    """The programs of the cluster that this host belongs to."""

    def __init__(self, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        self._environ = {name: value for name, value in environ.items() if not is_of_a_job(name)}
        self._timeout_s = timeout_s
        self._path = environ.get("PATH", "")

    def learn(self, environment: Mapping[str, str]) -> None:
        """Takes from the environment of somebody who has Slurm what is missing here."""
        self._path = f"{self._environ.get('PATH', '')}:{environment.get('PATH', '')}"
        if "SLURM_CONF" in environment:
            self._environ.setdefault("SLURM_CONF", environment["SLURM_CONF"])

    def check_installed(self) -> None:
        """Raises Refused where there is no Slurm."""
        if shutil.which("sbatch", path=self._path) is None:
            raise Refused(
                "there is no sbatch in PATH: nodes can be scheduled only where Slurm's programs are. Stop this daemon "
                "(`torcctl daemon stop`) and start it on a login node of the cluster; or run the jobs here with "
                "`torcctl run`"
            )

    async def check_configured(self) -> None:
        """Raises Refused where Slurm's programs are, but no cluster of theirs. One that is silent may be there."""
        path = self._environ.get("SLURM_CONF")
        if path is not None and not await trio.to_thread.run_sync(os.path.exists, path, abandon_on_cancel=True):
            words = f"SLURM_CONF is {path}, which is not there"  # they would look for it for a minute
        else:
            ran = await self._run(list(commands.VERSION))
            if ran.code == 0 or ran.got_no_answer or not lacks_configuration(ran.words):
                return
            words = ran.words
        raise Refused(f"{unconfigured_text(words)} (the daemon's own goes before yours); `torcctl run` runs jobs here")

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
        return commands.parse_queue((await self._ask(list(commands.QUEUE))).out)

    async def find_ended(self, name: str, job_id: int | None, created_at_ms: int) -> Seen | None:
        """What is known elsewhere of a job that is not in the queue: the accounting's word, else the controller's."""
        since = datetime.fromtimestamp(created_at_ms / 1000) - timedelta(days=1)  # clocks may differ
        ran = await self._run(commands.account(name, since.strftime("%Y-%m-%dT%H:%M:%S")))
        found = commands.parse_account(ran.out, name) if ran.code == 0 else None
        if found is None and job_id is not None:
            ran = await self._run(commands.show(job_id))
            found = commands.parse_shown(ran.out, name) if ran.code == 0 else None
        return found

    async def load_account(self, names: list[str], created_at_ms: int) -> list[dict[str, str]]:
        """What the accounting has of jobs of these names. Raises Rejected where there is none."""
        since = datetime.fromtimestamp(created_at_ms / 1000) - timedelta(days=1)
        ran = await self._run(commands.account_details(names, since.strftime("%Y-%m-%dT%H:%M:%S")))
        if ran.got_no_answer:
            raise NoAnswer(f"sacct: {ran.words}")
        if ran.code != 0:
            raise Rejected(_explain("sacct", ran))
        return commands.parse_details(ran.out)

    async def cancel(self, name: str, job_id: int | None) -> None:
        """Has the job of that name canceled, if there is one. Raises NoAnswer and Rejected."""
        ran = await self._run(commands.cancel(name, job_id))
        said = ran.words.lower()
        if ran.code == 0 or any(each in said for each in commands.JOB_ENDED):
            return
        raise NoAnswer(f"scancel: {ran.words}") if ran.got_no_answer else Rejected(f"scancel: {ran.words}")

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
        paths = (environment["PATH"], self._path, LIKELY)
        program = next((found for path in paths if (found := shutil.which(argv[0], path=path))), None)
        if program is None:
            return Ran(127, "", f"{argv[0]}: there is no such program in PATH")
        try:
            return await trio.to_thread.run_sync(
                self._finish, [program, *argv[1:]], environment, directory, umask, abandon_on_cancel=True
            )
        except OSError as error:
            return Ran(126, "", f"{argv[0]}: {error.strerror}")

    def _finish(self, argv: list[str], environment: Mapping[str, str], directory: str, umask: int) -> Ran:
        with subprocess.Popen(
            with_limit_of_before(argv),
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=umask,
        ) as process:
            try:
                out, err = process.communicate(timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return Ran(124, "", f"{argv[0]}: timed out, no answer within {self._timeout_s:g} s")
        return Ran(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _explain(program: str, ran: Ran) -> str:
    return unconfigured_text(ran.words) if lacks_configuration(ran.words) else f"{program}: {ran.words}"
