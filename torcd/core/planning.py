"""From a state and what a scan saw to a plan: one function for each operation (SEMANTICS §5).

Nothing here changes the state: a dry run and the real operation call the same functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from torcd.core.acceptance import plan_acceptance
from torcd.core.changes import History, Kind, Reasons, find_changes, make_reasons
from torcd.core.consequences import Findings, follow
from torcd.core.graph import sorted_unique
from torcd.core.observation import Observation, leave_to_workers, needs_recording
from torcd.core.plan import Plan
from torcd.core.propagation import find_closure
from torcd.core.purged import set_aside
from torcd.core.recovery import prescribe
from torcd.core.refusals import (
    accept_unknown,
    check_missing_inputs,
    check_missing_values,
    check_not_archived,
    check_purged,
    count_jobs,
    warn_of_disabled,
)
from torcd.core.selection import Selection, select_jobs
from torcd.core.state import IS_SETTLED, State
from torcd.core.status import BAD, ENDED, LIVE, WAITING, Status, StatusReason, mask_of
from torcd.core.undo import Step, plan_undo
from torcd.protocol.errors import Refused
from torcd.protocol.recover import Recover
from torcd.protocol.requests import (
    AcceptJobs,
    Initialize,
    Operation,
    Prepare,
    Reinit,
    ResetJobs,
    ResetStatus,
    Restart,
    Undo,
)

Int64 = NDArray[np.int64]
_NONE: Int64 = np.empty(0, dtype=np.int64)
DUE_TO_CHANGES = "due to changed inputs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What was looked up for a plan besides the state."""

    seen: Observation = field(default_factory=Observation)
    selection: Selection = field(default_factory=Selection)
    history: History = field(default_factory=dict)
    undo: tuple[Step, ...] = ()
    """What the last operation replaced, the newest step first."""


def make_plan(state: State, request: Operation, known: Known) -> Plan:
    """The plan of any operation; raises Refused or Conflict when it must not be carried out."""
    check_not_archived(state)
    known = replace(known, seen=leave_to_workers(state, known.seen))
    match request:
        case Initialize():
            return _plan_initialize(state, request, known)
        case Prepare():
            if state.run_id == 0:
                return _plan_initialize(state, request, known)
            return _plan_evaluation(state, request, known, "ready to run")
        case Reinit():
            return plan_rerun(state, request, known, own=[], cause=DUE_TO_CHANGES)
        case Restart(only_uninitialized=True):
            return _plan_evaluation(state, request, known, "from status uninitialized")
        case Restart():
            unfinished = _select(state, frozenset(Status) - {Status.COMPLETED, Status.FAILED, Status.DISABLED} - LIVE)
            own = _not_completed(state, unfinished)
            return plan_rerun(state, request, known, own=[own], cause="due to unfinished jobs or changed inputs")
        case ResetStatus() | ResetJobs():
            return _plan_reset(state, request, known)
        case AcceptJobs():
            return plan_acceptance(state, request, known.seen, select_jobs(state, request, known.selection))
        case Recover():
            return _plan_recover(state, request, known)
        case Undo():
            return plan_undo(state, request, known.undo)
        case _:
            raise TypeError(f"no plan for {type(request).__name__}")


def detects_content(state: State, request: Operation) -> bool:
    """Whether changes are told by content (SEMANTICS 4.9): as the request says, else as the workflow does."""
    return (getattr(request, "detect", None) or state.detect) == "content"


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
    return state.run_id == 0 or bool(state.counts[Status.UNINITIALIZED]) or len(_find_returnable(state)) > 0


def _find_returnable(state: State) -> Int64:
    """Jobs that wait and may return to completed without running."""
    return np.flatnonzero(state.jobs.may_return & mask_of(WAITING)[state.jobs.status])


def files_to_observe(state: State, request: Operation, selection: Selection) -> Int64:
    """The files that the operation must look at: all of them, or those that its jobs take, or leave behind."""
    count = len(state.files.size)
    if needs_scan(request, state.run_id):
        return np.arange(count, dtype=np.int64)
    if isinstance(request, ResetStatus | ResetJobs | Undo):
        return _NONE
    chosen = np.zeros(count, dtype=np.bool_)
    if isinstance(request, AcceptJobs):
        jobs = select_jobs(state, request, selection)
        chosen[state.files.outputs.gather(jobs)[0]] = True
    else:  # the inputs of uninitialized jobs (5.1); and of all, when some may have to be made again
        jobs = np.flatnonzero(state.jobs.status == Status.UNINITIALIZED)
        if isinstance(request, Recover):
            recovered = prescribe(state, request, selection.cases).jobs
            stops = state.jobs.status == Status.DISABLED
            jobs = np.concatenate((jobs, find_closure(state.graph, recovered, stops).jobs))
        chosen[:] = state.files.may_be_missing.any()
        if isinstance(request, Prepare):
            chosen[_files_of_returnable(state)] = True
    chosen[state.files.inputs.gather(jobs)[0]] = True
    return np.flatnonzero(chosen)


def _files_of_returnable(state: State) -> Int64:
    """What decides whether jobs return to completed and has had time to change since it was looked at.

    Their outputs, and their inputs but for those that an unfinished job writes.
    """
    jobs, producer = _find_returnable(state), state.files.producer
    taken = state.files.inputs.gather(jobs)[0]
    is_written = (producer[taken] >= 0) & ~IS_SETTLED[state.jobs.status[producer[taken]]]
    return np.concatenate([taken[~is_written], state.files.outputs.gather(jobs)[0]])


# ---- the operations ----


