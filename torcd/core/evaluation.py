"""What becomes of uninitialized jobs: ready, blocked, or canceled by an upstream failure (SEMANTICS §2)."""

import numpy as np
from numpy.typing import NDArray

from torcd.core.graph import Graph
from torcd.core.state import count_dependencies
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
