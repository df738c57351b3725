"""A worker that speaks to a real daemon and only claims to have run its jobs: thousands of them in a second."""

import os
import time
from typing import Any

from real_system import ask

from torcd.protocol.client import Connection
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, Capacity, OutputSeen, RegisterWorker, ReportWorker

Attempt = tuple[int, int]
"""Job and attempt."""


class PaperWorker:
    """One worker of a workflow. After a loss of the connection it goes on with `resume`."""

    def __init__(self, connection: Connection, workflow_id: int) -> None:
        self.workflow_id = workflow_id
        self.ran: dict[Attempt, int] = {}
        """What it has run, with the return codes."""
        self.untold: dict[Attempt, AttemptEnd] = {}
        """The ends for which no answer has come yet."""
        self.acknowledged: set[Attempt] = set()
        self.refused: list[dict[str, Any]] = []
        self.is_complete = False
        self._launches: dict[Attempt, dict[str, Any]] = {}
        self.worker_id = 0
        self._register(connection, None)

    def resume(self, connection: Connection) -> list[Attempt]:
        """Registers again with what it holds; the attempts that were taken from it."""
        lost = self._register(connection, self.worker_id)
        for attempt in lost:
            self.untold.pop(attempt, None)
            self._launches.pop(attempt, None)
        return lost

    def _register(self, connection: Connection, worker_id: int | None) -> list[Attempt]:
        self._connection = connection
        held = [*self.untold, *self._launches]
        answer = ask(
            connection,
            RegisterWorker(
                workflow_id=self.workflow_id,
                worker_id=worker_id,
                hostname="paper",
                pid=os.getpid(),
                num_cpus=1,
                memory_bytes=1,
                max_parallel_jobs=1_000_000,
                attempts=[AttemptRef(job_id=job, attempt_id=attempt) for job, attempt in held],
            ),
        )
        self.worker_id = answer["worker_id"]
        return [(ref["job_id"], ref["attempt_id"]) for ref in answer["lost"]]

    def report(self, most: int, wait_s: float = 0) -> None:
        """Tells all ends and claims at most so many jobs."""
        report = ReportWorker(
            worker_id=self.worker_id, ended=list(self.untold.values()), capacity=Capacity(jobs=most), wait_s=wait_s
        )
        answer = ask(self._connection, report)
        self.acknowledged.update(self.untold)
        self.untold.clear()
        self.refused += answer["refused"]
        self.is_complete = answer["complete"]
        for job in answer["jobs"]:
            self._launches[job["job_id"], job["attempt_id"]] = job

    def run_held(self, return_code: int = 0) -> None:
        """Has run everything it holds; tells nobody yet. Outputs are what is on disk."""
        for attempt, job in self._launches.items():
            self.ran[attempt] = return_code
            self.untold[attempt] = AttemptEnd(
                job_id=attempt[0],
                attempt_id=attempt[1],
                return_code=return_code,
                started_at_ms=time.time_ns() // 1_000_000,
                ended_at_ms=time.time_ns() // 1_000_000,
                exec_time_s=0.001,
                outputs=[_observe(output) for output in job["outputs"]],
            )
        self._launches.clear()

    def work(self, most: int = 1000) -> None:
        """Claims, runs and reports until the workflow is complete."""
        while not self.is_complete:
            self.report(most)
            self.run_held()


def _observe(output: dict[str, Any]) -> OutputSeen:
    try:
        found = os.stat(output["path"])
    except FileNotFoundError:
        return OutputSeen(file_id=output["file_id"])
    return OutputSeen(file_id=output["file_id"], mtime_ns=found.st_mtime_ns, size=found.st_size)
