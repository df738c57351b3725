"""What is done about failures: which jobs run again, and what they are to ask for then.

Whoever ran out of something gets other resource requirements, made from its own; the requirements themselves stay as
they are, with the jobs that do well with them. Resources make nothing stale (SEMANTICS 4.2).
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from torcd.core.delta import Adjustment
from torcd.core.diagnosis import (
    CURABLE,
    NEAR,
    NEEDS_NO_CURE,
    Case,
    Diagnosis,
    Finding,
    diagnose,
    had_all_the_time,
    share_of_worker,
)
from torcd.core.placement import NO_REQUIREMENT, Requirement
from torcd.core.state import State
from torcd.core.status import Status, mask_of
from torcd.protocol.errors import Refused
from torcd.protocol.recover import Diagnosed, Recover
from torcd.protocol.units import MAX_BYTES, MAX_SECONDS, MIB, parse_memory, parse_time

Int64 = NDArray[np.int64]

FAILURES = frozenset({Status.FAILED, Status.TERMINATED})
"""The statuses of the jobs that are diagnosed."""

FIELD = {Finding.OUT_OF_MEMORY: "memory_bytes", Finding.TIMEOUT: "runtime_s"}
"""What a job ran out of."""

UNNAMED = "recovered"
"""What requirements are named after that were made for jobs without any."""

LEAST_RUNTIME_S = 60.0
"""That such requirements say; the hour of those that say nothing would keep jobs from workers that have less left."""


@dataclass(frozen=True, slots=True)
class Prescription:
    """What is to be done."""

    jobs: Int64
    """Those that are to run again, in order."""
    adjustments: tuple[Adjustment, ...]
    diagnoses: list[Diagnosed]
    """Of every job that was examined, in order."""
    missed: int
    """How many have failed since it was looked at what failed."""


@dataclass(slots=True)
class _Group:
    """Jobs with the same requirements that ran out of the same."""

    base: int
    """The index of their requirements, -1: none."""
    lacks: str
    asked: float
    to: float = 0.0
    runtime_s: float = LEAST_RUNTIME_S
    """What they are known to take, with some to spare."""
    jobs: list[int] = field(default_factory=list)


def prescribe(state: State, request: Recover, cases: Iterable[Case]) -> Prescription:
    """Diagnoses the cases that are still as they were looked up, and decides about each. Raises Refused."""
    check_ceilings(request)
    places = {state.jobs.ids.find_one(case.job_id): case for case in cases}
    known = {job: places[job] for job in sorted(places) if job >= 0 and _is_as_it_was(state, job, places[job])}
    found = {job: diagnose(case) for job, case in known.items()}
    groups: dict[tuple[int, str], _Group] = {}
    why = {job: _consider(state, request, job, known[job], found[job], groups) for job in known}
    changes = {key: group for key, group in groups.items() if group.to > group.asked}
    needs = _name_needs(state.requirements, changes.values())
    given = {job: (group, need) for group, need in zip(changes.values(), needs, strict=True) for job in group.jobs}
    failures = np.flatnonzero(mask_of(FAILURES)[state.jobs.status])
    return Prescription(
        jobs=np.array([job for job, reason in why.items() if reason is None], dtype=np.int64),
        adjustments=tuple(_adjust(state, changes.values(), needs)),
        diagnoses=[_tell(known[job], found[job], why[job], given.get(job)) for job in known],
        missed=len(failures) - len(known),
    )


def _is_as_it_was(state: State, job: int, case: Case) -> bool:
    jobs = state.jobs
    return (int(jobs.status[job]), int(jobs.reason[job]), int(jobs.attempt[job])) == (
        case.status, case.reason, case.attempt,
    )  # fmt: skip


def _consider(
    state: State,
    request: Recover,
    job: int,
    case: Case,
    diagnosis: Diagnosis,
    groups: dict[tuple[int, str], _Group],
) -> str | None:
    """Why a job is left as it is, or None; one that is to get more of something joins its group."""
    finding = diagnosis.finding
    if finding in NEEDS_NO_CURE:
        return None
    if finding not in CURABLE:
        return None if request.retry_unknown else "unknown_cause"
    base = int(state.jobs.requirement[job])
    asked, used = _measure(state, base, case, finding)
    if finding == Finding.OUT_OF_MEMORY:
        ceiling = float(MAX_BYTES if request.max_memory is None else parse_memory(request.max_memory))
        factor, step = request.memory_multiplier, float(MIB)
        if not asked and not used:
            return None if request.retry_unknown else "no_request"
    else:
        ceiling = float(MAX_SECONDS) if request.max_runtime is None else parse_time(request.max_runtime)
        factor, step = request.runtime_multiplier, 1.0
        if not (asked or used) or (used < NEAR * asked and not had_all_the_time(case)):
            return None  # it was cut off early: what it asked for was not too little
    if asked >= ceiling or used > ceiling:
        return "at_ceiling"
    wanted = math.ceil(max(asked, used) * factor / step) * step
    group = groups.setdefault((base, FIELD[finding]), _Group(base, FIELD[finding], asked))
    group.to = max(group.to, min(wanted, ceiling))
    taken_s = float(math.ceil(min(case.exec_time_s * request.runtime_multiplier, MAX_SECONDS)))
    group.runtime_s = max(group.runtime_s, taken_s)
    group.jobs.append(job)
    return None


def check_ceilings(request: Recover) -> None:
    """Raises Refused for a ceiling that is no size or no time, also where nothing would meet it."""
    if request.max_memory is not None and parse_memory(request.max_memory) == 0:
        raise Refused("max_memory: a ceiling of no memory at all would let nothing run", value=request.max_memory)
    if request.max_runtime is not None and parse_time(request.max_runtime) == 0:
        raise Refused("max_runtime: a ceiling of no time at all would let nothing run", value=request.max_runtime)


def _measure(state: State, base: int, case: Case, finding: Finding) -> tuple[float, float]:
    """How much of what it ran out of a job asked for, and how much it is known to have used; 0: nothing."""
    need = None if base < 0 else state.requirements[base]
    if finding == Finding.OUT_OF_MEMORY:
        return need.memory_bytes if need else 0.0, case.peak_memory_bytes or share_of_worker(case)
    asked = need.runtime_s if need else 0.0
    return asked, case.exec_time_s or asked  # of an attempt that was lost nobody knows for how long it ran


def _adjust(state: State, groups: Iterable[_Group], needs: Iterable[Requirement]) -> Iterator[Adjustment]:
    """Gives each group its requirements; several may get the same, which are new but once."""
    names = {need.name for need in state.requirements}
    for group, need in zip(groups, needs, strict=True):
        yield Adjustment(jobs=np.array(group.jobs, dtype=np.int64), need=need, is_new=need.name not in names)
        names.add(need.name)


def _name_needs(present: Sequence[Requirement], groups: Iterable[_Group]) -> list[Requirement]:
    """The requirements that each group gets: those that are there already where they are just so, else new ones."""
    known = {need.name: need for need in present}
    needs = []
    for group in groups:
        base = NO_REQUIREMENT if group.base < 0 else present[group.base]
        stem = re.sub(r"_r\d+$", "", base.name) or UNNAMED
        number = 1
        while True:
            need = _give(replace(base, name=f"{stem}_r{number}"), group)
            if known.setdefault(need.name, need) == need:
                break
            number += 1
        needs.append(need)
    return needs


def _give(need: Requirement, group: _Group) -> Requirement:
    if group.lacks != FIELD[Finding.OUT_OF_MEMORY]:
        return replace(need, runtime_s=group.to)
    return replace(need, memory_bytes=int(group.to), runtime_s=group.runtime_s if group.base < 0 else need.runtime_s)


def _tell(case: Case, diagnosis: Diagnosis, why: str | None, given: tuple[_Group, Requirement] | None) -> Diagnosed:
    adjustments: dict[str, dict[str, float]] = {}
    if given is not None:
        group, need = given
        if group.base < 0:
            adjustments["runtime_s"] = {"from": 0.0, "to": need.runtime_s}
        adjustments[group.lacks] = {"from": group.asked, "to": getattr(need, group.lacks)}
    return Diagnosed(
        id=case.job_id,
        name=case.name,
        kind=diagnosis.finding.value,
        recoverable=why is None,
        why=why,
        evidence=diagnosis.evidence,
        adjustments=adjustments,
        resource_requirements=None if given is None else given[1].name,
    )
