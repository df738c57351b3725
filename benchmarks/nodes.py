"""Real workers on a real Slurm whose nodes are processes of this machine: `python -m benchmarks.nodes`, `make nodes`.

One allocation of all nodes (or, with `--single`, one for each) starts a worker on each. Jobs that sleep fill their
slots; then one job outlasts them, and all workers idle while another waits behind it. A worker of this process's own
claims and ends a job now and then: what it waits for the daemon, the others wait too. Root and Slurm's programs are
needed (`tests/slurm/cluster install`).
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from benchmarks.service import Torc
from benchmarks.table import percentile
from torcd.protocol.client import Connection
from torcd.protocol.requests import DaemonStatus, GetStatus
from torcd.protocol.slurm import ListAllocations
from torcd.protocol.worker_requests import (
    AttemptEnd,
    AttemptRef,
    Capacity,
    LeaveWorker,
    RegisterWorker,
    ReportWorker,
    WorkerAnswer,
)

CLUSTER = Path(__file__).parents[1] / "tests" / "slurm" / "cluster"
PORTS = range(21_000, 31_000, 256)
PROBE_S = 0.2
START_S = 180.0
"""At most, until all workers have registered."""


class Options(msgspec.Struct, frozen=True):
    """How many nodes, what each runs, and for how long."""

    nodes: int = 32
    slots: int = 4
    job_s: float = 5.0
    rounds: int = 6
    """Jobs for each slot."""
    idle_s: float = 15.0
    single: bool = False
    """One allocation for each node instead of one for all."""


class Usage(msgspec.Struct, frozen=True):
    """The daemon's process at one moment."""

    at_s: float
    cpu_s: float
    resident_mib: float
    descriptors: int


