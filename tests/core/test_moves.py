"""Moves as events tell them (SEMANTICS 7.1: mass changes are one event with counts and ranges)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core import moves
from torcd.core.delta import Move

READY, PENDING, RUNNING = 2, 3, 4


def move(status: int, *jobs: int, reason: int = 0) -> Move:
    return Move(jobs=np.array(jobs, dtype=np.int64), status=status, reason=reason)


def shown(merged: list[Move]) -> list[tuple[int, list[int]]]:
    return [(each.status, each.jobs.tolist()) for each in merged]


def test_a_herd_of_claims_is_one_change() -> None:
    """SEMANTICS 7.1"""
    claims = [move(PENDING, job) for job in range(1000)]
    assert shown(moves.merge_moves([move(READY, *range(5)), *claims])) == [(2, [0, 1, 2, 3, 4]), (3, list(range(1000)))]


def test_a_job_that_moves_back_is_told_of_twice() -> None:
    told = shown(moves.merge_moves([move(READY, 1), move(PENDING, 1), move(READY, 1), move(READY, 2)]))
    assert told == [(READY, [1]), (PENDING, [1]), (READY, [1, 2])]


def test_reasons_are_kept_apart() -> None:
    assert len(moves.merge_moves([move(READY, 1, reason=1), move(READY, 2, reason=2)])) == 2


made_moves = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)), max_size=12
)


@given(made=made_moves, mass=st.integers(1, 5))
def test_every_job_makes_the_same_moves_in_the_same_order(made: list[tuple[int, list[int]]], mass: int) -> None:
    """SEMANTICS 7.1"""
    before = [move(status, *jobs) for status, jobs in made]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moves, "MASS", mass)
        after = moves.merge_moves(before)
    for job in range(6):
        path = [each.status for each in before if job in each.jobs]
        assert [each.status for each in after for _ in range(np.count_nonzero(each.jobs == job))] == path
