"""What is downstream of stale jobs, and why: the first root cause and the direct upstream it came through.

Jobs are numbered in topological order, so the "first" root cause is the smallest number. Staleness stops at
disabled jobs. Cost is linear in the nodes and edges reached: no path is walked twice.
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from torcd.core.graph import Graph

NONE = -1
SPARSE = 2_000
"""Up to this many roots the closure is first tried in plain Python; it gives up after as many edges times 10."""
MANY_LEVELS = 2_000
"""Above this many levels an array step for each level costs more than plain Python does."""


@dataclass(frozen=True, slots=True)
class Closure:
    """Stale jobs in topological order; `root` and `via` are -1 for a root cause without stale upstream."""

    jobs: NDArray[np.int64]
    root: NDArray[np.int64]
    via: NDArray[np.int64]


def find_closure(graph: Graph, roots: NDArray[np.int64], stops: NDArray[np.bool_]) -> Closure:
    """Everything downstream of `roots`, themselves included, never going into or past `stops`.

    `roots`: sorted job numbers without any of `stops`; `stops`: a mask over jobs.
    """
    many_levels = len(graph.levels) > MANY_LEVELS
    if many_levels or len(roots) <= SPARSE:
        limit = len(graph.downstream.items) + 1 if many_levels else SPARSE * 10
        closure = _closure_by_heap(graph, roots, stops, limit)
        if closure is not None:
            return closure
    return _closure_by_level(graph, roots, stops)


def _closure_by_heap(graph: Graph, roots: NDArray[np.int64], stops: NDArray[np.bool_], limit: int) -> Closure | None:
    """The closure in plain Python, or None once more than `limit` edges were seen."""
    start, items, stop = (
        graph.downstream.start.data,
        graph.downstream.items.data,
        stops.data,
    )
    own = roots.tolist()
    inherited: dict[int, tuple[int, int]] = {}
    first_root = {job: job for job in own}
    todo = list(own)
    heapify(todo)
    jobs: list[int] = []
    while todo:
        job = heappop(todo)
        jobs.append(job)
        root = first_root[job]
        limit -= start[job + 1] - start[job]
        if limit < 0:
            return None
        for place in range(start[job], start[job + 1]):
            other = items[place]
            if stop[other]:
                continue
            if other not in first_root:
                heappush(todo, other)
                first_root[other] = root
            elif root < first_root[other]:
                first_root[other] = root
            known = inherited.get(other)
            if known is None or root < known[0]:
                inherited[other] = (root, job)
    pairs = [inherited.get(job, (NONE, NONE)) for job in jobs]
    return Closure(
        jobs=np.array(jobs, dtype=np.int64),
        root=np.array([root for root, _ in pairs], dtype=np.int64),
        via=np.array([via for _, via in pairs], dtype=np.int64),
    )


def _closure_by_level(graph: Graph, roots: NDArray[np.int64], stops: NDArray[np.bool_]) -> Closure:
    """The closure with one array step for each level."""
    count = graph.count
    nothing = np.int64(np.iinfo(np.int64).max)
    first_root = np.full(count, nothing, dtype=np.int64)
    first_root[roots] = roots
    inherited = np.full(count, nothing, dtype=np.int64)  # root << 32 | via
    up = graph.upstream
    for low, high in zip(graph.levels[1:-1].tolist(), graph.levels[2:].tolist(), strict=True):
        begin, end = int(up.start[low]), int(up.start[high])
        sources = up.items[begin:end]
        causes = first_root[sources]
        packed = np.where(causes == nothing, nothing, (causes << 32) | sources)
        best = np.minimum.reduceat(packed, up.start[low:high] - begin)  # no empty rows above level 0
        best[stops[low:high]] = nothing
        inherited[low:high] = best
        reached = best != nothing
        first_root[low:high][reached] = np.minimum(first_root[low:high][reached], best[reached] >> 32)
    jobs = np.flatnonzero(first_root != nothing)
    packed = inherited[jobs]
    is_root = packed == nothing
    return Closure(
        jobs=jobs,
        root=np.where(is_root, NONE, packed >> 32),
        via=np.where(is_root, NONE, packed & 0xFFFFFFFF),
    )
