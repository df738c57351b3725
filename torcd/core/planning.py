"""From a state and what a scan saw to a plan: one function for each operation (SEMANTICS §5).

Nothing here changes the state: a dry run and the real operation call the same functions.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import (
    Changes,
    Kind,
    Observation,
    Reasons,
    find_changes,
    join_reasons,
    make_reasons,
)
from torcd.core.evaluation import evaluate
from torcd.core.plan import Plan
from torcd.core.propagation import NONE, find_closure
from torcd.core.refusals import (
    SHOWN,
    accept_unknown,
    check_missing_inputs,
    check_missing_values,
    count_jobs,
    live_conflict,
)
from torcd.core.state import State
from torcd.core.status import BAD, ENDED, LIVE, Status, StatusReason, mask_of, statuses_named
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.requests import Initialize, Operation, Prepare, Reinit, ResetJobs, ResetStatus, Restart

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_NONE: Int64 = np.empty(0, dtype=np.int64)
DUE_TO_CHANGES = "due to changed inputs"


@dataclass(frozen=True, slots=True)
class Selection:
    """Results of look-ups that a request asks for: (job id, attempt) pairs with the return code it names."""

    job_ids: Int64 = field(default_factory=lambda: _NONE)
    attempts: Int64 = field(default_factory=lambda: _NONE)
    statuses: Int64 = field(default_factory=lambda: _NONE)
    """The statuses of the results of those attempts."""


def make_plan(state: State, request: Operation, seen: Observation, selection: Selection) -> Plan:
    """The plan of any operation; raises Refused or Conflict when it must not be carried out."""
    if state.is_archived:
        raise Refused(f"workflow {state.workflow_id} is archived: unarchive it first", workflow_id=state.workflow_id)
    match request:
        case Initialize():
            return _plan_initialize(state, request, seen)
        case Prepare():
            if state.run_id == 0:
                return _plan_initialize(state, request, seen)
            return _plan_evaluation(state, request, seen, "ready to run")
        case Reinit():
            return _plan_rerun(state, request, seen, own=[], cause=DUE_TO_CHANGES)
        case Restart(only_uninitialized=True):
            return _plan_evaluation(state, request, seen, "from status uninitialized")
        case Restart():
            unfinished = _select(state, frozenset(Status) - {Status.COMPLETED, Status.FAILED, Status.DISABLED})
            unfinished = unfinished[~mask_of(LIVE)[state.jobs.status[unfinished]]]
            own = make_reasons(Kind.NOT_COMPLETED, unfinished, state.jobs.status[unfinished].astype(np.int64))
            return _plan_rerun(state, request, seen, own=[own], cause="due to unfinished jobs or changed inputs")
        case ResetStatus() | ResetJobs():
            return _plan_reset(state, request, seen, selection)
        case _:
            raise TypeError(f"no plan for {type(request).__name__}")


def needs_scan(request: Operation, run_id: int) -> bool:
    """Whether an operation compares every file with its record."""
    match request:
        case Initialize() | Reinit():
            return True
        case Prepare():
            return run_id == 0
        case Restart():
            return not request.only_uninitialized
        case ResetStatus() | ResetJobs():
            return request.reinitialize
        case _:
            return False


def needs_preparing(state: State) -> bool:
    """Whether there is anything for `prepare` to do before jobs run."""
    return state.run_id == 0 or bool(state.counts[Status.UNINITIALIZED])


def files_to_observe(state: State, request: Operation) -> Int64:
    """The files that the operation must look at: all of them, or the inputs of uninitialized jobs (5.1)."""
    if needs_scan(request, state.run_id):
        return np.arange(len(state.files.size), dtype=np.int64)
    if isinstance(request, ResetStatus | ResetJobs):
        return _NONE
    jobs = np.flatnonzero(state.jobs.status == Status.UNINITIALIZED)
    taken = np.zeros(len(state.files.size), dtype=np.bool_)
    taken[state.files.inputs.gather(jobs)[0]] = True
    return np.flatnonzero(taken)


# ---- the operations ----


def _plan_initialize(state: State, request: Operation, seen: Observation) -> Plan:
    """Every job but the disabled ones starts anew; every file is recorded as it is."""
    completed = int(state.counts[Status.COMPLETED])
    if completed and not request.force:
        raise Refused(
            f"workflow {state.workflow_id} has {count_jobs(completed)} that completed, which initialize would run "
            "again. Use `workflows reinit` to rerun what changed, `workflows reset-status` to rerun all, or "
            "--force",
            workflow_id=state.workflow_id,
            completed=completed,
        )
    warnings: list[str] = []
    seen = accept_unknown(state, request, seen, warnings)
    check_missing_inputs(state, request, seen, warnings)
    check_missing_values(state, request, warnings)
    chosen = np.flatnonzero(state.jobs.status != Status.DISABLED)
    return _finish(state, request, seen, [], chosen, warnings, cause="", run_id=state.run_id + 1, evaluates=True)


def _plan_evaluation(state: State, request: Operation, seen: Observation, cause: str) -> Plan:
    """Uninitialized jobs become ready or blocked; what was seen of their inputs is accepted."""
    warnings: list[str] = []
    seen = accept_unknown(state, request, seen, warnings)
    check_missing_inputs(state, request, seen, warnings)
    return _finish(state, request, seen, [], _NONE, warnings, cause=cause, run_id=state.run_id, evaluates=True)


def _plan_rerun(state: State, request: Operation, seen: Observation, own: list[Reasons], cause: str) -> Plan:
    """reinit, and whatever continues as one: changes and `own` reasons, and all that is downstream."""
    warnings: list[str] = []
    seen = accept_unknown(state, request, seen, warnings)
    check_missing_inputs(state, request, seen, warnings)
    check_missing_values(state, request, warnings)
    changes = find_changes(state, seen)
    return _finish(
        state,
        request,
        seen,
        [*changes.reasons, *own],
        _NONE,
        warnings,
        cause=cause,
        run_id=state.run_id + 1,
        evaluates=True,
        changes=changes,
    )


def _plan_reset(state: State, request: ResetStatus | ResetJobs, seen: Observation, selection: Selection) -> Plan:
    """Jobs become uninitialized, with everything downstream; with `reinitialize` it goes on as reinit."""
    status = state.jobs.status
    if isinstance(request, ResetJobs):
        chosen, cause = _named_jobs(state, request, selection), "on request"
    elif request.failed_only:
        failed = mask_of(BAD)[status]
        by_user = (status == Status.CANCELED) & (state.jobs.reason != StatusReason.UPSTREAM_FAILED)
        chosen, cause = np.flatnonzero(failed & ~by_user), "due to failures"
    else:
        chosen, cause = _select(state, frozenset(Status) - {Status.DISABLED}), "on request"
    chosen = chosen[status[chosen] != Status.DISABLED]
    own = [make_reasons(Kind.REQUESTED, chosen)]
    if request.reinitialize:
        return _plan_rerun(state, request, seen, own=own, cause=cause)
    return _finish(state, request, seen, own, _NONE, [], cause=cause, run_id=state.run_id, evaluates=False)


def _named_jobs(state: State, request: ResetJobs, selection: Selection) -> Int64:
    """The jobs that a `jobs reset-status` names or selects; all or nothing."""
    named = state.jobs.ids.find(np.array(request.jobs, dtype=np.int64))
    unknown = [job_id for job_id, index in zip(request.jobs, named.tolist(), strict=True) if index < 0]
    if unknown:
        raise NotFound(
            f"workflow {state.workflow_id} has no job {', '.join(map(str, unknown[:SHOWN]))}; nothing was changed",
            noun="job",
            id=unknown[0],
            ids=unknown[:1000],
        )
    mask = np.zeros(state.count, dtype=np.bool_)
    mask[named] = True
    if request.status is not None:
        statuses = statuses_named(request.status)
        if not statuses:
            raise Refused(f"there is no status {request.status!r}", field="status", value=request.status)
        mask |= np.isin(state.jobs.status, statuses)
    found = state.jobs.ids.find(selection.job_ids)
    status = state.jobs.status[found]
    is_current = mask_of(ENDED)[status] & (state.jobs.attempt[found] == selection.attempts)
    is_current &= (status != Status.CANCELED) | (selection.statuses == Status.CANCELED)  # else reset, then canceled
    mask[found[is_current]] = True
    return np.flatnonzero(mask)


# ---- what they share ----


def _finish(
    state: State,
    request: Operation,
    seen: Observation,
    own: list[Reasons],
    reset_silently: Int64,
    warnings: list[str],
    *,
    cause: str,
    run_id: int,
    evaluates: bool,
    changes: Changes | None = None,
) -> Plan:
    """Follows stale jobs downstream, resets, evaluates, and keeps what differs from the present."""
    status = state.jobs.status
    stops = status == Status.DISABLED
    reasons = join_reasons([part for part in own if len(part.job)])
    is_root = np.zeros(state.count, dtype=np.bool_)
    is_root[reasons.job] = True
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
    reset[closure.jobs] = True
    reset[reset_silently] = True
    live = np.flatnonzero(reset & mask_of(LIVE)[status])
    if len(live) and not request.stop_live:
        raise live_conflict(state, request, live)

    after = np.where(reset, np.uint8(Status.UNINITIALIZED), status)
    after_reason = np.where(reset, np.uint8(0), state.jobs.reason)
    if evaluates:
        candidates = np.flatnonzero((after == Status.UNINITIALIZED) | (after == Status.BLOCKED))
        after[candidates] = Status.UNINITIALIZED
        after[candidates], after_reason[candidates] = evaluate(
            state.graph, after, candidates, state.jobs.cancel_on_failure
        )
    changed = (after != status) | (after_reason != state.jobs.reason)
    changed[live] = True
    jobs = np.flatnonzero(changed)
    kept = changed[reasons.job]
    reasons = _filter(reasons, kept)
    files = changes or _records(state, seen)
    has_reason = np.zeros(state.count, dtype=np.bool_)
    has_reason[reasons.job] = True
    counted = has_reason & (status != Status.UNINITIALIZED) if isinstance(request, Reinit) else changed
    ended = mask_of(ENDED)[status]
    return Plan(
        operation=request.NAME,
        effect=request.effect(),
        run_id=run_id,
        jobs=jobs,
        before=status[jobs],
        after=after[jobs],
        after_reason=after_reason[jobs],
        reasons=reasons,
        files=files.files,
        mtime_ns=files.mtime_ns,
        size=files.size,
        stopped=live,
        count=int(counted.sum()),
        spared=int((ended & ~changed).sum()),
        cause=cause,
        warnings=tuple(warnings),
        clears_cancel=evaluates and (run_id > state.run_id or bool((after[jobs] == Status.READY).any())),
    )


def _records(state: State, seen: Observation) -> Changes:
    """The records to accept when no change makes anything stale."""
    differs = (state.files.mtime_ns[seen.files] != seen.mtime_ns) | (state.files.size[seen.files] != seen.size)
    return Changes(
        files=seen.files[differs],
        mtime_ns=seen.mtime_ns[differs],
        size=seen.size[differs],
        reasons=[],
    )


def _filter(reasons: Reasons, kept: Mask) -> Reasons:
    if kept.all():
        return reasons
    return Reasons(
        job=reasons.job[kept],
        kind=reasons.kind[kept],
        ref=reasons.ref[kept],
        old_a=reasons.old_a[kept],
        old_b=reasons.old_b[kept],
        new_a=reasons.new_a[kept],
        new_b=reasons.new_b[kept],
        details=reasons.details,
    )


def _select(state: State, statuses: frozenset[Status]) -> Int64:
    return np.flatnonzero(mask_of(statuses)[state.jobs.status])
