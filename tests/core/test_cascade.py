"""What a failure cancels downstream, in graphs that are wide, deep, or full of paths."""

import time

import numpy as np
import pytest
from builders import FIRST_JOB, Sketch, layered, sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from torcd.core import cascade
from torcd.core.delta import Move
from torcd.core.draft import Draft
from torcd.core.state import State, count_dependencies
from torcd.core.status import BAD, SETTLED, Status, StatusReason

S = Status


def naive_cascade(state: State) -> list[int]:
    """The statuses after blocked jobs have been looked at again and again: SEMANTICS §2 word for word."""
    now = state.jobs.status.tolist()
    changed = True
    while changed:
        changed = False
        for job in range(state.count):
            upstream = [now[up] for up in state.graph.upstream.row(job).tolist()]
            if now[job] == S.BLOCKED and all(status in SETTLED for status in upstream):
                spoiled = any(status in BAD for status in upstream) and state.jobs.cancel_on_failure[job]
                now[job] = S.CANCELED if spoiled else S.READY
                changed = True
    return now


@st.composite
def running_workflows(draw: st.DrawFn) -> Sketch:
    """Jobs without dependencies run, all others are blocked."""
    count = draw(st.integers(1, 10))
    names = [f"j{number}" for number in range(count)]
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    waits = {names[b] for _, b in edges}
    return sketch(
        *names,
        *(f"{names[a]}>{names[b]}" for a, b in edges),
        status={name: S.BLOCKED if name in waits else S.RUNNING for name in names},
        never_cancels=draw(st.sets(st.sampled_from(names))),
    )


def expected_after(state: State, ended: np.ndarray, outcome: Status) -> list[int]:
    """What the statuses must become when these jobs end like that."""
    before = state.jobs.status.copy()
    state.jobs.status[ended] = outcome
    expected = naive_cascade(state)
    state.jobs.status[:] = before
    return expected


@pytest.mark.parametrize("narrow", [0, 2, 200])
@settings(max_examples=100)
@given(made=running_workflows(), data=st.data())
def test_any_ends_cancel_what_repeating_the_rules_cancels(narrow: int, made: Sketch, data: st.DataObject) -> None:
    """SEMANTICS §2, 2.1: walked as arrays, as plain Python, and as both in turn"""
    state = made.state
    draft = Draft(state, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cascade, "NARROW", narrow)
        while (running := np.flatnonzero(state.jobs.status == S.RUNNING)).size:
            ended = np.array(sorted(data.draw(st.sets(st.sampled_from(running.tolist()), min_size=1))), dtype=np.int64)
            outcome = data.draw(st.sampled_from([S.COMPLETED, S.FAILED, S.TERMINATED]))
            expected = expected_after(state, ended, outcome)
            draft.move(ended, outcome)
            assert state.jobs.status.tolist() == expected
    waiting, bad = count_dependencies(state.graph, state.jobs.status)
    assert (state.waiting.tolist(), state.bad.tolist()) == (waiting.tolist(), bad.tolist())
    assert state.counts.tolist() == np.bincount(state.jobs.status, minlength=len(S)).tolist()
    canceled = state.jobs.status == S.CANCELED
    assert set(state.jobs.reason[canceled].tolist()) <= {StatusReason.UPSTREAM_FAILED}
    moved = [job for change in draft.finish().changes if isinstance(change, Move) for job in change.jobs.tolist()]
    assert sorted(moved) == sorted(set(moved)), "each job moves once"


DEEP = {
    "a chain": [1] * 100_000,
    "a ladder": [2] * 1_000,
    "a wide ladder": [300] * 4,
    "diamonds": [1, 300] * 10 + [1],
}


@pytest.mark.parametrize("widths", DEEP.values(), ids=DEEP.keys())
def test_a_cascade_is_one_move_and_one_short_event(widths: list[int]) -> None:
    """SEMANTICS 2.1, 7.1: mass changes are one event with counts and ranges"""
    state = layered(*widths)
    draft = Draft(state, 0)
    draft.move(np.arange(widths[0]), S.FAILED)
    delta = draft.finish()
    assert state.counts_by_name() == {"failed": widths[0], "canceled": sum(widths[1:])}
    assert [len(change.jobs) for change in delta.changes if isinstance(change, Move)] == [widths[0], sum(widths[1:])]
    (notice,) = delta.notices
    first, last = FIRST_JOB + widths[0], FIRST_JOB + sum(widths) - 1
    assert notice.data["changes"][1] == {
        "status": "canceled", "status_reason": "upstream_failed", "count": sum(widths[1:]), "jobs": f"{first}-{last}",
    }  # fmt: skip


def test_what_does_not_mind_becomes_ready_at_the_end_of_a_long_chain() -> None:
    """SEMANTICS §2"""
    state = layered(*[1] * 1_000)
    state.jobs.cancel_on_failure[500] = False
    draft = Draft(state, 0)
    draft.move(np.array([0]), S.FAILED)
    assert state.counts_by_name() == {"failed": 1, "canceled": 499, "ready": 1, "blocked": 499}
    assert [change.jobs.tolist() for change in draft.finish().changes if isinstance(change, Move)] == [
        [0],
        list(range(1, 500)),
        [500],
    ]


def test_a_cascade_costs_what_its_edges_cost() -> None:
    """SEMANTICS 2.1: four times as long a chain takes about four times as long"""

    def seconds(length: int) -> float:
        state = layered(*[1] * length)
        began = time.process_time()
        Draft(state, 0).move(np.array([0]), S.FAILED)
        return time.process_time() - began

    short, long = (min(seconds(length) for _ in range(3)) for length in (10_000, 40_000))
    assert long < 10 * short
