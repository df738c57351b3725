"""Workloads as graphs of files, written for torc (JSON) and for ninja, the peer for deciding what to rerun.

ninja's log is written by hand instead of running its commands, so that a workload counts as finished for both
without starting a hundred thousand processes; `ninja -n` then has nothing to do, which the caller checks.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PER_DIRECTORY = 100


@dataclass(frozen=True)
class Job:
    """One job; paths are relative to the workload's directory. `pattern` is a regex for its inputs."""

    name: str
    command: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    pattern: str | None = None


@dataclass(frozen=True)
class Workload:
    """Jobs, and the files that no job makes."""

    name: str
    sources: list[str]
    jobs: list[Job]

    def paths(self) -> list[str]:
        """All files: sources, then outputs."""
        return self.sources + [output for job in self.jobs for output in job.outputs]


def numbered(directory: str, place: int) -> str:
    """The path of a file among many, with a hundred in each directory."""
    return f"{directory}/{place // PER_DIRECTORY:05}/{place:07}"


def fan(size: int) -> Workload:
    """W1: a job for each of `size` sources, a merge of each hundred, and one of all merges."""
    sources = [numbered("in", place) for place in range(size)]
    works = [numbered("work", place) for place in range(size)]
    jobs = [
        Job(f"work_{place}", f"cp {source} {work}", (source,), (work,))
        for place, (source, work) in enumerate(zip(sources, works, strict=True))
    ]
    merges = []
    for first in range(0, size, 100):
        merges.append(numbered("merge", first // 100))
        inputs = tuple(works[first : first + 100])
        jobs.append(Job(f"merge_{first // 100}", f"touch {merges[-1]}", inputs, (merges[-1],)))
    jobs.append(Job("final", "touch final", tuple(merges), ("final",)))
    return Workload(f"W1({size})", sources, jobs)


def chain(size: int) -> Workload:
    """`size` jobs, each of which reads what the one before wrote."""
    paths = [numbered("link", place) for place in range(size + 1)]
    jobs = [
        Job(f"step_{place}", f"cp {paths[place]} {paths[place + 1]}", (paths[place],), (paths[place + 1],))
        for place in range(size)
    ]
    return Workload(f"chain({size})", [paths[0]], jobs)


def barrier(side: int) -> Workload:
    """Two stages of `side` jobs; each of the second reads what all of the first wrote."""
    sources = [numbered("in", place) for place in range(side)]
    first = [numbered("first", place) for place in range(side)]
    second = [numbered("second", place) for place in range(side)]
    jobs = [
        Job(f"first_{place}", f"cp {sources[place]} {first[place]}", (sources[place],), (first[place],))
        for place in range(side)
    ]
    jobs += [
        Job(f"second_{place}", f"touch {second[place]}", tuple(first), (second[place],), "first/.*")
        for place in range(side)
    ]
    return Workload(f"barrier({side}×{side})", sources, jobs)


def prepare_directory(workload: Workload, root: Path) -> None:
    """Makes all directories, and the sources with a little content each."""
    for directory in sorted({path.rpartition("/")[0] for path in workload.paths()}):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for source in workload.sources:
        (root / source).write_text(source)


def write_spec(workload: Workload, root: Path) -> Path:
    """The specification; files are named by their paths."""
    jobs = [
        {
            "name": job.name,
            "command": job.command,
            **({"input_file_regexes": [job.pattern]} if job.pattern else {"input_files": job.inputs}),
            "output_files": job.outputs,
        }
        for job in workload.jobs
    ]
    files = [{"name": path, "path": path} for path in workload.paths()]
    spec = root / "workflow.json"
    spec.write_text(json.dumps({"name": workload.name, "files": files, "jobs": jobs}))
    return spec


def write_manifest(workload: Workload, root: Path) -> None:
    """build.ninja, one build statement a job."""
    with (root / "build.ninja").open("w") as file:
        file.write("rule run\n  command = $cmd\n")
        for job in workload.jobs:
            file.write(f"build {' '.join(job.outputs)}: run {' '.join(job.inputs)}\n  cmd = {job.command}\n")


class NinjaLog:
    """The log of a build that has just been finished (format 5, ninja 1.5 to 1.11)."""

    def __init__(self, workload: Workload, root: Path) -> None:
        self._path = root / ".ninja_log"
        self._entries = [
            (output, f"{murmur_hash(job.command.encode()):x}") for job in workload.jobs for output in job.outputs
        ]

    def write(self) -> None:
        """Notes that all outputs were made now."""
        now = time.time_ns()
        with self._path.open("w") as file:
            file.write("# ninja log v5\n")
            file.writelines(f"0\t1\t{now}\t{output}\t{digest}\n" for output, digest in self._entries)


def murmur_hash(text: bytes) -> int:
    """MurmurHash64A with the seed by which ninja knows commands again."""
    mask, multiplier = (1 << 64) - 1, 0xC6A4A7935BD1E995
    state = 0xDECAFBADDECAFBAD ^ (len(text) * multiplier & mask)
    whole = len(text) - len(text) % 8
    for block in blocks(text[:whole]):
        block = block * multiplier & mask
        block ^= block >> 47
        state = (state ^ (block * multiplier & mask)) * multiplier & mask
    if whole < len(text):
        state = (state ^ int.from_bytes(text[whole:], "little")) * multiplier & mask
    state ^= state >> 47
    state = state * multiplier & mask
    return state ^ state >> 47


def blocks(text: bytes) -> Iterable[int]:
    """The 64-bit numbers a text consists of."""
    return memoryview(text).cast("Q")
