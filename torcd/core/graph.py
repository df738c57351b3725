"""The dependency graph of a workflow as arrays.

Jobs are numbered in topological order, level by level, so that an array over jobs is always in the order in
which a plan lists them. The graph knows neither ids nor statuses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

NARROW = 200
"""Below this many jobs a frontier is walked in plain Python: a numpy step costs 10 to 20 microseconds."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Compressed sparse rows: row `i` is `items[start[i]:start[i + 1]]`."""

    start: Int64
    items: Int32

    def row(self, index: int) -> Int32:
        """The items of one row."""
        return self.items[self.start[index] : self.start[index + 1]]

    def gather(self, rows: NDArray[np.integer]) -> tuple[Int32, Int64]:
        """The items of several rows, joined, and the length of each row."""
        lengths = self.start[rows + 1] - self.start[rows]
        total = int(lengths.sum())
        if total == 0:
            return np.empty(0, dtype=np.int32), lengths
        ends = np.cumsum(lengths)
        places = np.arange(total, dtype=np.int64) + np.repeat(self.start[rows] - (ends - lengths), lengths)
        return self.items[places], lengths

    def owners(self) -> Int32:
        """The row number of each item."""
        return np.repeat(np.arange(len(self.start) - 1, dtype=np.int32), np.diff(self.start))


def make_rows(pairs: Int64, count: int) -> Rows:
    """Rows of sorted packed pairs `row << 32 | item`; `count` rows."""
    start = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs >> 32, minlength=count), out=start[1:])
    return Rows(start=start, items=(pairs & 0xFFFFFFFF).astype(np.int32))


def pack(rows: NDArray[np.integer], items: NDArray[np.integer]) -> Int64:
    """Pairs as single numbers that sort by row, then item."""
    return (rows.astype(np.int64) << 32) | items.astype(np.int64)


def sorted_unique(values: Int64) -> Int64:
    """Sorted values, each once (np.unique is hash based and many times slower here)."""
    values = np.sort(values)
    if len(values) < 2:
        return values
    keep = np.empty(len(values), dtype=np.bool_)
    keep[0] = True
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values[keep]


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges between jobs, both ways; every edge goes from a smaller number to a larger one."""

    downstream: Rows
    upstream: Rows
    levels: Int64
    """Level `k` is the jobs `levels[k]` to `levels[k + 1]`; jobs of a level do not depend on one another."""

    @property
    def count(self) -> int:
        """The number of jobs."""
        return len(self.downstream.start) - 1


class Cyclic(Exception):
    """The edges hold a cycle: such a workflow cannot have been created by this program."""


def find_levels(count: int, edges: Int64) -> Int32:
    """The level of each job: 0 without dependencies, else one more than its highest upstream's.

    `edges`: packed upstream << 32 | downstream, sorted, each once. Raises Cyclic.
    """
    downstream = make_rows(edges, count)
    waiting = np.bincount(downstream.items, minlength=count).astype(np.int64)
    level = np.zeros(count, dtype=np.int32)
    frontier: NDArray[np.int64] = np.flatnonzero(waiting == 0)
    seen, depth = 0, 0
    while len(frontier):
        if len(frontier) < NARROW:
            walked, depth, frontier = _walk_narrow(frontier, downstream, waiting, level, depth)
            seen += walked
            continue
        seen += len(frontier)
        level[frontier] = depth
        items, _ = downstream.gather(frontier)
        if len(items) * 8 > count:
            waiting -= np.bincount(items, minlength=count)
            touched = np.zeros(count, dtype=np.bool_)
            touched[items] = True
            frontier = np.flatnonzero(touched & (waiting == 0))
        else:
            np.subtract.at(waiting, items, 1)
            frontier = sorted_unique(items[waiting[items] == 0].astype(np.int64))
        depth += 1
    if seen != count:
        raise Cyclic(f"{count - seen} jobs depend on themselves")
    return level


def _walk_narrow(
    frontier: NDArray[np.int64], downstream: Rows, waiting: Int64, level: Int32, depth: int
) -> tuple[int, int, NDArray[np.int64]]:
    """Levels in plain Python while they are narrow: jobs seen, the next depth and its frontier."""
    start, items, left, height = (
        downstream.start.data,
        downstream.items.data,
        waiting.data,
        level.data,
    )
    jobs, seen = frontier.tolist(), 0
    while jobs and len(jobs) < NARROW:
        seen += len(jobs)
        following = []
        for job in jobs:
            height[job] = depth
            for place in range(start[job], start[job + 1]):
                other = items[place]
                left[other] -= 1
                if left[other] == 0:
                    following.append(other)
        jobs = following
        depth += 1
    return seen, depth, np.array(sorted(jobs), dtype=np.int64)


def build_graph(count: int, edges: Int64) -> tuple[Graph, Int64]:
    """The graph and the order it is numbered in: new number `i` is old number `order[i]`.

    `edges`: packed upstream << 32 | downstream in old numbers, in any order. Raises Cyclic.
    """
    edges = sorted_unique(edges)
    level = find_levels(count, edges)
    order = np.argsort(level, kind="stable").astype(np.int64)
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    source, target = place[edges >> 32], place[edges & 0xFFFFFFFF]
    depth = int(level.max()) + 1 if count else 0
    levels = np.searchsorted(level[order], np.arange(depth + 1)).astype(np.int64)
    downstream = make_rows(np.sort(pack(source, target)), count)
    upstream = make_rows(np.sort(pack(target, source)), count)
    return Graph(downstream=downstream, upstream=upstream, levels=levels), order
