"""From the jobs that are stale by themselves to a plan: what follows downstream, and where each job ends up.

The one way from reasons to statuses: what an operation finds stale is its own business, what comes of it is here.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind, Reasons, join_reasons, make_reasons
from torcd.core.cutoff import find_candidates
from torcd.core.evaluation import evaluate, held_canceled
from torcd.core.observation import Observation
from torcd.core.plan import Plan
from torcd.core.propagation import NONE, find_closure
from torcd.core.purged import find_needed
from torcd.core.refusals import live_conflict
from torcd.core.state import State
from torcd.core.status import ENDED, LIVE, WAITING, Status, mask_of
from torcd.protocol.requests import Operation

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_NONE: Int64 = np.empty(0, dtype=np.int64)
_NO_RECORDS = Observation()


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What an operation found out about a workflow, and what it wants."""

    own: list[Reasons] = field(default_factory=list)
    """Why jobs are stale by themselves."""
    silent: Int64 = field(default_factory=lambda: _NONE)
    """Jobs that are reset without a reason."""
    renewing: Int64 = field(default_factory=lambda: _NONE)
    """Jobs that are not stale, but what is downstream of them is."""
    records: Observation = _NO_RECORDS
    """What is accepted of files."""
    purged: Mask | None = None
    """The files that are gone and may be, see `purged`."""
    missing: Mask | None = None
    """The files that were seen to be absent."""
    by_content: bool = False
    """Whether a job may be spared when what it takes turns out unchanged."""
    warnings: tuple[str, ...] = ()
    cause: str = ""
    run_id: int
    evaluates: bool
    """Whether uninitialized jobs become ready or blocked."""
    is_rerun: bool = False
    """Whether it counts only what is stale or asked for: not what is evaluated on the way (SEMANTICS §5, reinit)."""


def follow(state: State, request: Operation, findings: Findings) -> Plan:
    """Follows stale jobs downstream, resets, evaluates, and keeps what differs from the present."""
    status = state.jobs.status
    reasons = join_reasons([part for part in findings.own if len(part.job)])
    reset, reasons, needed = _spread(state, findings, reasons)
    live = np.flatnonzero(reset & mask_of(LIVE)[status])
    if len(live) and not request.stop_live:
        advice = "Wait for them, or use --stop-live to stop them"
        raise live_conflict(state, f"{request.NAME} would change", live, advice, options=["wait", "--stop-live"])

    after = np.where(reset, np.uint8(Status.UNINITIALIZED), status)
    after_reason = np.where(reset, np.uint8(0), state.jobs.reason)
    if findings.evaluates:
        candidates = np.flatnonzero((after == Status.UNINITIALIZED) | (after == Status.BLOCKED))
        after[candidates] = Status.UNINITIALIZED
        after[candidates], after_reason[candidates] = evaluate(
            state.graph, after, candidates, state.jobs.cancel_on_failure
        )
    waits = (after == Status.READY) & (status == Status.READY) & ~_find_renewed(findings, reasons, state.count)
    after_reason = np.where(waits, state.jobs.reason, after_reason)  # for its retry, perhaps
    changed = (after != status) | (after_reason != state.jobs.reason)
    changed[live] = True
    may_return = _find_returnable(state, findings, reset, reasons) & ~needed
    jobs = np.flatnonzero(changed)
    reasons = reasons.of(changed)
    has_reason = np.zeros(state.count, dtype=np.bool_)
    has_reason[reasons.job] = True
    counted = changed
    if findings.is_rerun:
        counted = has_reason & (status != Status.UNINITIALIZED)
        counted[reasons.job[reasons.kind == Kind.REQUESTED]] = True
    return Plan(
        operation=request.NAME,
        effect=request.effect(),
        run_id=findings.run_id,
        jobs=jobs,
        before=status[jobs],
        after=after[jobs],
        after_reason=after_reason[jobs],
        marked=np.flatnonzero(may_return & ~state.jobs.may_return),
        unmarked=np.flatnonzero(state.jobs.may_return & ~may_return),
        reasons=reasons,
        records=findings.records,
        cleared=_find_cleared(state, jobs, after) if findings.evaluates else _NONE,
        stopped=live,
        count=int(counted.sum()),
        spared=int((mask_of(ENDED)[status] & ~changed).sum()),
        cause=findings.cause,
        warnings=findings.warnings,
        clears_cancel=findings.evaluates
        and (findings.run_id > state.run_id or bool((after[jobs] == Status.READY).any())),
    )


