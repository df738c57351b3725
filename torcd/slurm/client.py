"""What is asked of Slurm, and what came of it, in Slurm's own words. `programs` runs what asks."""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import trio

from torcd.core.allocations import Row, Seen
from torcd.core.partitions import NodeKind, find_limits
from torcd.core.sizing import Limits
from torcd.protocol.errors import Refused, Unavailable
from torcd.protocol.slurm import lacks_configuration, unconfigured_text
from torcd.slurm import commands, partitions
from torcd.slurm.commands import Ran
from torcd.slurm.programs import MISSING, TIMEOUT_S, Programs

NAMES_AT_ONCE = 1000
"""In one question to the accounting: the kernel takes no argument longer than 128 KiB."""


class NoAnswer(Unavailable):
    """The scheduler did not answer: what it was asked for may be done or not."""


class Rejected(Refused):
    """The scheduler does not do what it was asked for."""


class Slurm:
    """The cluster that this host belongs to."""

    def __init__(self, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        self._programs = Programs(environ, timeout_s)

    def learn(self, environment: Mapping[str, str]) -> None:
        """Takes from the environment of somebody who has Slurm what is missing here."""
        self._programs.learn(environment)

    def check_installed(self) -> None:
        """Raises Refused where there is no Slurm. Blocks: it looks into the directories of PATH."""
        if not self._programs.is_in_path("sbatch"):
            raise Refused(
                "there is no sbatch in PATH: nodes can be scheduled only where Slurm's programs are. Stop this daemon "
                "(`torcctl daemon stop`) and start it on a login node of the cluster; or run the jobs here with "
                "`torcctl run`"
            )

    async def check_configured(self) -> None:
        """Raises Refused where Slurm's programs are, but no cluster of theirs. One that is silent may be there."""
        await self._check_configuration_file()
        ran = await self._programs.run(list(commands.VERSION))
        if ran.code != 0 and not ran.got_no_answer and lacks_configuration(ran.words):
            raise _unconfigured(ran.words)

    async def _check_configuration_file(self) -> None:
        """Raises Refused for one that is not there: Slurm's programs would look for it for a minute."""
        path = self._programs.configuration_file
        if path is not None and not await trio.to_thread.run_sync(os.path.exists, path, abandon_on_cancel=True):
            raise _unconfigured(f"SLURM_CONF is {path}, which is not there")

    async def submit(self, script: str, environment: Mapping[str, str], directory: str, umask: int) -> int:
        """Submits a batch script; the job's id. Its jobs get this environment and umask.

        Raises Rejected, or NoAnswer: it may be there.
        """
        made = self._programs.make_environment(environment)
        ran = await self._programs.run(commands.submit(script), made, directory, umask)
        job_id = commands.parse_submitted(ran.out)
        if ran.code != 0 and job_id is None and not ran.got_no_answer:
            raise Rejected(ran.words)
        if job_id is None:
            raise NoAnswer(_name("sbatch", ran.words))
        return job_id

    async def load_queue(self) -> dict[str, Seen]:
        """The allocations that the controller knows, by job name. Raises NoAnswer."""
        ran = await self._programs.run(list(commands.QUEUE))
        if ran.code != 0:
            raise NoAnswer(_explain("squeue", ran))
        return await trio.to_thread.run_sync(commands.parse_queue, ran.out)  # a user may have 100,000 other jobs

    async def find_ended(self, rows: Sequence[Row]) -> dict[str, Seen]:
        """What is known elsewhere of jobs that are not in the queue, by name: the accounting's word, else the
        controller's. Of those that are left out nobody knows anything. Raises NoAnswer when it cannot be found out."""
        found: dict[str, Seen] = {}
        for names, since in _batches({row.job_name: row.created_at_ms for row in rows}):
            ran = await self._programs.run(commands.account(names, since))
            if ran.code != 0:  # mostly there is no accounting
                break
            found |= commands.parse_account(ran.out, names)
        for row in rows:
            if row.job_name not in found and row.job_id is not None:
                ran = await self._programs.run(commands.show(row.job_id))
                if ran.got_no_answer:
                    raise NoAnswer(_name("scontrol", ran.words))
                seen = commands.parse_shown(ran.out, row.job_name) if ran.code == 0 else None
                if seen is not None:
                    found[row.job_name] = seen
        return found

    async def load_account(self, named: Mapping[str, int]) -> list[dict[str, str]]:
        """What the accounting has of jobs, by name with when each was made. Raises Rejected where there is none."""
        found = []
        for names, since in _batches(named):
            ran = await self._programs.run(commands.account_details(names, since))
            if ran.got_no_answer:
                raise NoAnswer(_name("sacct", ran.words))
            if ran.code != 0:
                raise Rejected(_explain("sacct", ran))
            found += commands.parse_details(ran.out)
        return found

    async def load_limits(self, names: Sequence[str]) -> Limits:
        """What Slurm's partitions give at most, the default one where none is named; empty where it does not say."""
        ran = await self._programs.run(list(partitions.SINFO))
        return find_limits(partitions.parse_partitions(ran.out) if ran.code == 0 else [], names)

    async def cancel(self, name: str, job_id: int | None) -> None:
        """Has the job of that name canceled, if there is one. Raises NoAnswer and Rejected."""
        ran = await self._programs.run(commands.cancel(name, job_id))
        said = ran.words.lower()
        if ran.code == 0 or any(each in said for each in commands.JOB_ENDED):
            return
        words = _name("scancel", ran.words)
        raise NoAnswer(words) if ran.got_no_answer else Rejected(words)

    async def load_partitions(self) -> list[NodeKind]:
        """The kinds of nodes of all partitions that are up. Raises Refused where there are none, and NoAnswer."""
        await self._check_configuration_file()
        ran = await self._programs.run(list(partitions.SINFO))
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


def _explain(program: str, ran: Ran) -> str:
    return unconfigured_text(ran.words) if lacks_configuration(ran.words) else _name(program, ran.words)


def _name(program: str, words: str) -> str:
    """A program's words, by its name; most of them begin with that."""
    return words if words.startswith(f"{program}: ") else f"{program}: {words}"


def _unconfigured(words: str) -> Refused:
    return Refused(f"{unconfigured_text(words)} (the daemon's own goes before yours); `torcctl run` runs jobs here")


def _batches(named: Mapping[str, int]) -> Iterator[tuple[list[str], str]]:
    """Names of jobs that may be asked for together, and the local time before which none of them was there."""
    names = list(named)
    for first in range(0, len(names), NAMES_AT_ONCE):
        batch = names[first : first + NAMES_AT_ONCE]
        since = datetime.fromtimestamp(min(named[name] for name in batch) / 1000) - timedelta(days=1)  # clocks differ
        yield batch, since.strftime("%Y-%m-%dT%H:%M:%S")
