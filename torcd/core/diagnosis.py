"""Why a job failed or was terminated, with the evidence: a judgement from what its last attempt left behind.

Pure. It knows neither where the evidence comes from nor what is done about it (`recovery`). It would rather say that it
does not know than ask for more memory because of a bug.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from torcd.core.status import Status, StatusReason, reason_name, status_name

NEAR = 0.9
"""From this share of what was asked for on, memory or time may have been what a job ran out of."""

LIMITED = 1.25
"""Up to this share of the request, something may have held a job to it: whoever got much more was not short of it."""

ENDS_S, ENDS = 180.0, 0.35
"""Of a Slurm job's time, and at most this share of it, a job that runs from its beginning to its end may not see."""

LARGE = 0.5
"""This share of all of a worker's memory is much, where a job has asked for nothing."""

SIGKILL, SIGTERM, SIGXCPU = 128 + 9, 128 + 15, 128 + 24
KILLED = frozenset({SIGKILL})
BROKEN = frozenset({128 + 6, 128 + 7, 128 + 11})
"""SIGABRT, SIGBUS and SIGSEGV: what programs die of that did not check an allocation."""
OVERDUE = frozenset({124, SIGKILL, SIGTERM, SIGXCPU})
"""How a job ends that somebody stopped because it took too long; 124 is what `timeout` returns."""

SLURM_LOST = frozenset({"NODE_FAIL", "BOOT_FAIL"})

OUT_OF_MEMORY = re.compile(
    r"out[ -]of[ -]memory(?!-)|\boom[-_ ]?kill|\bMemoryError\b|\bbad_alloc\b|OutOfMemory(?:Error|Exception)"
    r"|cannot allocate (?:memory|vector of size)|unable to allocate [\d.]+ \w?i?B\b|memory exhausted"
    r"|exceeded \w*\s?memory limit|memory allocation of \d+ bytes failed|(?:insufficient|not enough) (?:\w+ )?memory\b",
    re.IGNORECASE,
)
"""What kernels, Slurm and programs write when there is no memory left."""

HINTS = ("memory", "oom", "bad_alloc", "allocate")
"""One of these is in each line that `OUT_OF_MEMORY` finds: to look for them takes a hundredth of the time."""

OF_A_DEVICE = re.compile(r"\b(?:cuda\w*|cublas\w*|gpu|hip|hip(?:malloc|error)\w*|xpu|device)\b", re.IGNORECASE)
"""A line about a device's own memory, which no request for memory enlarges."""

OF_SLURM = re.compile(r"(?:\S+: )?(?:slurmstepd\S*|srun): error: ")
"""How a line begins that Slurm itself writes to an allocation's log, beside what its workers write."""

SHOWN = 200
"""Characters of a line that are shown."""


class Finding(StrEnum):
    """What a job's failure is put down to."""

    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker_lost"
    NODE_FAILURE = "node_failure"
    WORKER_SHUTDOWN = "worker_shutdown"
    OUTPUT_MISSING = "output_missing"
    FAILED = "failed"
    """It ended with an error of its own, or nobody knows why."""


NEEDS_NO_CURE = frozenset({Finding.WORKER_LOST, Finding.NODE_FAILURE, Finding.WORKER_SHUTDOWN})
"""The job did nothing wrong: it is run again as it is."""

CURABLE = frozenset({Finding.OUT_OF_MEMORY, Finding.TIMEOUT})
"""More of what it ran out of may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a job that failed or was terminated; None: it is not known."""

    job_id: int
    name: str
    status: int
    reason: int
    attempt: int
    return_code: int | None = None
    exec_time_s: float = 0.0
    peak_memory_bytes: int | None = None
    requirement: str | None = None
    """The name of its resource requirements; None: it has none, and so asked for nothing."""
    memory_bytes: int | None = None
    """What it asked for."""
    runtime_s: float | None = None
    worker_memory_bytes: int | None = None
    """What its worker had in all."""
    allocation_id: int | None = None
    slurm_state: str | None = None
    """Of the allocation that its worker belonged to."""
    walltime_s: int | None = None
    """As the state."""
    slurm_log_path: str | None = None
    kill: str | None = None
    """Of that allocation's log, what tells that Slurm killed for memory."""
    lost_together: int = 1
    """How many jobs were lost with its worker, itself included."""
    stderr_path: str | None = None
    line: str | None = None
    """Of its stderr, what tells of too little memory."""
    last_line: str | None = None
    """Of its stderr: where nothing else is known, the best clue there is."""

    @property
    def is_lost(self) -> bool:
        """Whether its worker did not come back."""
        return self.reason == StatusReason.WORKER_LOST

    @property
    def ended_by_itself(self) -> bool:
        """Whether it had ended, badly, before anything became of its worker or its allocation."""
        return self.status == Status.FAILED and self.return_code not in KILLED


def list_logs(cases: Iterable[Case]) -> list[str]:
    """The files that may tell why, each once: those of allocations, which are few, first."""
    known = list(cases)
    paths = [*(case.slurm_log_path for case in known), *(case.stderr_path for case in known)]
    return list(dict.fromkeys(path for path in paths if path is not None))


