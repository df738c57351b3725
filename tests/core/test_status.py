"""The table of moves between job statuses, and the names users know them by."""

import itertools

import numpy as np
import pytest
from builders import sketch

from torcd.core.draft import Draft
from torcd.core.status import (
    MOVES,
    By,
    ImpossibleMove,
    Status,
    StatusReason,
    check_moves,
    find_statuses,
    reason_name,
    status_name,
)
from torcd.protocol.errors import Refused
from torcd.protocol.model import STATUSES

S = Status
LIVE = {S.PENDING, S.RUNNING}
NOT_LIVE = set(S) - LIVE

TABLE = (
    [
        (S.UNINITIALIZED, S.READY),
        (S.UNINITIALIZED, S.BLOCKED),
        (S.BLOCKED, S.READY),
        (S.BLOCKED, S.CANCELED),
        (S.READY, S.PENDING),
        (S.PENDING, S.RUNNING),
        (S.PENDING, S.READY),
        (S.RUNNING, S.COMPLETED),
        (S.RUNNING, S.FAILED),
        (S.RUNNING, S.TERMINATED),
        (S.READY, S.CANCELED),
        (S.PENDING, S.CANCELED),
        (S.RUNNING, S.CANCELED),
        (S.RUNNING, S.READY),
        (S.UNINITIALIZED, S.CANCELED),
        (S.READY, S.BLOCKED),
        (S.TERMINATED, S.RUNNING),
        (S.TERMINATED, S.FAILED),
        (S.DISABLED, S.UNINITIALIZED),
    ]
    + [(each, S.COMPLETED) for each in NOT_LIVE - {S.DISABLED}]
    + [(each, S.UNINITIALIZED) for each in NOT_LIVE - {S.UNINITIALIZED}]
    + [(each, S.DISABLED) for each in NOT_LIVE - {S.DISABLED}]
)
"""SEMANTICS §2, row by row; "any but live" is spelled out. Running → completed is in it once."""

PAIRS = list(itertools.product(S, S))


def test_the_table_is_the_one_of_the_semantics() -> None:
    """SEMANTICS §2"""
    assert frozenset(TABLE) == MOVES


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=lambda status: status.name.lower())
def test_a_move_is_possible_exactly_when_the_table_has_it(before: Status, after: Status) -> None:
    """SEMANTICS §2, 2.3"""
    columns = np.array([before], dtype=np.uint8), np.array([after], dtype=np.uint8)
    assert ((before, after) in MOVES) == ((before, after) in TABLE)
    if (before, after) in TABLE:
        check_moves(*columns)
    else:
        with pytest.raises(ImpossibleMove, match=f"{before.name} -> {after.name}"):
            check_moves(*columns)


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=lambda status: status.name.lower())
def test_a_plan_moves_by_way_of_uninitialized_and_never_a_live_job(before: Status, after: Status) -> None:
    """SEMANTICS §2, 2.3: a reset is followed by an evaluation"""
    columns = np.array([before], dtype=np.uint8), np.array([after], dtype=np.uint8)
    evaluated = {S.UNINITIALIZED, S.READY, S.BLOCKED, S.CANCELED}
    if before not in LIVE and after in evaluated:
        check_moves(*columns, by=By.RESET)
    else:
        with pytest.raises(ImpossibleMove):
            check_moves(*columns, by=By.RESET)


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=lambda status: status.name.lower())
def test_an_undo_moves_back_from_where_operations_leave_jobs_and_never_into_a_live_status(
    before: Status, after: Status
) -> None:
    """SEMANTICS §2, 5.6"""
    columns = np.array([before], dtype=np.uint8), np.array([after], dtype=np.uint8)
    if before in {S.UNINITIALIZED, S.BLOCKED, S.READY, S.CANCELED, S.COMPLETED} and after not in LIVE:
        check_moves(*columns, by=By.UNDO)
    else:
        with pytest.raises(ImpossibleMove):
            check_moves(*columns, by=By.UNDO)


def test_an_impossible_move_raises_and_changes_nothing() -> None:
    """SEMANTICS 2.3"""
    made = sketch("a>b", status=S.BLOCKED)
    draft = Draft(made.state, 0)
    with pytest.raises(ImpossibleMove):
        draft.move(made.jobs("a", "b"), S.PENDING)
    assert set(made.status().values()) == {S.BLOCKED}
    assert draft.finish().is_empty


def test_one_impossible_move_among_many_is_found() -> None:
    before = np.full(1_000, S.READY, dtype=np.uint8)
    before[617] = S.COMPLETED
    with pytest.raises(ImpossibleMove, match="COMPLETED -> PENDING \\(job 617 of 1000\\)"):
        check_moves(before, np.full(1_000, S.PENDING, dtype=np.uint8))


def test_numbers_of_statuses_and_reasons_are_for_ever() -> None:
    assert [status.name.lower() for status in S] == list(STATUSES)
    assert [(reason.value, reason.name) for reason in StatusReason] == [
        (0, "NONE"),
        (1, "BY_USER"),
        (2, "UPSTREAM_FAILED"),
        (3, "WALLTIME"),
        (4, "WORKER_LOST"),
        (5, "SUPERSEDED"),
        (6, "WORKER_SHUTDOWN"),
        (7, "OUTPUT_MISSING"),
        (8, "UNCHANGED_INPUTS"),
        (9, "ACCEPTED"),
        (10, "RETRY"),
        (11, "RECOVERY_FAILED"),
    ]


def test_filters_accept_the_older_names() -> None:
    """SEMANTICS §2"""
    assert find_statuses("done") == (S.COMPLETED, S.FAILED)
    assert find_statuses("submitted") == (S.RUNNING,)
    assert find_statuses("submitted_pending") == (S.PENDING,)
    assert find_statuses("ready") == (S.READY,)
    for name in ("Ready", "nonsense"):
        with pytest.raises(Refused, match=f"there is no status '{name}': use one of uninitialized, blocked, "):
            find_statuses(name)


def test_users_see_names_and_no_reason_where_there_is_none() -> None:
    """SEMANTICS 2.4"""
    assert status_name(S.TERMINATED) == "terminated"
    assert reason_name(StatusReason.WORKER_LOST) == "worker_lost"
    assert reason_name(StatusReason.NONE) is None
