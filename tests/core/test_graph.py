"""The dependency graph: levels, topological order, cycles, size."""

import random
import time

import numpy as np
import pytest
from builders import links
from hypothesis import given
from hypothesis import strategies as st

from torcd.core import graph as graph_module
from torcd.core.graph import Cyclic, Rows, build_graph, find_levels, make_rows, pack, sorted_unique

Edges = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn, most: int = 14) -> tuple[int, Edges]:
    """A number of jobs and edges without a cycle, whose numbers are in no order."""
    count = draw(st.integers(0, most))
    order = draw(st.permutations(range(count)))
    if count < 2:
        return count, []
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda each: each[0] != each[1])
    pairs = draw(st.lists(pair, max_size=3 * count))
    return count, [(order[min(pair)], order[max(pair)]) for pair in pairs]


def naive_levels(count: int, edges: Edges) -> list[int]:
    """By relaxation: as often as there are jobs."""
    level = [0] * count
    for _ in range(count):
        for a, b in edges:
            level[b] = max(level[b], level[a] + 1)
    return level


@given(graphs())
def test_levels_are_the_longest_ways_from_a_job_without_dependencies(graph: tuple[int, Edges]) -> None:
    count, edges = graph
    assert find_levels(count, sorted_unique(links(edges))).tolist() == naive_levels(count, edges)


@given(graphs())
def test_levels_are_the_same_when_no_frontier_is_narrow(graph: tuple[int, Edges]) -> None:
    count, edges = graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_module, "NARROW", 0)
        assert find_levels(count, sorted_unique(links(edges))).tolist() == naive_levels(count, edges)


@given(graphs())
def test_the_graph_is_numbered_in_topological_order_by_level(graph: tuple[int, Edges]) -> None:
    """SEMANTICS 4.6, 5.4: topological order is the order of the numbers"""
    count, edges = graph
    made, order = build_graph(count, links(edges))
    naive = naive_levels(count, edges)
    assert sorted(order.tolist()) == list(range(count))
    assert order.tolist() == sorted(range(count), key=lambda old: (naive[old], old))
    place = {old: new for new, old in enumerate(order.tolist())}
    expected = {(place[a], place[b]) for a, b in edges}
    assert all(a < b for a, b in expected)
    assert {(a, b) for a in range(count) for b in made.downstream.row(a).tolist()} == expected
    assert {(a, b) for b in range(count) for a in made.upstream.row(b).tolist()} == expected
    sizes = [naive.count(level) for level in range(max(naive, default=-1) + 1)]
    assert np.diff(made.levels).tolist() == sizes


@given(graphs(most=8), st.data())
def test_a_cycle_is_found(graph: tuple[int, Edges], data: st.DataObject) -> None:
    count, edges = graph
    if not edges:
        return
    a, b = data.draw(st.sampled_from(edges))
    with pytest.raises(Cyclic, match="depend on themselves"):
        build_graph(count, links([*edges, (b, a)]))


def test_a_self_loop_is_a_cycle() -> None:
    with pytest.raises(Cyclic, match="1 jobs"):
        build_graph(2, links([(1, 1)]))


def test_a_chain_of_100_000_jobs_takes_no_recursion_and_no_second() -> None:
    count = 100_000
    names = list(range(count))
    random.Random(1).shuffle(names)
    edges = pack(np.array(names[:-1]), np.array(names[1:]))
    began = time.process_time()
    made, order = build_graph(count, edges)
    assert time.process_time() - began < 2
    assert order.tolist() == names
    assert len(made.levels) == count + 1


def test_wide_and_narrow_levels_alternate() -> None:
    """Frontiers pass from plain Python to arrays and back."""
    wide = graph_module.NARROW + 50
    edges, last = [], 0
    for _ in range(3):
        middle = range(last + 1, last + 1 + wide)
        edges += [(last, each) for each in middle] + [(each, last + 1 + wide) for each in middle]
        last += 1 + wide
    made, order = build_graph(last + 1, links(edges))
    assert order.tolist() == list(range(last + 1))
    assert np.diff(made.levels).tolist() == [1, wide] * 3 + [1]


def test_few_edges_out_of_a_wide_level_are_walked_by_their_items() -> None:
    """A wide frontier that touches less than an eighth of the jobs."""
    count = 20_000
    made, order = build_graph(count, links([(5, 19_000), (5, 19_001), (6, 19_001), (19_001, 3)]))
    assert order[-1] == 3
    assert np.diff(made.levels).tolist() == [count - 3, 2, 1]


rows = st.lists(st.lists(st.integers(0, 9), max_size=4).map(sorted), min_size=1, max_size=8)


@given(rows, st.data())
def test_gathered_rows_are_the_rows_one_after_the_other(listed: list[list[int]], data: st.DataObject) -> None:
    pairs = [(row, item) for row, items in enumerate(listed) for item in items]
    made: Rows = make_rows(np.sort(links(pairs)), len(listed))
    chosen = data.draw(st.lists(st.sampled_from(range(len(listed)))))
    items, lengths = made.gather(np.array(chosen, dtype=np.int64))
    assert items.tolist() == [item for row in chosen for item in listed[row]]
    assert lengths.tolist() == [len(listed[row]) for row in chosen]
    assert made.owners().tolist() == [row for row, _ in pairs]
