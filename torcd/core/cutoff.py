"""Early cutoff: jobs that were reset only because something upstream runs again, and need not run (SEMANTICS 4.9).

When a reset makes a job wait, `find_candidates` says whether it may return to completed; when the last of its
upstream has ended, `find_returning` whether it does: when all that it takes is what its last attempt used.
"""

import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import definition_at
from torcd.core.fingerprint import find_definition_changes, read_definition
from torcd.core.state import State
from torcd.core.status import WAITING, Status, mask_of

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

NARROW = 64
"""Fewer jobs are examined one by one in plain Python: array steps would cost more, most of all along a chain."""

_NONE: Int64 = np.empty(0, dtype=np.int64)


def find_candidates(state: State, reset: Mask, has_own_reason: Mask, is_missing: Mask) -> Mask:
    """Which of the jobs that are reset may return to completed.

    They were completed (or wait already as such), have no reason of their own, their outputs are there, and
    whatever runs again directly upstream has outputs by which to tell that nothing changed. `is_missing`: a mask
    over files.
    """
    jobs, files, values = state.jobs, state.files, state.values
    waits = mask_of(WAITING)[jobs.status] & jobs.may_return
    may: Mask = reset & ~has_own_reason & ((jobs.status == Status.COMPLETED) | waits)
    if not may.any():
        return may
    may[files.producer[is_missing & (files.producer >= 0)]] = False
    has_outputs = np.diff(files.outputs.start) > 0
    for job, written in values.outputs_of.items():
        has_outputs[job] = True
        if any(values.is_ephemeral[index] or values.latest(index)[1] is None for index in written):
            may[job] = False
    upstream = state.graph.upstream
    tells_nothing = (reset & ~has_outputs)[upstream.items]
    may[upstream.owners()[tells_nothing]] = False
    return may


def find_returning(state: State, free: Int64) -> Int64:
    """Of blocked jobs that wait for nothing any more, those that return to completed, and all that follow them.

    A job that returns settles in turn, unchanged. Sorted.
    """
    frontier = free[state.jobs.may_return[free] & (state.bad[free] == 0)].tolist()
    if not frontier:
        return _NONE
    start, items = state.graph.downstream.start.data, state.graph.downstream.items.data
    waiting, bad = state.waiting.data, state.bad.data
    status, may_return = state.jobs.status.data, state.jobs.may_return.data
    blocked = int(Status.BLOCKED)
    found: list[int] = []
    settled: dict[int, int] = {}
    """Of jobs further down, how many of their upstream return."""
    while frontier:
        returning = _keep_unchanged(state, frontier)
        found += returning
        frontier = []
        for job in returning:
            for place in range(start[job], start[job + 1]):
                other = items[place]
                count = settled[other] = settled.get(other, 0) + 1
                if count == waiting[other] and status[other] == blocked and may_return[other] and not bad[other]:
                    frontier.append(other)
    return np.sort(np.array(found, dtype=np.int64))


def _keep_unchanged(state: State, jobs: list[int]) -> list[int]:
    """Those of which all that they take is what their last attempt used, and whose outputs are there."""
    if len(jobs) < NARROW:
        return [job for job in jobs if _is_unchanged(state, job)]
    several = np.array(jobs, dtype=np.int64)
    kept: list[int] = several[_are_unchanged(state, several)].tolist()
    return kept


def _are_unchanged(state: State, jobs: Int64) -> Mask:
    """Of each job: as `_is_unchanged`."""
    files, counter = state.files, state.jobs.counter[jobs]
    unchanged = np.ones(len(jobs), dtype=np.bool_)

    def rule_out(rows: NDArray[np.bool_], lengths: Int64) -> None:
        unchanged[np.repeat(np.arange(len(jobs)), lengths)[rows]] = False

    taken, lengths = files.inputs.gather(jobs)
    rule_out(files.version[taken] > np.repeat(counter, lengths), lengths)
    made, lengths = files.outputs.gather(jobs)
    rule_out(files.size[made] < 0, lengths)
    before, lengths = state.order.gather(jobs)
    left, of_each = files.outputs.gather(before)
    edge = np.repeat(np.arange(len(before)), of_each)
    is_newer = files.version[left] > np.repeat(counter, lengths)[edge]
    newer = np.zeros(len(before), dtype=np.bool_)
    newer[edge[is_newer]] = True
    rule_out(newer, lengths)
    if state.definitions or len(state.values.ids):
        rest = np.flatnonzero(unchanged)
        unchanged[rest] = [_has_same_values(state, job) for job in jobs[rest].tolist()]
    return unchanged


def _is_unchanged(state: State, job: int) -> bool:
    """Whether all that a job takes is what its last attempt used, and its outputs are there."""
    files, counter = state.files, int(state.jobs.counter[job])
    version, size = files.version.data, files.size.data
    return (
        all(version[file] <= counter for file in files.inputs.row(job).tolist())
        and all(size[file] >= 0 for file in files.outputs.row(job).tolist())
        and all(
            version[file] <= counter
            for before in state.order.row(job).tolist()
            for file in files.outputs.row(before).tolist()
        )
        and _has_same_values(state, job)
    )


def _has_same_values(state: State, job: int) -> bool:
    """Whether the definition and the user data of a job are those of its last attempt."""
    values, counter = state.values, int(state.jobs.counter[job])
    if job in state.definitions:
        versions = state.definitions[job]
        if find_definition_changes(definition_at(versions, counter), read_definition(versions[-1][1])):
            return False
    if not len(values.ids):
        return True
    written_before = [index for before in state.order.row(job).tolist() for index in values.outputs_of.get(before, ())]
    return all(
        values.digest_at(index, counter) == values.latest(index)[1]
        for index in (*state.takes_values.get(job, ()), *written_before)
    )
