"""What deciding costs: reinit of finished workflows with nothing, one input or all inputs changed.

Each command is timed from its start to its end, with ninja -n on the same files, by turns, in the same run.
"""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.c_stat import compile_floor, measure_floor
from benchmarks.service import Torc, finish_jobs
from benchmarks.table import Row, median, print_table
from benchmarks.workloads import (
    NinjaLog,
    Workload,
    barrier,
    chain,
    fan,
    prepare_directory,
    write_manifest,
    write_spec,
)

REPEATS = 5
BARRIER_SIDE = 1000
LONGEST_CHAIN = 100_000
"""Finishing it takes 2 ms a step, one after the other: four minutes."""
NINJA = ["bash", "-c", "ulimit -s unlimited; exec ninja -n"]
"""With the default stack ninja crashes on a chain of 10⁵."""


@dataclass(frozen=True)
class Targets:
    """The most each question may take, as a multiple of ninja, of the C loop, or in bytes a job."""

    no_op: float | None = None
    one: float | None = None
    all: float | None = None
    floor: float | None = None
    memory: float | None = None


FAN = Targets(no_op=0.5, one=0.525, all=0.5, floor=1.2, memory=350)
LARGE_FAN = Targets(no_op=0.35, one=0.37, all=0.35, floor=1.1, memory=350)
OTHER = Targets(no_op=1.0, all=1.0)
MEDIUM, LARGE = 100_000, 500_000
"""From so many jobs on they apply: with fewer, the start of the client is most of what is measured."""


class Finished:
    """A workflow that is finished for torc and for ninja."""

    def __init__(self, torc: Torc, workload: Workload, root: Path) -> None:
        self._torc, self._root = torc, root
        self.workload = workload
        prepare_directory(workload, root)
        write_manifest(workload, root)
        self._log = NinjaLog(workload, root)
        created = torc.ask("workflows", "create", write_spec(workload, root), cwd=root)
        self.workflow_id: int = created["workflow_id"]
        torc.run("workflows", "init", str(self.workflow_id))
        self.finish()

    def finish(self) -> None:
        """Has all jobs that are to run finished."""
        with self._torc.connect() as session:
            finish_jobs(session, self.workflow_id)
        self._log.write()

    def time_ninja(self) -> tuple[float, bool]:
        """Seconds, and whether ninja had nothing to do."""
        began = time.perf_counter()
        ran = subprocess.run(NINJA, cwd=self._root, check=True, capture_output=True)
        return time.perf_counter() - began, b"no work to do" in ran.stdout

    def time_reinit(self, *options: str) -> float:
        return self._torc.run("workflows", "reinit", str(self.workflow_id), *options)

    def count_reset(self) -> int:
        plan = self._torc.ask("workflows", "reinit", str(self.workflow_id), "--dry-run")
        return int(plan["count"])

    def touch(self, count: int) -> None:
        """Gives the first sources another time; ninja needs a later one than that of the outputs."""
        now = time.time_ns()
        for source in self.workload.sources[:count]:
            os.utime(self._root / source, ns=(now, now))

    def names(self) -> list[str]:
        return [f"{self._root}/{path}" for path in self.workload.paths()]


def measure(torc: Torc, workload: Workload, targets: Targets) -> list[Row]:
    """The rows of one workload."""
    with tempfile.TemporaryDirectory(prefix="torc-reinit-") as temporary:
        torc.run("workflows", "list")
        idle_bytes = torc.memory_bytes()
        finished = Finished(torc, workload, Path(temporary))
        torc.stop()  # the next command starts a daemon that has only what it needs
        rows = measure_no_op(finished, compile_floor(Path(temporary)), targets)
        memory = (torc.memory_bytes() - idle_bytes) / len(workload.jobs)
        rows.append(Row(f"{workload.name}, daemon's memory per job", memory, "B", target=targets.memory))
        if len(workload.sources) > 1:
            rows += measure_changed(finished, "one", 1, targets.one)
            finished.finish()
        rows += measure_changed(finished, "all", len(workload.sources), targets.all)
        torc.run("workflows", "cancel", str(finished.workflow_id))
    return rows


def measure_no_op(finished: Finished, floor_program: Path | None, targets: Targets) -> list[Row]:
    """Nothing has changed."""
    name = finished.workload.name
    first = finished.time_reinit()
    took, ninja, floor = [], [], []
    for _ in range(REPEATS):
        seconds, idle = finished.time_ninja()
        if not idle:
            raise SystemExit(f"ninja does not take {name} for finished")
        ninja.append(seconds)
        took.append(finished.time_reinit())
        if floor_program is not None:
            floor += measure_floor(floor_program, finished.names(), repeats=1)
    expect(finished.workload, 0, finished.count_reset())
    rows = [
        Row(f"{name}, no-op", median(took), "s", "ninja -n", median(ninja), targets.no_op),
        Row(f"{name}, no-op, daemon started and workflow loaded", first, "s", "ninja -n", median(ninja)),
    ]
    if floor:
        rows.append(Row(f"{name}, no-op", median(took), "s", "C stat, 1 thread", median(floor), targets.floor))
    return rows


def measure_changed(finished: Finished, question: str, count: int, target: float | None) -> list[Row]:
    """Some sources have changed; afterwards the workflow is reset."""
    finished.touch(count)
    ninja = median([finished.time_ninja()[0] for _ in range(REPEATS)])
    dry = median([finished.time_reinit("--dry-run") for _ in range(REPEATS)])
    if count == len(finished.workload.sources):
        expect(finished.workload, len(finished.workload.jobs), finished.count_reset())
    real = finished.time_reinit()
    name = f"{finished.workload.name}, {question} changed"
    return [
        Row(f"{name}, dry run", dry, "s", "ninja -n", ninja),
        Row(f"{name}, reinit", real, "s", "ninja -n", ninja, target),
    ]


def expect(workload: Workload, wanted: int, seen: int) -> None:
    if seen != wanted:
        raise SystemExit(f"{workload.name}: {seen} jobs would be reset instead of {wanted}")


def main(size: int = 100_000) -> None:
    """Prints the table for W1 and a chain of `size` jobs, and the barrier."""
    fan_targets = LARGE_FAN if size >= LARGE else FAN if size >= MEDIUM else Targets()
    rows = []
    for workload, targets in (
        (fan(size), fan_targets),
        (chain(min(size, LONGEST_CHAIN)), OTHER if size >= LONGEST_CHAIN else Targets()),
        (barrier(min(size, BARRIER_SIDE)), OTHER if size >= BARRIER_SIDE else Targets()),
    ):
        with Torc() as torc:
            rows += measure(torc, workload, targets)
    print_table(
        "Deciding what to rerun",
        rows,
        "ninja reads its manifest each time; torcd has the workflow in memory, and the start of the client is"
        " included. ninja compares times (older or not), torc records (different or not).",
    )


if __name__ == "__main__":
    main()
