"""Accepting jobs as they are: the present files, definitions and user data become their baseline, without a run.

For whoever knows that a change does not matter, or has made the outputs by hand. Refused where an output is absent.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind, join_reasons, make_reasons
from torcd.core.draft import Draft
from torcd.core.evaluation import evaluate_downstream
from torcd.core.observation import Observation, needs_recording
from torcd.core.plan import Plan
from torcd.core.refusals import SHOWN, accept_unknown, count_jobs, live_conflict, name_jobs
from torcd.core.state import ABSENT, NEVER, State
from torcd.core.status import LIVE, Status, StatusReason, mask_of
from torcd.protocol.errors import Refused
from torcd.protocol.requests import AcceptJobs

Int64 = NDArray[np.int64]


def plan_acceptance(state: State, request: AcceptJobs, seen: Observation, chosen: Int64) -> Plan:
    """The plan of `jobs accept`: the chosen jobs, and those downstream that wait for nothing any more."""
    if not request.reason.strip():
        raise Refused("say why the jobs are accepted: --reason TEXT", field="reason", value=request.reason)
    _check_statuses(state, chosen)
    warnings: list[str] = []
    seen = accept_unknown(state, request, seen, warnings)
    _check_outputs(state, seen, chosen)
    _check_values(state, chosen)
    after, after_reason = _simulate(state, seen, chosen)
    changed = after != state.jobs.status
    changed[chosen] = True
    jobs = np.flatnonzero(changed)
    is_chosen = np.zeros(state.count, dtype=np.bool_)
    is_chosen[chosen] = True
    others = jobs[~is_chosen[jobs]]
    return Plan(
        operation=request.NAME,
        effect=request.effect(),
        run_id=state.run_id,
        jobs=jobs,
        before=state.jobs.status[jobs],
        after=after[jobs],
        after_reason=after_reason[jobs],
        reasons=join_reasons(
            [
                make_reasons(Kind.ACCEPTED, chosen, 0, details=(("accepted", request.reason, request.requested_by),)),
                make_reasons(Kind.UPSTREAM_SETTLED, others, _last_upstream(state, others, is_chosen)),
            ]
        ),
        count=len(chosen),
        spared=0,
        cause="as they are" if len(chosen) != 1 else "as it is",
        records=seen.rows(needs_recording(state.files, seen)),
        accepted=chosen,
        warnings=tuple(warnings),
    )


def _check_statuses(state: State, chosen: Int64) -> None:
    status = state.jobs.status[chosen]
    live, disabled = chosen[mask_of(LIVE)[status]], chosen[status == Status.DISABLED]
    if len(live):
        raise live_conflict(state, "accepting would change", live, "Wait for them to end")
    if len(disabled):
        raise Refused(
            f"{count_jobs(len(disabled))} to be accepted are disabled: {name_jobs(state, disabled)}. Enable them "
            "first; nothing was changed",
            workflow_id=state.workflow_id,
            jobs=state.jobs.ids.ids[disabled[:1000]].tolist(),
        )


def _check_outputs(state: State, seen: Observation, chosen: Int64) -> None:
    made, _ = state.files.outputs.gather(chosen)
    size = state.files.size.copy()
    size[seen.files] = seen.size
    absent = made[(size[made] == ABSENT) | (size[made] == NEVER)]
    if len(absent):
        paths = [state.files.path(file).decode(errors="surrogateescape") for file in absent[:SHOWN].tolist()]
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        raise Refused(
            f"{len(absent)} output(s) of the jobs to be accepted do not exist: {', '.join(paths)}{more}. Make them, or "
            "let the jobs run; nothing was changed",
            workflow_id=state.workflow_id,
            paths=paths,
            count=len(absent),
        )


def _check_values(state: State, chosen: Int64) -> None:
    values = state.values
    unset = [
        values.names[index]
        for job in chosen.tolist()
        for index in values.outputs_of.get(job, ())
        if values.latest(index)[1] is None
    ]
    if unset:
        raise Refused(
            f"{len(unset)} user data that the jobs to be accepted should have written have no value: "
            f"{', '.join(unset[:SHOWN])}. Set them with `user-data update`; nothing was changed",
            workflow_id=state.workflow_id,
            user_data=unset[:SHOWN],
        )


def _simulate(state: State, seen: Observation, chosen: Int64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The statuses and reasons of all jobs after the acceptance, with whatever follows from it."""
    jobs, files = state.jobs, state.files
    copy = replace(
        state,
        jobs=replace(
            jobs,
            status=jobs.status.copy(),
            reason=jobs.reason.copy(),
            worker=jobs.worker.copy(),
            counter=jobs.counter.copy(),
            retries=jobs.retries.copy(),
        ),
        files=replace(
            files,
            mtime_ns=files.mtime_ns.copy(),
            size=files.size.copy(),
            digest=files.digest.copy(),
            is_racy=files.is_racy.copy(),
            version=files.version.copy(),
        ),
    )
    draft = Draft(copy, 0)
    draft.record(seen)
    draft.rebase(chosen)
    draft.move(chosen, Status.COMPLETED, StatusReason.ACCEPTED)
    placement = evaluate_downstream(copy, chosen)  # what their failures had canceled waits again
    if len(placement.jobs):
        draft.place(*placement)
    return copy.jobs.status, copy.jobs.reason


def _last_upstream(state: State, jobs: Int64, is_chosen: NDArray[np.bool_]) -> Int64:
    """Of each job, the first upstream that is accepted, or else its first upstream."""
    found = []
    for job in jobs.tolist():
        upstream = state.graph.upstream.row(job).tolist()
        found.append(next((each for each in upstream if is_chosen[each]), upstream[0]))
    return np.array(found, dtype=np.int64)
