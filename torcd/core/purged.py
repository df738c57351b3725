"""Files that may go missing (`on_missing: ignore`): their absence alone makes nothing stale.

A scratch purge may take such intermediates. Whoever made one runs again only when a job that is going to run needs it,
and with it whatever that job itself takes and is gone, and everything downstream of it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind, Reasons, make_reasons
from torcd.core.graph import sorted_unique
from torcd.core.observation import Observation
from torcd.core.state import ABSENT, State
from torcd.core.status import Status

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


def set_aside(state: State, seen: Observation) -> tuple[Observation, Mask]:
    """What was seen without the files that are gone and may be; and those, as a mask over files."""
    files = state.files
    purged = np.zeros(len(files.size), dtype=np.bool_)
    absent = np.flatnonzero(seen.size == ABSENT)
    chosen = seen.files[absent]
    gone = absent[files.may_be_missing[chosen] & (files.producer[chosen] >= 0)]
    if not len(gone):
        return seen, purged
    purged[seen.files[gone]] = True
    return seen.rows(~purged[seen.files]), purged


def find_taken(state: State, jobs: Mask) -> Mask:
    """The files that some jobs take, as a mask over files."""
    inputs = state.files.inputs
    taken = np.zeros(len(state.files.size), dtype=np.bool_)
    taken[inputs.items[jobs[inputs.owners()]]] = True
    return taken


class Needed(NamedTuple):
    """What has to be made again."""

    reasons: Reasons
    """Of the completed jobs that make it: each with one file and one job that needs it."""
    makers: Mask
    """All jobs that make it, also those that are going to run anyway: none of them may be spared."""


def find_needed(state: State, purged: Mask, runs: Mask) -> Needed:
    """The jobs that have to make purged files again.

    `runs`: a mask over the jobs that are going to run already; it is extended to all that follow. Linear in what is
    reached.
    """
    files, status = state.files, state.jobs.status
    taken = np.flatnonzero(purged[files.inputs.items] & runs[files.inputs.owners()])
    todo = sorted_unique(files.inputs.owners()[taken].astype(np.int64))[::-1].tolist()
    needs: dict[int, tuple[int, int]] = {}
    while todo:
        job = todo.pop()
        for file in files.inputs.row(job).tolist():
            maker = int(files.producer[file])
            if not purged[file] or maker in needs or (status[maker] != Status.COMPLETED and not runs[maker]):
                continue
            needs[maker] = file, job
            if not runs[maker]:
                todo += _spread(state, maker, runs)
    makers = np.zeros(state.count, dtype=np.bool_)
    makers[list(needs)] = True
    completed = [maker for maker in needs if status[maker] == Status.COMPLETED]
    columns = np.array([needs[maker] for maker in completed], dtype=np.int64).reshape(-1, 2)
    zero = np.zeros(len(completed), dtype=np.int64)
    jobs = np.array(completed, dtype=np.int64)
    return Needed(make_reasons(Kind.OUTPUT_NEEDED, jobs, columns[:, 0], old=(columns[:, 1], zero)), makers)


def _spread(state: State, job: int, runs: Mask) -> list[int]:
    """Marks a job and all downstream of it as going to run; those that were not yet."""
    new, found = [job], []
    runs[job] = True
    while new:
        reached = new.pop()
        found.append(reached)
        for other in state.graph.downstream.row(reached).tolist():
            if not runs[other] and state.jobs.status[other] != Status.DISABLED:
                runs[other] = True
                new.append(other)
    return found