def with_tails(cases: Sequence[Case], tails: Mapping[str, str]) -> tuple[Case, ...]:
    """The cases with what the ends of those files tell, which come by their paths. Takes seconds for thousands."""
    lines = {path: line for path, tail in tails.items() if (line := find_line(tail)) is not None}
    last_lines = {path: line for path, tail in tails.items() if (line := find_last_line(tail)) is not None}
    logs = {case.slurm_log_path for case in cases}
    kills = {path: line for path, tail in tails.items() if path in logs and (line := find_kill(tail)) is not None}
    return tuple(
        replace(
            case,
            line=lines.get(case.stderr_path or ""),
            last_line=last_lines.get(case.stderr_path or ""),
            kill=kills.get(case.slurm_log_path or ""),
        )
        if case.stderr_path in last_lines or case.slurm_log_path in kills
        else case
        for case in cases
    )


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding and what speaks for it, by name as users see it."""

    finding: Finding
    evidence: dict[str, Any]


def diagnose(case: Case) -> Diagnosis:
    """What a job's failure is put down to."""
    finding = _find(case)
    return Diagnosis(finding, _list_evidence(case, finding))


def find_line(stderr: str) -> str | None:
    """The last line that tells of too little memory, but for a device's; of a long one the part that does."""
    lowered = stderr.lower()
    if not any(hint in lowered for hint in HINTS):
        return None
    for line in map(str.strip, reversed(stderr.splitlines())):
        found = OUT_OF_MEMORY.search(line)
        if found is not None and not OF_A_DEVICE.search(line):
            return line[max(found.end() - SHOWN, 0) :][:SHOWN]
    return None


def find_last_line(stderr: str) -> str | None:
    """The last line that is not blank, or the beginning of it."""
    return next((line[:SHOWN] for line in map(str.strip, reversed(stderr.splitlines())) if line), None)


def find_kill(log: str) -> str | None:
    """The line by which Slurm tells that it, or the kernel, killed for memory; one with figures before all others."""
    lines = [line.strip() for line in log.splitlines() if OF_SLURM.match(line) and OUT_OF_MEMORY.search(line)]
    return max(reversed(lines), key=lambda line: " > " in line)[:SHOWN] if lines else None


def share_of_worker(case: Case) -> int:
    """The memory that a job is taken to have used whose worker was killed for memory, if nobody has measured it.

    All of the worker's is used then. Which of several jobs had how much nobody knows: so many are too many at once.
    """
    return (case.worker_memory_bytes or 0) // case.lost_together if case.is_lost else 0


def had_all_the_time(case: Case) -> bool:
    """Whether a job had nearly all of its Slurm job's time: in another one just like it, it would have no more.

    Of that go off what a worker takes to begin, and the grace and the margin at its end.
    """
    if case.walltime_s is None:
        return False
    return case.exec_time_s >= case.walltime_s - min(ENDS_S, ENDS * case.walltime_s)


def _find(case: Case) -> Finding:
    is_lost = case.is_lost
    if case.status == Status.FAILED and case.reason == StatusReason.OUTPUT_MISSING:
        return Finding.OUTPUT_MISSING
    if case.reason == StatusReason.WALLTIME:
        return Finding.TIMEOUT
    is_killed = case.slurm_state == "OUT_OF_MEMORY" or (case.kill is not None and case.slurm_state not in SLURM_LOST)
    if is_killed and (is_lost or case.return_code in KILLED):
        return Finding.OUT_OF_MEMORY
    if is_lost:
        if case.slurm_state == "TIMEOUT":
            return Finding.TIMEOUT
        return Finding.NODE_FAILURE if case.slurm_state in SLURM_LOST else Finding.WORKER_LOST
    if case.reason == StatusReason.WORKER_SHUTDOWN:
        return Finding.WORKER_SHUTDOWN
    if case.line is not None or _is_short_of_memory(case):
        return Finding.OUT_OF_MEMORY
    if case.return_code == SIGXCPU or (
        case.return_code in OVERDUE and _share(case.exec_time_s, case.runtime_s) >= NEAR
    ):
        return Finding.TIMEOUT
    return Finding.FAILED


def _is_short_of_memory(case: Case) -> bool:
    """Whether a job used as much as it had asked for, or more, and ended as one does that gets no more."""
    if case.return_code in KILLED | BROKEN:
        if case.memory_bytes:
            return _share(case.peak_memory_bytes, case.memory_bytes) >= NEAR
        return _share(case.peak_memory_bytes, case.worker_memory_bytes) >= LARGE
    return NEAR <= _share(case.peak_memory_bytes, case.memory_bytes) <= LIMITED


def _share(used: float | None, whole: float | None) -> float:
    return used / whole if used is not None and whole else 0.0


def _list_evidence(case: Case, finding: Finding) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "status": status_name(case.status),
        "status_reason": reason_name(case.reason),
        "return_code": case.return_code,
        "signal": None if case.return_code is None or not 128 < case.return_code < 165 else case.return_code - 128,
        "exec_time_s": round(case.exec_time_s, 3),
        "runtime_s": case.runtime_s,
        "peak_memory_bytes": case.peak_memory_bytes,
        "memory_bytes": case.memory_bytes,
        "allocation_id": case.allocation_id,
        "slurm_state": case.slurm_state,
        "walltime_s": case.walltime_s if case.reason == StatusReason.WALLTIME else None,
        "slurm_log": None if case.ended_by_itself else case.kill,
        "worker_memory_bytes": case.worker_memory_bytes if case.is_lost else None,
        "lost_together": case.lost_together if case.lost_together > 1 else None,
        "stderr": case.last_line if finding is Finding.FAILED else case.line,
    }
    return {name: value for name, value in evidence.items() if value is not None}
