"""A Slurm without a cluster: jobs by name, moved on by the test. What the real one does is in tests/slurm."""

from collections.abc import Mapping
from pathlib import Path

from torcd.core.allocations import Seen
from torcd.slurm.client import NoAnswer, Rejected

DEAD = "Unable to contact slurm controller (connect failure)"


class FakeSlurm:
    """Its queue, and how it answers."""

    def __init__(self) -> None:
        self.jobs: dict[str, Seen] = {}
        self.ended: dict[str, Seen] = {}
        """What the accounting has of jobs that left the queue."""
        self.is_dead = False
        self.takes_and_dies = 0
        """How many of the next submissions are accepted without an answer."""
        self.refusal: str | None = None
        self.submissions: list[str] = []
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
        if self.is_dead:
            raise NoAnswer(f"squeue: {DEAD}")
        return dict(self.jobs)

    async def find_ended(self, name: str, job_id: int | None, created_at_ms: int) -> Seen | None:
        """What the accounting has."""
        return self.ended.get(name)

    async def cancel(self, name: str, job_id: int | None) -> None:
        """Ends a job."""
        self.cancels.append((name, job_id))
        if self.is_dead:
            raise NoAnswer(f"scancel: {DEAD}")
        if name in self.jobs:
            self.jobs[name] = self.jobs[name]._replace(state="CANCELLED")

    def move(self, state: str, reason: str | None = None) -> None:
        """Has all jobs take a state."""
        self.jobs = {name: Seen(seen.job_id, state, reason) for name, seen in self.jobs.items()}


def _name_in(script: str) -> str:
    (name,) = (line.partition("=")[2] for line in Path(script).read_text().splitlines() if "--job-name=" in line)
    return name
