"""A Slurm without a cluster: jobs by name, moved on by the test. What the real one does is in tests/slurm."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from torcd.core.allocations import Row, Seen
from torcd.slurm.client import NoAnswer, Rejected

DEAD = "Unable to contact slurm controller (connect failure)"


class FakeSlurm:
    """Its queue, and how it answers."""

    def __init__(self) -> None:
        self.jobs: dict[str, Seen] = {}
        self.ended: dict[str, Seen] = {}
        """What the accounting has of jobs that left the queue."""
        self.is_dead = False
        self.is_half_dead = False
        """Whether only what left its queue cannot be asked for."""
        self.takes_and_dies = 0
        """How many of the next submissions are accepted without an answer."""
        self.refusal: str | None = None
        self.is_deaf = False
        """Whether only cancels get no answer."""
        self.bug: Exception | None = None
        """What every call raises."""
        self.gate: trio.Event | None = None
        """While there is one, submissions wait for it before they are accepted."""
        self.submissions: list[str] = []
        self.environment: Mapping[str, str] = {}
        """That of the last submission."""
        self.cancels: list[tuple[str, int | None]] = []
        self.looks = 0
        self._last_id = 100

    def learn(self, environment: Mapping[str, str]) -> None:
        """There is nothing to learn."""

    def check_installed(self) -> None:
        """It is always there."""

    async def check_configured(self) -> None:
        """It is always configured."""

    async def submit(self, script: str, environment: Mapping[str, str], directory: str, umask: int) -> int:
        """Queues a job."""
        name = _name_in(script)
        self.submissions.append(name)
        self.environment = environment
        if self.gate is not None:
            await self.gate.wait()
        self._raise_bug()
        if self.refusal is not None:
            raise Rejected(self.refusal)
        if self.is_dead:
            raise NoAnswer(f"sbatch: {DEAD}")
        self._last_id += 1
        self.jobs[name] = Seen(self._last_id, "PENDING", None)
        if self.takes_and_dies:
            self.takes_and_dies -= 1
            raise NoAnswer("sbatch: Socket timed out on send/recv operation")
        return self._last_id

    async def load_queue(self) -> dict[str, Seen]:
        """Its jobs."""
        self.looks += 1
        self._raise_bug()
        if self.is_dead:
            raise NoAnswer(f"squeue: {DEAD}")
        return dict(self.jobs)

    async def find_ended(self, rows: Sequence[Row]) -> dict[str, Seen]:
        """What the accounting has."""
        if self.is_half_dead:
            raise NoAnswer(f"scontrol: {DEAD}")
        return {row.job_name: self.ended[row.job_name] for row in rows if row.job_name in self.ended}

    async def cancel(self, name: str, job_id: int | None) -> None:
        """Ends a job."""
        self.cancels.append((name, job_id))
        if self.is_dead or self.is_deaf:
            raise NoAnswer(f"scancel: {DEAD}")
        if name in self.jobs:
            self.jobs[name] = self.jobs[name]._replace(state="CANCELLED")

    def _raise_bug(self) -> None:
        if self.bug is not None:
            raise self.bug

    def move(self, state: str, reason: str | None = None) -> None:
        """Has all jobs take a state."""
        self.jobs = {name: Seen(seen.job_id, state, reason) for name, seen in self.jobs.items()}


def _name_in(script: str) -> str:
    (name,) = (line.partition("=")[2] for line in Path(script).read_text().splitlines() if "--job-name=" in line)
    return name
