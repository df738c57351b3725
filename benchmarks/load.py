"""A thousand workers and a thousand subscribers at once: `python -m benchmarks.load`, or `make load` for ten minutes.

The workflow comes in stages: a gate ends, and as many jobs as there are workers become ready at once, for which all of
them wait. Some subscribers read a byte at a time or nothing at all; every minute half of all connections are lost and
come back at once. The daemon is asked for its status all the while, which shows how long its loop is held up, and its
memory and descriptors are looked at every second.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
import threading
import time
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.load_peers import Loop, Measured, Plan, Times
from benchmarks.service import Torc
from torcd.protocol.address import unix_url
from torcd.protocol.client import connect
from torcd.protocol.requests import DaemonStatus, GetStatus, Initialize

_processes = multiprocessing.get_context("spawn")  # a thread watches the daemon, and threads do not survive a fork

PROCESSES = 4
"""Of peers: each with a share of the connections, so that none of them is what limits."""

SAMPLE_S = 1.0
PING_S = 0.05
WARM_UP_S = 20.0
"""Before memory counts as that of a daemon under load: until everybody is connected."""


class Options(msgspec.Struct, frozen=True):
    """How much load, and for how long."""

    workers: int = 1000
    subscribers: int = 1000
    slow: int = 20
    dead: int = 20
    seconds: float = 600
    job_s: tuple[float, float] = (1, 15)
    storm_s: float = 60
    stages: int | None = None
    """With it the load ends when the workflow is complete, at the latest after `seconds`."""


class Sample(msgspec.Struct, frozen=True):
    """The daemon at one moment."""

    at_s: float
    resident_mib: float
    descriptors: int
    cpu_s: float


class Watch(threading.Thread):
    """Looks at the daemon from outside, and asks it for its status."""

    def __init__(self, torc: Torc, pid: int) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self.pings = Times()
        self.over = threading.Event()
        self._pid = pid
        self._url = unix_url(Path(torc.environ["TORCD_SOCKET"]))

    def run(self) -> None:
        began = time.monotonic()
        next_sample = began
        with connect(self._url) as connection:
            while not self.over.wait(PING_S):
                asked = time.monotonic()
                connection.call(DaemonStatus())
                self.pings.add(time.monotonic() - asked)
                if asked >= next_sample:
                    next_sample += SAMPLE_S
                    self.samples.append(self._look(asked - began))

    def _look(self, at_s: float) -> Sample:
        process = Path(f"/proc/{self._pid}")
        resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return Sample(at_s, resident, len(os.listdir(process / "fd")), cpu_s)


def specification(options: Options) -> dict[str, Any]:
    """Stages enough for all of the time, each of a gate and a job for each worker."""
    stages = options.stages or math.ceil(options.seconds / options.job_s[1] * 1.5) + 3
    jobs: list[dict[str, Any]] = []
    for stage in range(stages):
        behind = {"depends_on": [f"s{stage - 1}_gate"]} if stage else {}
        many = {"name": f"s{stage}_{{i}}", "command": "true", "use_parameters": ["i"], **behind}
        gate = {"name": f"s{stage}_gate", "command": "true", "depends_on_regexes": [rf"s{stage}_\d+"]}
        jobs += [many, gate]
    return {"name": "load", "parameters": {"i": f"1:{options.workers}"}, "jobs": jobs}


def measure(options: Options) -> dict[str, Any]:
    """Runs the load and returns what was seen."""
    with Torc() as torc:
        spec = torc.directory / "load.json"
        spec.write_text(json.dumps(specification(options)))
        torc.run("workflows", "create", spec)
        url = unix_url(Path(torc.environ["TORCD_SOCKET"]))
        with connect(url) as connection:
            pid = msgspec.json.decode(connection.call(DaemonStatus()))["pid"]
            watch = Watch(torc, pid)
            watch.start()
            stages = len(specification(options)["jobs"]) // 2
            gates: SynchronizedArray[float] = _processes.Array("d", stages + 2)
            connection.call(Initialize(workflow_id=1), timeout_s=None)
            gates[0] = 0.0  # the first stage is no herd: workers come one by one
            measured = run_peers(options, torc.environ["TORCD_SOCKET"], gates)
            status = msgspec.json.decode(connection.call(GetStatus(workflow_id=1)))
            watch.over.set()
            watch.join()
        log = Path(torc.environ["TORCD_DATABASE"]).with_name("torcd.log").read_text()
    return summarize(options, watch, measured, status["counts"], log)


def run_peers(options: Options, path: str, gates: "SynchronizedArray[float]") -> list[Measured]:
    """Has the peers do their work, in processes of their own."""
    end_at = time.monotonic() + options.seconds
    plans = [
        Plan(
            path, 1, *(_share(count, place) for count in
            (options.workers, options.subscribers - options.slow - options.dead, options.slow, options.dead)),
            options.job_s, options.storm_s, end_at, options.stages is not None,
        )
        for place in range(PROCESSES)
    ]  # fmt: skip
    queue: multiprocessing.Queue[Measured] = _processes.Queue()
    children = [_processes.Process(target=_run, args=(plan, gates, queue), daemon=True) for plan in plans]
    for child in children:
        child.start()
    measured = [queue.get(timeout=options.seconds + 60) for _ in children]
    for child in children:
        child.join(60)
    return measured


def _share(count: int, place: int) -> int:
    return count // PROCESSES + (place < count % PROCESSES)


def _run(plan: Plan, gates: "SynchronizedArray[float]", queue: "multiprocessing.Queue[Measured]") -> None:
    queue.put(Loop(plan, gates).run())


def summarize(
    options: Options, watch: Watch, measured: list[Measured], counts: dict[str, int], log: str
) -> dict[str, Any]:
    """Figures of all processes together."""
    together = Measured(Times(), Times(), Times(), Times())
    for each in measured:
        for name in ("herd", "completion", "delivery", "connect"):
            getattr(together, name).merge(getattr(each, name))
        for name in ("completed", "events", "lagged", "lost", "refused", "errors"):
            setattr(together, name, getattr(together, name) + getattr(each, name))
    samples = [sample for sample in watch.samples if sample.at_s >= WARM_UP_S] or watch.samples
    seconds = max(samples[-1].at_s - samples[0].at_s, SAMPLE_S)
    times = {
        "claim, in a herd": together.herd,
        "completion": together.completion,
        "event": together.delivery,
        "connect": together.connect,
        "status": watch.pings,
    }
    return {
        "options": msgspec.to_builtins(options),
        "milliseconds": {
            name: {"p50": _ms(found.percentile(0.5)), "p99": _ms(found.percentile(0.99)), "max": _ms(found.most),
                   "count": found.counts.total()}
            for name, found in times.items()
        },
        "completed": together.completed,
        "events": together.events,
        "lagged": together.lagged,
        "lost": together.lost,
        "refused": together.refused,
        "errors": sorted(set(together.errors))[:10],
        "counts": counts,
        "resident_mib": _trend([sample.resident_mib for sample in samples], samples),
        "descriptors": _trend([sample.descriptors for sample in samples], samples),
        "cpu_share": round((samples[-1].cpu_s - samples[0].cpu_s) / seconds, 3),
        "log_errors": [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line][:10],
    }  # fmt: skip


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _trend(values: list[float], samples: list[Sample]) -> dict[str, float]:
    """First, last and greatest value, and by how much it grows in an hour as a line fits it."""
    slope = np.polyfit([sample.at_s for sample in samples], values, 1)[0] * 3600 if len(samples) > 2 else 0.0
    return {"first": values[0], "last": values[-1], "most": max(values), "per_hour": round(float(slope), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    defaults = Options()
    for name in ("workers", "subscribers", "slow", "dead", "seconds", "storm_s"):
        default = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--job-s", type=float, nargs=2, default=defaults.job_s, metavar=("LEAST", "MOST"))
    arguments = vars(parser.parse_args())
    print(f"figures in {arguments['seconds']:g} s; python -m benchmarks.load --help says what is done", file=sys.stderr)
    print(json.dumps(measure(Options(**{**arguments, "job_s": tuple(arguments["job_s"])})), indent=2))


if __name__ == "__main__":
    main()