@contextmanager
def running_cluster(nodes: int) -> Iterator[dict[str, str]]:
    """A private cluster; the environment in which Slurm's programs find it."""
    directory = tempfile.mkdtemp(prefix="nodes-", dir="/tmp")  # munge's socket wants a short path
    try:
        command = [str(CLUSTER), "up", directory, str(_find_port(nodes)), str(nodes)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        yield {"SLURM_CONF": f"{directory}/slurm.conf"}
    finally:
        subprocess.run([CLUSTER, "down", directory], check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _find_port(nodes: int) -> int:
    for start in PORTS:
        if all(_is_free(port) for port in range(start, start + nodes + 11)):
            return start
    raise SystemExit(f"there are no {nodes + 11} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def specification(options: Options) -> dict[str, Any]:
    """Jobs that sleep; one that outlasts them, and one behind it for which all workers wait."""
    count = options.nodes * options.slots * options.rounds
    return {
        "name": "nodes",
        "slurm_schedulers": [{"name": "all", "nodes": 1 if options.single else options.nodes, "walltime": "00:30:00"}],
        "parameters": {"i": f"1:{count}"},
        "jobs": [
            {"name": "hold", "command": "sleep 1000"},
            {"name": "last", "command": "true", "depends_on": ["hold"]},
            {"name": "j{i}", "command": f"sleep {options.job_s}", "use_parameters": ["i"]},
        ],
    }


def count_squeue(torc: Torc) -> Path:
    """Has each call of squeue write a line to a file: `daemon` or `worker`, as called inside a Slurm job or not."""
    calls = torc.directory / "squeue_calls"
    calls.touch()
    programs = torc.directory / "bin"
    programs.mkdir()
    wrapper = programs / "squeue"
    caller = "${SLURM_JOB_ID:+worker}"
    real = shutil.which("squeue")
    wrapper.write_text(f'#!/bin/sh\nwho={caller}\necho "${{who:-daemon}}" >>{calls}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    torc.environ["PATH"] = f"{programs}:{torc.environ['PATH']}"
    return calls


def look(pid: int) -> Usage:
    """The process as it is now."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Usage(time.monotonic(), cpu_s, resident, len(os.listdir(process / "fd")))


def cpu_share(before: Usage, after: Usage) -> float:
    """Of one core, between two moments."""
    return round((after.cpu_s - before.cpu_s) / (after.at_s - before.at_s), 4)


class Probe:
    """A worker that claims a job and ends it at once: how long it waits for each answer."""

    def __init__(self, session: Connection) -> None:
        self._session = session
        self.claims: list[float] = []
        self.completions: list[float] = []
        registration = RegisterWorker(
            workflow_id=1, hostname="probe", pid=os.getpid(), num_cpus=1, memory_bytes=1 << 30, max_parallel_jobs=1
        )
        self._worker_id = msgspec.json.decode(session.call(registration))["worker_id"]

    def try_once(self) -> bool:
        """Whether there was a job."""
        began = time.monotonic()
        answer = self._report(capacity=Capacity(jobs=1))
        if not answer.jobs:
            return False
        claimed = time.monotonic()
        self.claims.append(claimed - began)
        job, now = answer.jobs[0], time.time_ns() // 1_000_000
        end = AttemptEnd(
            job_id=job.job_id, attempt_id=job.attempt_id, return_code=0, started_at_ms=now, ended_at_ms=now,
            exec_time_s=0.001,
        )  # fmt: skip
        ref = AttemptRef(job_id=job.job_id, attempt_id=job.attempt_id)
        self._report(started=[ref], ended=[end], capacity=Capacity(jobs=0))
        self.completions.append(time.monotonic() - claimed)
        return True

    def leave(self) -> None:
        self._session.call(LeaveWorker(worker_id=self._worker_id))

    def _report(self, **fields: Any) -> WorkerAnswer:
        report = ReportWorker(worker_id=self._worker_id, wait_s=0, **fields)
        return msgspec.json.decode(self._session.call(report, timeout_s=60), type=WorkerAnswer)


def measure(options: Options) -> dict[str, Any]:
    """Runs it all and returns what was seen."""
    with Torc() as torc, running_cluster(options.nodes) as cluster:
        torc.environ |= cluster
        calls = count_squeue(torc)
        try:
            return _measure(options, torc, calls)
        finally:
            subprocess.run(["scancel", "--me"], env=torc.environ, check=False, timeout=30)
            torc.stop()


def _measure(options: Options, torc: Torc, calls: Path) -> dict[str, Any]:
    spec = torc.directory / "nodes.json"
    spec.write_text(json.dumps(specification(options)))
    torc.run("workflows", "create", spec)
    count = options.nodes if options.single else 1
    began = time.monotonic()
    torc.run("slurm", "schedule-nodes", f"-n{count}", "1", "--max-parallel-jobs", str(options.slots))
    submitted_s = time.monotonic() - began
    with torc.connect() as session:
        registered_s = _wait_for_workers(session, options.nodes, began)
        pid = msgspec.json.decode(session.call(DaemonStatus()))["pid"]
        probe = Probe(session)
        before, done_before = look(pid), _count(session, "completed")
        slots = options.nodes * options.slots
        while _count(session, "ready") > slots and probe.try_once():
            time.sleep(PROBE_S)
        after, done = look(pid), _count(session, "completed") - done_before
        probe.leave()
        deadline = time.monotonic() + 10 * options.job_s + 60
        while _count(session, "running") > 1 or _count(session, "ready"):
            if time.monotonic() > deadline:
                raise SystemExit("the jobs do not end")
            time.sleep(PROBE_S)
        idle = look(pid)
        time.sleep(options.idle_s)
        idle_after = look(pid)
    seconds = after.at_s - before.at_s
    squeue = calls.read_text().split()
    share = cpu_share(before, after)
    return {
        "options": msgspec.to_builtins(options),
        "sbatch_returned_s": round(submitted_s, 2),
        "all_registered_s": round(registered_s, 2),
        "busy_s": round(seconds, 1),
        "jobs_per_s": round(done / seconds, 1),
        "jobs_per_s_if_slots_never_idled": round(slots / options.job_s, 1),
        "claim_ms": _times(probe.claims),
        "completion_ms": _times(probe.completions),
        "cpu_share_busy": share,
        "cpu_ms_per_job": round(1000 * (after.cpu_s - before.cpu_s) / max(done, 1), 2),
        "cpu_share_idle": cpu_share(idle, idle_after),
        "resident_mib": round(after.resident_mib, 1),
        "descriptors": after.descriptors,
        "squeue_calls": {who: squeue.count(who) for who in ("daemon", "worker")},
        "seconds_in_all": round(idle_after.at_s - began, 1),
        "load": os.getloadavg()[0],
    }


def _wait_for_workers(session: Connection, nodes: int, began: float) -> float:
    """Seconds until each node's worker has registered."""
    while time.monotonic() - began < START_S:
        allocations = msgspec.json.decode(session.call(ListAllocations(workflow_id=1)))["allocations"]
        if sum(each["workers"] for each in allocations) >= nodes:
            return time.monotonic() - began
        time.sleep(PROBE_S)
    raise SystemExit(f"not all workers have registered: {allocations}")


def _count(session: Connection, status: str) -> int:
    counts = msgspec.json.decode(session.call(GetStatus(workflow_id=1)))["counts"]
    return int(counts.get(status, 0))


def _times(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    found = {"p50": percentile(seconds, 0.5), "p99": percentile(seconds, 0.99), "max": max(seconds)}
    return {name: round(1000 * value, 1) for name, value in found.items()} | {"count": len(seconds)}


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends everything in order; no second signal interrupts that, nor what it starts."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    defaults = Options()
    for name in ("nodes", "slots", "job_s", "rounds", "idle_s"):
        default = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--single", action="store_true", help="an allocation for each node")
    options = Options(**vars(parser.parse_args()))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        print(json.dumps(measure(options), indent=2))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