def _spread(state: State, findings: Findings, reasons: Reasons) -> tuple[Mask, Reasons, Mask]:
    """The jobs that are reset, as a mask; all reasons; and the jobs that must make purged files again."""
    status = state.jobs.status
    stops = status == Status.DISABLED
    is_root = np.zeros(state.count, dtype=np.bool_)
    is_root[reasons.job[(reasons.kind == Kind.REQUESTED) | ~held_canceled(state)[reasons.job]]] = True
    is_root[findings.renewing] = True
    closure = find_closure(state.graph, np.flatnonzero(is_root), stops)
    makers = np.zeros(state.count, dtype=np.bool_)
    if findings.purged is not None and findings.purged.any():
        runs = np.zeros(state.count, dtype=np.bool_)
        runs[closure.jobs] = True
        runs[findings.silent] = True
        if findings.evaluates:
            runs |= mask_of(WAITING)[status]
        needed, makers = find_needed(state, findings.purged, runs)
        if len(needed.job):
            reasons = join_reasons([reasons, needed])
            is_root[needed.job] = True
            closure = find_closure(state.graph, np.flatnonzero(is_root), stops)
    inherited = closure.root != NONE
    upstream = make_reasons(
        Kind.UPSTREAM_STALE,
        closure.jobs[inherited],
        closure.root[inherited],
        old=(closure.via[inherited], np.zeros(int(inherited.sum()), dtype=np.int64)),
    )
    if len(upstream.job):
        reasons = join_reasons([reasons, upstream])
    reset = np.zeros(state.count, dtype=np.bool_)
    reset[reasons.job] = True
    reset[findings.silent] = True
    return reset, reasons, makers


def _find_renewed(findings: Findings, reasons: Reasons, count: int) -> Mask:
    """Jobs that start anew, and do not only go on from where they were."""
    renewed = np.zeros(count, dtype=np.bool_)
    renewed[reasons.job[reasons.kind != Kind.NOT_COMPLETED]] = True
    renewed[findings.silent] = True
    return renewed


def _find_returnable(state: State, findings: Findings, reset: Mask, reasons: Reasons) -> Mask:
    """Which jobs return to completed if what they take turns out unchanged; what is not reset keeps its mark."""
    kept: Mask = state.jobs.may_return & ~reset
    if not findings.by_content:
        return kept
    has_own = np.zeros(state.count, dtype=np.bool_)
    has_own[findings.silent] = True
    waits = mask_of(WAITING)[state.jobs.status[reasons.job]]
    is_own = (reasons.kind != Kind.UPSTREAM_STALE) & ~(waits & (reasons.kind == Kind.NOT_COMPLETED))
    has_own[reasons.job[is_own]] = True
    missing = state.files.size < 0
    if findings.missing is not None:
        missing |= findings.missing
    if findings.purged is not None:
        missing &= ~findings.purged
    return kept | find_candidates(state, reset, has_own, missing)


def _find_cleared(state: State, jobs: Int64, after: NDArray[np.uint8]) -> Int64:
    """The ephemeral user data of jobs that are going to run: their values end with the run that wrote them."""
    runs = np.zeros(state.count, dtype=np.bool_)
    runs[jobs] = (after[jobs] == Status.READY) | (after[jobs] == Status.BLOCKED)
    values = state.values
    cleared = [
        index
        for index, producer in enumerate(values.producer.tolist())
        if producer >= 0 and values.is_ephemeral[index] and runs[producer] and values.latest(index)[1] is not None
    ]
    return np.array(cleared, dtype=np.int64)
