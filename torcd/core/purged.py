"""Files that may go missing (`on_missing: ignore`): their absence alone makes nothing stale.

A scratch purge may take such intermediates. Whoever made one runs again only when a job that is going to run needs it,
and with it whatever that job itself takes and is gone, and everything downstream of it.
"""

import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind, Reasons, make_reasons
from torcd.core.observation import Observation
from torcd.core.state import ABSENT, State
from torcd.core.status import Status

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


def set_aside(state: State, seen: Observation) -> tuple[Observation, Mask]:
    """What was seen without the files that are gone and may be; and those, as a mask over files."""
    files = state.files
    may_be = files.may_be_missing[seen.files] & (files.producer[seen.files] >= 0)
    gone = (seen.size == ABSENT) & may_be
    purged = np.zeros(len(files.size), dtype=np.bool_)
    purged[seen.files[gone]] = True
    return (seen.rows(~gone) if gone.any() else seen), purged


def find_needed(state: State, purged: Mask, runs: Mask) -> Reasons:
    """The completed jobs that have to make purged files again, each with one file and one job that needs it.

    `runs`: a mask over the jobs that are going to run already; it is extended to all that follow. Linear in what is
    reached.
    """
    files, status, downstream = state.files, state.jobs.status, state.graph.downstream
    taken = np.flatnonzero(purged[files.inputs.items] & runs[files.inputs.owners()])
    todo = np.unique(files.inputs.owners()[taken])[::-1].tolist()
    makers: list[int] = []
    needs: list[tuple[int, int]] = []
    while todo:
        job = todo.pop()
        for file in files.inputs.row(job).tolist():
            maker = int(files.producer[file])
            if not purged[file] or runs[maker] or status[maker] != Status.COMPLETED:
                continue
            makers.append(maker)
            needs.append((file, job))
            new = [maker]
            runs[maker] = True
            while new:
                reached = new.pop()
                todo.append(reached)
                for other in downstream.row(reached).tolist():
                    if not runs[other] and status[other] != Status.DISABLED:
                        runs[other] = True
                        new.append(other)
    columns = np.array(needs, dtype=np.int64).reshape(-1, 2)
    zero = np.zeros(len(makers), dtype=np.int64)
    return make_reasons(Kind.OUTPUT_NEEDED, np.array(makers, dtype=np.int64), columns[:, 0], old=(columns[:, 1], zero))
