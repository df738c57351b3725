"""A daemon for the benchmarks alone, the commands sent to it, and a worker that runs nothing."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from torcd.protocol.client import Connection, connect
from torcd.protocol.worker_requests import (
    AttemptEnd,
    AttemptRef,
    Capacity,
    JobLaunch,
    LeaveWorker,
    OutputSeen,
    RegisterWorker,
    ReportWorker,
    WorkerAnswer,
)

BATCH = 1000
WAIT_S = 5.0


class Torc:
    """torcctl with a database and a daemon of its own; both are gone afterwards."""

    def __init__(self) -> None:
        self._exits = ExitStack()
        self.directory = Path()
        self.environ: dict[str, str] = {}
        beside = Path(sys.executable).with_name("torcctl")
        self._program = str(beside) if beside.exists() else shutil.which("torcctl") or "torcctl"

    def __enter__(self) -> Self:
        self.directory = Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="torc-bench-")))
        state = self.directory / "state"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("TORC")}
        self.environ |= {
            "TORCD_DATABASE": str(state / "torc.db"),
            "TORCD_SOCKET": str(self.directory / "torcd.sock"),
            "XDG_STATE_HOME": str(state),
            "XDG_CONFIG_HOME": str(self.directory / "config"),
        }
        self._exits.callback(self.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def stop(self) -> None:
        """Stops the daemon, if one runs."""
        subprocess.run([self._program, "daemon", "stop"], env=self.environ, cwd="/", check=False, capture_output=True)

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> float:
        """Seconds from the start of a command to its end; it must succeed."""
        began = time.perf_counter()
        ran = subprocess.run(
            [self._program, *arguments],
            env=self.environ,
            cwd=cwd or self.directory,
            check=False,
            capture_output=True,
            text=True,
        )
        took = time.perf_counter() - began
        if ran.returncode:
            told = ran.stderr[-2000:] or ran.stdout[-2000:]
            raise SystemExit(f"torcctl {' '.join(map(str, arguments))}: exit {ran.returncode}\n{told}")
        return took

    def ask(self, *arguments: str | Path, cwd: Path | None = None) -> Any:
        """The JSON document that a command prints."""
        ran = subprocess.run(
            [self._program, "-f", "json", *arguments],
            env=self.environ,
            cwd=cwd or self.directory,
            check=True,
            stdout=subprocess.PIPE,
        )
        return json.loads(ran.stdout)

    def connect(self) -> Connection:
        """A session with the daemon."""
        return connect("ws+unix://" + self.environ["TORCD_SOCKET"])

    def memory_bytes(self) -> int:
        """The daemon's resident memory, without its helpers'."""
        pid = self.ask("daemon", "status")["pid"]
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise SystemExit(f"process {pid} tells no VmRSS")


def finish_jobs(session: Connection, workflow_id: int) -> int:
    """Claims every job, creates its outputs, and reports success; the number of jobs.

    It stands in for a worker that runs them: what the daemon gets to know is the same.
    """
    registered = session.call(
        RegisterWorker(
            workflow_id=workflow_id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            num_cpus=BATCH,
            memory_bytes=1 << 40,
            max_parallel_jobs=BATCH,
        )
    )
    worker_id = msgspec.json.decode(registered)["worker_id"]
    finished = 0
    claimed: list[JobLaunch] = []
    while True:
        report = ReportWorker(
            worker_id=worker_id,
            started=[AttemptRef(job_id=job.job_id, attempt_id=job.attempt_id) for job in claimed],
            ended=[finish(job) for job in claimed],
            capacity=Capacity(jobs=BATCH),
            wait_s=WAIT_S,
        )
        answer = msgspec.json.decode(session.call(report, timeout_s=60), type=WorkerAnswer)
        if answer.refused:
            raise SystemExit(f"the daemon refused {len(answer.refused)} reports: {answer.refused[0]}")
        finished += len(claimed)
        claimed = answer.jobs
        if not claimed and answer.complete:
            break
    session.call(LeaveWorker(worker_id=worker_id))
    return finished


def finish(job: JobLaunch) -> AttemptEnd:
    """The report of a job that has just written all its outputs."""
    outputs = []
    for output in job.outputs:
        with open(output.path, "w") as file:
            status = os.fstat(file.fileno())
        outputs.append(OutputSeen(file_id=output.file_id, mtime_ns=status.st_mtime_ns, size=status.st_size))
    now = time.time_ns() // 1_000_000
    return AttemptEnd(
        job_id=job.job_id,
        attempt_id=job.attempt_id,
        return_code=0,
        started_at_ms=now,
        ended_at_ms=now,
        exec_time_s=0.001,
        outputs=outputs,
    )
