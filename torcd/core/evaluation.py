"""What becomes of uninitialized jobs: ready, blocked, or canceled by an upstream failure (SEMANTICS §2)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torcd.core.graph import Graph
from torcd.core.propagation import find_closure
from torcd.core.state import State, count_dependencies
from torcd.core.status import Status, StatusReason


def evaluate(
    graph: Graph,
    status: NDArray[np.uint8],
    candidates: NDArray[np.int64],
    cancel_on_failure: NDArray[np.bool_],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The status and status reason of each candidate, which must be uninitialized in `status`.

    A job that an upstream failure cancels settles in turn: what follows from that is followed to the end.
    `status` is left as it is.
    """
    waiting, bad = count_dependencies(graph, status)
    found = np.zeros(len(status), dtype=np.uint8)
    found[candidates] = Status.BLOCKED
    free = candidates[waiting[candidates] == 0]
    spoiled = (bad[free] > 0) & cancel_on_failure[free]
    found[free[~spoiled]] = Status.READY
    todo = free[spoiled].tolist()
    found[free[spoiled]] = Status.CANCELED
    while todo:
        for other in graph.downstream.row(todo.pop()).tolist():
            waiting[other] -= 1
            if waiting[other] == 0 and found[other] == Status.BLOCKED:
                # it has a canceled upstream by now, so only its own wish decides
                found[other] = Status.CANCELED if cancel_on_failure[other] else Status.READY
                if cancel_on_failure[other]:
                    todo.append(other)
    final = found[candidates]
    reason = np.where(final == Status.CANCELED, StatusReason.UPSTREAM_FAILED, StatusReason.NONE)
    return final, reason.astype(np.uint8)


def held_canceled(state: State) -> NDArray[np.bool_]:
    """Jobs below a failure that stands: they do not run before it is gone, and until then make nothing stale."""
    is_canceled = state.jobs.status == Status.CANCELED
    held: NDArray[np.bool_] = is_canceled & (state.waiting == 0) & (state.bad > 0) & state.jobs.cancel_on_failure
    return held


class Placement(NamedTuple):
    """Jobs and what they become, as `Draft.place` takes them."""

    jobs: NDArray[np.int64]
    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]


def evaluate_downstream(state: State, roots: NDArray[np.int64]) -> Placement:
    """What follows downstream from statuses that `roots` have been given: the jobs that change by it.

    Evaluated anew are blocked and ready jobs, and those that an upstream failure canceled. It ends at disabled jobs:
    what depends on them does not depend on what is upstream of them.
    """
    status, reason = state.jobs.status, state.jobs.reason
    stops = status == Status.DISABLED
    stops[roots] = False
    closure = find_closure(state.graph, np.sort(roots), stops).jobs
    after = status[closure]
    waits = (after == Status.BLOCKED) | (after == Status.READY)
    waits |= (after == Status.CANCELED) & (reason[closure] == StatusReason.UPSTREAM_FAILED)
    jobs = closure[waits]
    reset = status.copy()
    reset[jobs] = Status.UNINITIALIZED
    after, after_reason = evaluate(state.graph, reset, jobs, state.jobs.cancel_on_failure)
    changed = (after != status[jobs]) | (
        (after_reason != reason[jobs]) & (after != Status.READY)
    )  # ready to be retried
    return Placement(jobs[changed], after[changed], after_reason[changed])