def _plan_initialize(state: State, request: Operation, known: Known) -> Plan:
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
    seen = accept_unknown(state, request, known.seen, warnings)
    check_missing_inputs(state, request, seen, warnings)
    check_missing_values(state, request, warnings)
    return follow(
        state,
        request,
        Findings(
            silent=_select(state, frozenset(Status) - {Status.DISABLED}),
            records=seen.rows(needs_recording(state.files, seen)),
            warnings=tuple(warnings),
            run_id=state.run_id + 1,
            evaluates=True,
        ),
    )


def _plan_recover(state: State, request: Recover, known: Known) -> Plan:
    """Jobs whose failure may be cured run again, with everything downstream; they ask for more of what they lacked."""
    prescription = prescribe(state, request, known.selection.cases)
    failures = len(prescription.diagnoses)
    cause = f"of {failures} that failed or {'was' if failures == 1 else 'were'} terminated"
    plan = _plan_evaluation(state, request, known, cause, [_not_completed(state, prescription.jobs)])
    missed = (f"{count_jobs(prescription.missed)} failed while the others were looked at: recover again",)
    return replace(
        plan,
        adjustments=prescription.adjustments,
        diagnoses=prescription.diagnoses,
        warnings=plan.warnings + (missed if prescription.missed else ()),
    )


def _plan_evaluation(state: State, request: Operation, known: Known, cause: str, own: Sequence[Reasons] = ()) -> Plan:
    """Uninitialized jobs, and those with a reason of their `own`, become ready or blocked.

    What was seen of their inputs is accepted.
    """
    warnings: list[str] = []
    seen = accept_unknown(state, request, known.seen, warnings)
    kept, purged = set_aside(state, seen)
    if isinstance(request, Restart):  # nothing but uninitialized jobs is touched
        check_purged(state, request, purged, warnings)
        purged[:] = False
    plan = follow(
        state,
        request,
        Findings(
            own=list(own),
            records=kept.rows(needs_recording(state.files, kept)),
            purged=purged,
            by_content=detects_content(state, request),
            cause=cause,
            run_id=state.run_id,
            evaluates=True,
            is_rerun=isinstance(request, Recover),
        ),
    )
    runs = np.zeros(state.count, dtype=np.bool_)
    runs[plan.jobs] = True  # those that stay as they are miss nothing
    check_missing_inputs(state, request, seen, warnings, runs)
    return replace(plan, warnings=tuple(warnings))


def plan_rerun(state: State, request: Operation, known: Known, own: list[Reasons], cause: str) -> Plan:
    """reinit, and whatever continues as one: changes and `own` reasons, and all that is downstream."""
    warnings: list[str] = []
    seen = accept_unknown(state, request, known.seen, warnings)
    check_missing_inputs(state, request, seen, warnings)
    check_missing_values(state, request, warnings)
    missing = np.zeros(len(state.files.size), dtype=np.bool_)
    missing[seen.absent] = True
    seen, purged = set_aside(state, seen)
    changes = find_changes(state, seen, known.history)
    return follow(
        state,
        request,
        Findings(
            own=[*changes.reasons, *own],
            renewing=_find_renewing(state),
            records=changes.records,
            purged=purged,
            missing=missing,
            by_content=detects_content(state, request),
            warnings=tuple(warnings),
            cause=cause,
            run_id=state.run_id + 1,
            evaluates=True,
            is_rerun=not isinstance(request, Restart),
        ),
    )


def _not_completed(state: State, unfinished: Int64) -> Reasons:
    status, reason = (column[unfinished].astype(np.int64) for column in (state.jobs.status, state.jobs.reason))
    return make_reasons(Kind.NOT_COMPLETED, unfinished, status, old=(reason, np.zeros_like(reason)))


def _find_renewing(state: State) -> Int64:
    """Jobs that have yet to run at all though one that depends on them has ended: an update put them before it."""
    jobs = state.jobs
    outrun = np.flatnonzero(mask_of(ENDED)[jobs.status] & (state.waiting > 0))
    upstream = sorted_unique(state.graph.upstream.gather(outrun)[0].astype(np.int64))
    never_ran: Int64 = upstream[~IS_SETTLED[jobs.status[upstream]] & (jobs.counter[upstream] < 0)]
    return never_ran


def _plan_reset(state: State, request: ResetStatus | ResetJobs, known: Known) -> Plan:
    """Jobs become uninitialized, with everything downstream; with `reinitialize` it goes on as reinit."""
    status = state.jobs.status
    warnings: list[str] = []
    if isinstance(request, ResetJobs):
        chosen, cause = select_jobs(state, request, known.selection), "on request"
        warn_of_disabled(state, chosen, warnings)
    elif request.failed_only:
        failed = mask_of(BAD)[status]
        by_user = (status == Status.CANCELED) & (state.jobs.reason != StatusReason.UPSTREAM_FAILED)
        chosen, cause = np.flatnonzero(failed & ~by_user), "due to failures"
    else:
        chosen, cause = _select(state, frozenset(Status) - {Status.DISABLED}), "on request"
    own = [make_reasons(Kind.REQUESTED, chosen[status[chosen] != Status.DISABLED])]
    if request.reinitialize:
        plan = plan_rerun(state, request, known, own=own, cause=cause)
        return replace(plan, warnings=(*warnings, *plan.warnings))
    return follow(
        state,
        request,
        Findings(
            own=own,
            by_content=detects_content(state, request),
            cause=cause,
            run_id=state.run_id,
            evaluates=False,
            warnings=tuple(warnings),
        ),
    )


def _select(state: State, statuses: frozenset[Status]) -> Int64:
    return np.flatnonzero(mask_of(statuses)[state.jobs.status])
