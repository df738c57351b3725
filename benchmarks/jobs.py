"""What running costs: jobs that do nothing, two at a time, and chains of them, beside other systems."""

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.service import Torc
from benchmarks.table import Row, print_table

SLOTS = 2
HYPERQUEUE_SIZE = 2000
"""Fewer than the others run: it is slower, and what counts is the rate."""
CHAIN = 1500
HYPERQUEUE_CHAIN = 100


def independent_spec(count: int) -> str:
    jobs = [{"name": f"job_{place}", "command": "true"} for place in range(count)]
    return json.dumps({"name": "independent", "jobs": jobs})


def chain_spec(count: int) -> str:
    jobs = [
        {"name": f"job_{place}", "command": "true", "depends_on": [f"job_{place - 1}"] if place else []}
        for place in range(count)
    ]
    return json.dumps({"name": "chain", "jobs": jobs})


def time_torc(torc: Torc, text: str) -> float:
    """Seconds of `torcctl run` on a workflow that exists."""
    spec = torc.directory / "workflow.json"
    spec.write_text(text)
    created = torc.ask("workflows", "create", spec)
    return torc.run("run", str(created["workflow_id"]), "--max-parallel-jobs", str(SLOTS))


def time_command(command: list[str], root: Path, stdin: str = "") -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=root, check=True, input=stdin.encode(), stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def time_ninja(root: Path, count: int, *, chained: bool) -> float:
    lines = ["rule run", "  command = true"]
    lines += [f"build job_{place}: run" + f" job_{place - 1}" * (chained and place > 0) for place in range(count)]
    (root / "build.ninja").write_text("\n".join([*lines, ""]))
    (root / ".ninja_log").unlink(missing_ok=True)
    return time_command(["ninja", "-j", str(SLOTS)], root)


def time_make(root: Path, count: int, *, chained: bool) -> float:
    names = [f"job_{place}" for place in range(count)]
    rules = [
        f"{name}:" + f" {names[place - 1]}" * (chained and place > 0) + "\n\t@true;" for place, name in enumerate(names)
    ]
    (root / "Makefile").write_text("\n".join([f"all: {' '.join(names)}", f".PHONY: all {' '.join(names)}", *rules, ""]))
    return time_command(["make", "-rR", "-s", "-j", str(SLOTS)], root)


def time_xargs(root: Path, count: int) -> float:
    return time_command(["xargs", "-n", "1", "-P", str(SLOTS), "true"], root, "x\n" * count)


@contextmanager
def silence() -> Iterator[None]:
    """Sends what this process prints, from whatever language, to nowhere."""
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(nowhere)


def time_hyperqueue(root: Path, count: int, *, chained: bool) -> float:
    """Seconds from submitting to the end; server and worker run in this process, their start is not counted."""
    from hyperqueue import Job, LocalCluster  # type: ignore[import-not-found]  # an optional peer
    from hyperqueue.cluster import WorkerConfig  # type: ignore[import-not-found]

    with silence(), LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=SLOTS))
        client = cluster.client()
        job = Job(default_workdir=root)  # it writes each task's output to two files there
        last = None
        for _ in range(count):
            last = job.program(["true"], deps=[last] if chained and last is not None else [])
        began = time.perf_counter()
        client.wait_for_jobs([client.submit(job)])
        return time.perf_counter() - began


def find_peers(root: Path, *, chained: bool) -> dict[str, tuple[Callable[[int], float], int | None]]:
    """The systems that are installed: how to time so many jobs, and how many at most."""
    peers: dict[str, tuple[Callable[[int], float], int | None]] = {}
    if shutil.which("ninja"):
        peers["ninja"] = (lambda count: time_ninja(root, count, chained=chained), None)
    if shutil.which("make"):
        peers["make"] = (lambda count: time_make(root, count, chained=chained), None)
    if shutil.which("xargs") and not chained:
        peers["xargs"] = (lambda count: time_xargs(root, count), None)
    if importlib.util.find_spec("hyperqueue"):
        most = HYPERQUEUE_CHAIN if chained else HYPERQUEUE_SIZE
        peers["HyperQueue"] = (lambda count: time_hyperqueue(root, count, chained=chained), most)
    return peers


def main(size: int = 10_000) -> None:
    """Prints the table for `size` independent jobs and a chain."""
    rows = []
    with Torc() as torc, tempfile.TemporaryDirectory(prefix="torc-jobs-") as temporary:
        root = Path(temporary)
        torc.run("workflows", "list")  # starts the daemon
        rate = size / time_torc(torc, independent_spec(size))
        rows.append(Row(f"{size} independent jobs", rate, "jobs/s", target=1000, at_least=True))
        for name, (time_peer, most) in find_peers(root, chained=False).items():
            count = min(size, most or size)
            target = 1.8 if name == "HyperQueue" else None
            rows.append(Row("independent jobs", rate, "jobs/s", name, count / time_peer(count), target, at_least=True))
        step = time_torc(torc, chain_spec(CHAIN)) / CHAIN * 1e3
        rows.append(Row(f"chain of {CHAIN}, a step", step, "ms", target=3))
        for name, (time_peer, most) in find_peers(root, chained=True).items():
            count = min(CHAIN, most or CHAIN)
            target = 0.07 if name == "HyperQueue" else None
            rows.append(Row("chain, a step", step, "ms", name, time_peer(count) / count * 1e3, target))
    print_table(
        "Running jobs (`true`, two slots)",
        rows,
        "torc captures each job's output in files and has each result on disk; the start of the client is"
        " included. HyperQueue's package runs its real server and worker in one process, whose start is not.",
    )


if __name__ == "__main__":
    main()
