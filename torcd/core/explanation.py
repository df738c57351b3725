"""Why a job is where it is: what a reinit would find about it now, what it waits for, what operations decided.

Everything is data by index or id; names and texts are put to it where they are known.
"""

from bisect import bisect_left

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind
from torcd.core.plan import Other, Plan
from torcd.core.state import IS_SETTLED, State
from torcd.core.status import ENDED, LIVE, SETTLED, WAITING, Status, StatusReason

Int64 = NDArray[np.int64]


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a job waits for, or that keeps it from running."""

    kind: str
    """`dependency` (directly upstream), `behind` (further upstream, what they wait for in turn), `failed_upstream`,
    `not_evaluated`, `worker`, `no_worker`, `former_attempt`, `action`, `archived`."""
    job: int = -1
    worker_id: int = 0
    why: str = ""


def find_ancestors(state: State, job: int) -> Int64:
    """A job and everything upstream of it, in order."""
    start, items = state.graph.upstream.start.data, state.graph.upstream.items.data
    seen, todo = {job}, [job]
    while todo:
        below = todo.pop()
        for place in range(start[below], start[below + 1]):
            if items[place] not in seen:
                seen.add(items[place])
                todo.append(items[place])
    return np.array(sorted(seen), dtype=np.int64)


def find_related(state: State, job: int) -> Int64:
    """The jobs whose files a reinit's verdict on a job hangs on, in order: itself and what is upstream of it.

    Where one of them makes a file that may go missing, it hangs on who needs that, too, and on whether that has to run.
    """
    files, stops = state.files, state.jobs.status == Status.DISABLED
    makes = np.zeros(state.count, dtype=np.bool_)
    makes[files.producer[files.may_be_missing & (files.producer >= 0)]] = True
    makes &= ~stops
    if not makes.any():
        return find_ancestors(state, job)
    upstream, downstream = state.graph.upstream, state.graph.downstream
    seen, todo = {job}, [job]
    below: set[int] = set()
    """Downstream of one of those that make such a file."""
    while todo:
        at = todo.pop()
        if makes[at] or at in below:
            needing = [other for other in downstream.row(at).tolist() if other not in below and not stops[other]]
            below.update(needing)
            todo += needing
        new = [other for other in upstream.row(at).tolist() if other not in seen]
        seen.update(new)
        todo += new
    return np.array(sorted(seen | below), dtype=np.int64)


def files_around(state: State, jobs: Int64) -> Int64:
    """The files that some jobs take or leave behind."""
    chosen = np.zeros(len(state.files.size), dtype=np.bool_)
    chosen[state.files.inputs.gather(jobs)[0]] = True
    chosen[state.files.outputs.gather(jobs)[0]] = True
    return np.flatnonzero(chosen)


def find_path(plan: Plan, job: int) -> list[int]:
    """From the first root cause down to a stale job; only itself when it has none upstream, empty when not stale.

    Linear in the length of the path and the number of reasons, however deep the workflow is.
    """
    reasons = plan.reasons
    place = int(np.searchsorted(reasons.job, job))
    if place == len(reasons.job) or reasons.job[place] != job:
        return []
    rows = np.flatnonzero(reasons.kind == Kind.UPSTREAM_STALE)
    jobs, roots, vias = (column[rows].data for column in (reasons.job, reasons.ref, reasons.old_a))
    path = [job]
    while True:
        place = bisect_left(jobs, path[-1])
        if place == len(jobs) or jobs[place] != path[-1]:
            break
        path.append(vias[place])
        if vias[place] == roots[place]:
            break
    path.reverse()
    return path


def find_waits(state: State, job: int, ancestors: Int64) -> list[Wait]:
    """What keeps a job from running, as far as the workflow alone knows; what it waits for directly comes first."""
    status = int(state.jobs.status[job])
    if state.is_archived and status not in SETTLED:
        return [Wait(kind="archived")]
    upstream = state.graph.upstream.row(job).astype(np.int64)
    if status == Status.UNINITIALIZED:
        return [Wait(kind="not_evaluated")]
    if status == Status.CANCELED and state.jobs.reason[job] == StatusReason.UPSTREAM_FAILED:
        failed = np.isin(state.jobs.status[ancestors], (Status.FAILED, Status.TERMINATED))
        by_user = (state.jobs.status[ancestors] == Status.CANCELED) & (
            state.jobs.reason[ancestors] != StatusReason.UPSTREAM_FAILED
        )
        return [Wait(kind="failed_upstream", job=other) for other in ancestors[failed | by_user].tolist()]
    if status != Status.BLOCKED:
        return []
    direct = upstream[~IS_SETTLED[state.jobs.status[upstream]]]
    waits = [Wait(kind="dependency", job=other) for other in direct.tolist()]
    above = ancestors[ancestors != job]
    heads = np.isin(state.jobs.status[above], (Status.READY, Status.PENDING, Status.RUNNING, Status.UNINITIALIZED))
    behind = above[heads & ~np.isin(above, direct)]
    return waits + [Wait(kind="behind", job=other) for other in behind.tolist()]


PATH_ENDS = 10
"""So many jobs are told at either end of a long path: it may go through all of a workflow."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say about a job now."""

    verdict: str
    """`would_rerun` (a reinit would reset it), `up_to_date`, `not_retried` (it did not complete, and nothing that it
    takes has changed), `upstream_failed`, `waits`, `runs` or `disabled`."""
    path: list[int]
    """At most twice `PATH_ENDS`."""
    omitted: int
    """How many jobs of the path are left out in the middle of `path`."""
    waits: list[Wait]


def explain(state: State, plan: Plan, job: int, ancestors: Int64) -> Explained:
    """Puts together what a reinit's plan and the state say about a job."""
    status = int(state.jobs.status[job])
    path = find_path(plan, job) if status in ENDED else []
    waits = find_waits(state, job, ancestors)
    omitted = max(len(path) - 2 * PATH_ENDS, 0)
    return Explained(
        verdict=_judge(status, int(state.jobs.reason[job]), bool(path)),
        path=[*path[:PATH_ENDS], *path[-PATH_ENDS:]] if omitted else path,
        omitted=omitted,
        waits=waits,
    )


def _judge(status: int, reason: int, is_stale: bool) -> str:
    if is_stale:
        return "would_rerun"
    if status == Status.CANCELED and reason == StatusReason.UPSTREAM_FAILED:
        return "upstream_failed"
    if status in LIVE:
        return "runs"
    if status in WAITING:
        return "waits"
    if status == Status.DISABLED:
        return "disabled"
    return "up_to_date" if status == Status.COMPLETED else "not_retried"


def why_kept(operation: str, params: dict[str, object], other: Other) -> str:
    """Why an operation left a job as it was."""
    detects = operation == "reinit" or bool(params.get("reinitialize"))
    detects |= operation == "restart" and not params.get("only_uninitialized")
    match Status(other.status):
        case Status.DISABLED:
            return "disabled"
        case Status.PENDING | Status.RUNNING:
            return "runs"
        case Status.UNINITIALIZED | Status.BLOCKED | Status.READY:
            return "waits_already"
        case _ if not detects:
            return "not_selected"
        case Status.COMPLETED:
            return "up_to_date"
        case _:
            return "upstream_failed" if other.is_held else "unchanged_and_not_retried"
