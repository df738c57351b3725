"""What becomes of uninitialized jobs."""

import numpy as np
import pytest
from builders import links, sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from torcd.core.evaluation import evaluate
from torcd.core.graph import build_graph
from torcd.core.status import BAD, SETTLED, Status, StatusReason

S = Status


def naive_evaluation(
    upstream: dict[int, list[int]], status: list[int], candidates: list[int], cancels: list[bool]
) -> dict[int, int]:
    """By repetition until nothing changes: SEMANTICS §2 word for word."""
    now = {job: S.BLOCKED if job in candidates else Status(value) for job, value in enumerate(status)}
    changed = True
    while changed:
        changed = False
        for job in candidates:
            if now[job] == S.BLOCKED and all(now[up] in SETTLED for up in upstream[job]):
                spoiled = any(now[up] in BAD for up in upstream[job]) and cancels[job]
                now[job] = S.CANCELED if spoiled else S.READY
                changed = True
    return {job: now[job] for job in candidates}


@st.composite
def cases(draw: st.DrawFn) -> tuple:
    count = draw(st.integers(1, 12))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    graph, _ = build_graph(count, links(draw(st.lists(pairs, max_size=24)) if count > 1 else []))
    often = [S.UNINITIALIZED] * 8 + [S.FAILED, S.COMPLETED] + list(S)  # so that chains of candidates occur
    status = draw(st.lists(st.sampled_from(often), min_size=count, max_size=count))
    cancels = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return graph, status, cancels


@settings(max_examples=300)
@given(cases())
def test_an_evaluation_is_what_repeating_the_rules_gives(case: tuple) -> None:
    """SEMANTICS §2, 2.1"""
    graph, status, cancels = case
    candidates = [job for job, each in enumerate(status) if each == S.UNINITIALIZED]
    upstream = {job: graph.upstream.row(job).tolist() for job in range(graph.count)}
    column = np.array(status, dtype=np.uint8)
    found, reason = evaluate(graph, column, np.array(candidates, dtype=np.int64), np.array(cancels, dtype=np.bool_))
    expected = naive_evaluation(upstream, status, candidates, cancels)
    assert dict(zip(candidates, found.tolist(), strict=True)) == expected
    canceled = found == S.CANCELED
    assert set(reason[canceled].tolist()) <= {StatusReason.UPSTREAM_FAILED}
    assert set(reason[~canceled].tolist()) <= {StatusReason.NONE}
    assert column.tolist() == status


@pytest.mark.parametrize("settled", [S.COMPLETED, S.DISABLED])
def test_a_completed_or_disabled_dependency_is_satisfied(settled: Status) -> None:
    """SEMANTICS 2.1, 2.5"""
    made = sketch("a>b", status={"a": settled})
    found, _ = evaluate(made.state.graph, made.state.jobs.status, made.jobs("b"), made.state.jobs.cancel_on_failure)
    assert found.tolist() == [S.READY]


def test_a_candidate_that_does_not_mind_failures_becomes_ready_below_a_canceled_one() -> None:
    """SEMANTICS §2, 2.1"""
    made = sketch("a>b>c>d", status={"a": S.FAILED}, never_cancels=["c"])
    jobs = made.jobs("b", "c", "d")
    found, _ = evaluate(made.state.graph, made.state.jobs.status, jobs, made.state.jobs.cancel_on_failure)
    assert found.tolist() == [S.CANCELED, S.READY, S.BLOCKED]


def test_a_cancellation_goes_down_a_long_chain_without_recursion() -> None:
    """SEMANTICS 2.1"""
    count = 50_000
    graph, _ = build_graph(count, links(zip(range(count - 1), range(1, count), strict=True)))
    status = np.zeros(count, dtype=np.uint8)
    status[0] = S.FAILED
    found, _ = evaluate(graph, status, np.arange(1, count), np.ones(count, dtype=np.bool_))
    assert set(found.tolist()) == {S.CANCELED}
