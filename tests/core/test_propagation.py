"""Staleness downstream: which jobs, from which root cause, by which way."""

import time

import numpy as np
import pytest
from builders import links
from hypothesis import given, settings
from hypothesis import strategies as st

from torcd.core import propagation
from torcd.core.graph import Graph, build_graph
from torcd.core.propagation import NONE, Closure, find_closure

Edges = list[tuple[int, int]]


def naive_closure(edges: Edges, roots: list[int], stops: set[int]) -> list[tuple[int, int, int]]:
    """(job, root, via) by walking every path.

    The root of a job is the first root cause in topological order from which a path leads to it; `via` is the
    first direct upstream, in the same order, on a path from that root.
    """
    reached: dict[int, set[tuple[int, int]]] = {job: set() for job in roots}

    def walk(root: int, job: int) -> None:
        for a, b in edges:
            if a == job and b not in stops:
                reached.setdefault(b, set()).add((root, job))
                walk(root, b)

    for root in roots:
        walk(root, root)
    return [(job, *min(reached[job], default=(NONE, NONE))) for job in sorted(reached)]


def as_rows(closure: Closure) -> list[tuple[int, int, int]]:
    return list(zip(closure.jobs.tolist(), closure.root.tolist(), closure.via.tolist(), strict=True))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, Edges, list[int], set[int]]:
    """A graph with its edges in its own numbers, sorted roots, and stops without the roots."""
    count = draw(st.integers(1, 9))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    graph, _ = build_graph(count, links(draw(st.lists(pairs, max_size=14)) if count > 1 else []))
    edges = [(a, b) for a in range(count) for b in graph.downstream.row(a).tolist()]
    roots = sorted(draw(st.sets(st.integers(0, count - 1))))
    stops = draw(st.sets(st.integers(0, count - 1))) - set(roots)
    return graph, edges, roots, stops


def mask(count: int, stops: set[int]) -> np.ndarray:
    made = np.zeros(count, dtype=np.bool_)
    made[list(stops)] = True
    return made


@settings(max_examples=300)
@given(cases())
def test_both_ways_to_find_a_closure_agree_with_walking_every_path(
    case: tuple[Graph, Edges, list[int], set[int]],
) -> None:
    """SEMANTICS 4.6, 2.5"""
    graph, edges, roots, stops = case
    expected = naive_closure(edges, roots, stops)
    arguments = graph, np.array(roots, dtype=np.int64), mask(graph.count, stops)
    by_heap = propagation._closure_by_heap(*arguments, limit=10_000)
    assert by_heap is not None
    assert as_rows(by_heap) == expected
    assert as_rows(propagation._closure_by_level(*arguments)) == expected
    assert as_rows(find_closure(*arguments)) == expected


@pytest.fixture
def ladder() -> Graph:
    """1,000 rungs of two jobs, each waiting for both before it: 2^999 paths."""
    edges = [(2 * rung + a, 2 * rung + 2 + b) for rung in range(999) for a in (0, 1) for b in (0, 1)]
    return build_graph(2_000, links(edges))[0]


def test_a_ladder_is_walked_by_its_edges_and_not_by_its_paths(ladder: Graph) -> None:
    """SEMANTICS 2.1, 4.6"""
    roots, stops = np.array([1]), np.zeros(2_000, dtype=np.bool_)
    began = time.process_time()
    closure = find_closure(ladder, roots, stops)
    assert time.process_time() - began < 1
    assert closure.jobs.tolist() == [1, *range(2, 2_000)]
    assert set(closure.root.tolist()) == {NONE, 1}
    assert closure.via[1:3].tolist() == [1, 1]
    assert closure.via[-1] == 1_996


def test_many_roots_are_followed_level_by_level(ladder: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = np.zeros(2_000, dtype=np.bool_)
    everything = np.arange(2_000)
    by_heap = propagation._closure_by_heap(ladder, everything, stops, 10_000)
    monkeypatch.setattr(propagation, "SPARSE", 100)
    monkeypatch.setattr(propagation, "_closure_by_heap", None)  # not called any more
    by_level = find_closure(ladder, everything, stops)
    assert by_heap is not None
    assert as_rows(by_level) == as_rows(by_heap)


def test_a_closure_that_grows_too_large_for_plain_python_is_begun_anew(ladder: Graph) -> None:
    roots, stops = np.array([0]), np.zeros(2_000, dtype=np.bool_)
    assert propagation._closure_by_heap(ladder, roots, stops, limit=100) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(propagation, "SPARSE", 10)
        closure = find_closure(ladder, roots, stops)
    assert len(closure.jobs) == 1_999


def test_a_chain_of_100_000_jobs_takes_no_recursion_and_no_second() -> None:
    count = 100_000
    graph, _ = build_graph(count, links(zip(range(count - 1), range(1, count), strict=True)))
    began = time.process_time()
    closure = find_closure(graph, np.array([0]), np.zeros(count, dtype=np.bool_))
    assert time.process_time() - began < 2
    assert len(closure.jobs) == count
    assert closure.via[1:].tolist() == list(range(count - 1))
