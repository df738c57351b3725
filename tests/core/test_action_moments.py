"""When actions are due, and what arms them again (SEMANTICS 2.7)."""

from typing import Any

import numpy as np
import pytest
from builders import Sketch, sketch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from torcd.core import actions
from torcd.core.actions import find_disarmed, find_due, find_rearmed, has_started, is_due
from torcd.core.state import Action
from torcd.core.status import Status
from torcd.protocol.specification import ActionSpec

S = Status
WAITING_OR_LIVE = {S.UNINITIALIZED, S.BLOCKED, S.READY, S.PENDING, S.RUNNING}


def with_actions(made: Sketch, *wanted: tuple[str, str], armed: bool = True, kind: str = "run_commands") -> Sketch:
    """Gives a sketch actions: triggers, and the names of their jobs with spaces between."""
    for number, (trigger, names) in enumerate(wanted, 1):
        spec: Any = {"trigger_type": trigger, "action_type": kind, "jobs": names.split()}
        jobs = made.jobs(*names.split())
        made.state.actions.append(
            Action(id=10 + number, number=number, spec=ActionSpec(**spec), jobs=jobs, is_armed=armed, fired=0)
        )
    return made


def due(made: Sketch) -> list[str]:
    return [action.spec.trigger_type for action in find_due(made.state)]


def test_nothing_is_due_before_a_workflow_is_initialized() -> None:
    made = sketch("a>b", status=S.COMPLETED, run_id=0)
    with_actions(made, ("on_workflow_complete", ""), ("on_jobs_complete", "a"), ("on_workflow_start", ""))
    assert due(made) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"a": S.READY, "b": S.BLOCKED, "c": S.BLOCKED}, True),
        ({"a": S.RUNNING, "b": S.BLOCKED, "c": S.BLOCKED}, True),
        ({"a": S.COMPLETED, "b": S.READY, "c": S.DISABLED}, True),
        ({"a": S.COMPLETED, "b": S.UNINITIALIZED, "c": S.UNINITIALIZED}, False),
        ({"a": S.RUNNING, "b": S.UNINITIALIZED, "c": S.BLOCKED}, False),
        ({"a": S.COMPLETED, "b": S.FAILED, "c": S.CANCELED}, False),
    ],
)
def test_a_workflow_starts_when_nothing_waits_for_an_operation_and_something_can_run(
    status: dict[str, Status], expected: bool
) -> None:
    made = with_actions(sketch("a>b>c", status=status), ("on_workflow_start", ""))
    assert has_started(made.state) == expected
    assert due(made) == (["on_workflow_start"] if expected else [])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (S.READY, S.READY, True),
        (S.COMPLETED, S.READY, True),
        (S.PENDING, S.RUNNING, True),
        (S.READY, S.CANCELED, True),
        (S.READY, S.DISABLED, True),
        (S.READY, S.BLOCKED, False),
        (S.READY, S.UNINITIALIZED, False),
        (S.COMPLETED, S.CANCELED, False),
        (S.DISABLED, S.DISABLED, False),
    ],
)
def test_jobs_are_ready_when_none_waits_and_one_can_run(a: Status, b: Status, expected: bool) -> None:
    made = with_actions(sketch("a", "b", status={"a": a, "b": b}), ("on_jobs_ready", "a b"))
    assert bool(due(made)) == expected


@pytest.mark.parametrize(
    ("a", "expected"),
    [(S.COMPLETED, True), (S.FAILED, True), (S.CANCELED, True), (S.TERMINATED, True), (S.RUNNING, False)],
)
def test_jobs_are_complete_when_all_have_ended_somehow(a: Status, expected: bool) -> None:
    made = sketch("a", "b", "c", status={"a": a, "b": S.COMPLETED, "c": S.RUNNING})
    with_actions(made, ("on_jobs_complete", "a b"), ("on_workflow_complete", ""))
    assert due(made) == (["on_jobs_complete"] if expected else [])


@given(st.lists(st.lists(st.sampled_from(list(S)), min_size=9, max_size=9), max_size=12), st.sampled_from([1, 2, 4096]))
def test_what_was_seen_before_changes_nothing(histories: list[list[Status]], block: int) -> None:
    names = "abcdefghi"
    made = with_actions(sketch(*names), ("on_jobs_complete", " ".join(names)), ("on_jobs_ready", " ".join(names)))
    complete, ready = made.state.actions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "BLOCK", block)
        for statuses in histories:
            made.state.jobs.status[:] = statuses
            assert is_due(made.state, complete) == (not set(statuses) & WAITING_OR_LIVE)
            can_run = set(statuses) & {S.READY, S.PENDING, S.RUNNING}
            assert is_due(made.state, ready) == (bool(can_run) and not set(statuses) & {S.UNINITIALIZED, S.BLOCKED})


def test_the_end_of_one_of_many_jobs_costs_no_look_at_the_others() -> None:
    """However many jobs an action is about, it is asked after each report whether it is due."""
    count = 100_000
    made = with_actions(sketch("a"), ("on_jobs_complete", "a"))
    (action,) = made.state.actions
    statuses = made.state.jobs.status = CountingStatuses(np.full(count, S.RUNNING, dtype=np.uint8))  # type: ignore[assignment]  # counts
    action.jobs = np.arange(count)
    for job in range(200):
        assert not is_due(made.state, action)
        statuses.values[job] = S.COMPLETED
    assert statuses.looked_at < 200 * 2 * actions.BLOCK
    statuses.values[:] = S.COMPLETED
    assert is_due(made.state, action)


class CountingStatuses:
    """Statuses that count how many of them were looked at."""

    def __init__(self, values: NDArray[np.uint8]) -> None:
        self.values = values
        self.looked_at = 0

    def __getitem__(self, jobs: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.looked_at += len(jobs)
        return self.values[jobs]


def test_what_is_not_armed_is_not_due() -> None:
    made = with_actions(sketch("a", status=S.READY), ("on_workflow_start", ""), ("on_jobs_ready", "a"), armed=False)
    assert due(made) == []


def test_no_nodes_are_scheduled_in_a_canceled_workflow() -> None:
    made = with_actions(sketch("a", status=S.CANCELED), ("on_jobs_complete", "a"), kind="schedule_nodes")
    assert due(made) == ["on_jobs_complete"]
    made.state.is_canceled = True
    assert due(made) == []


def test_a_change_arms_what_is_about_the_changed_jobs_and_the_workflow() -> None:
    made = with_actions(
        sketch("a", "b"), ("on_jobs_ready", "a"), ("on_jobs_complete", "a b"), ("on_workflow_start", ""), armed=False
    )

    def armed(*names: str) -> list[int]:
        return [action.number for action in find_rearmed(made.state, made.jobs(*names))]

    assert armed() == []
    assert armed("a") == [1, 2, 3]
    assert armed("b") == [2, 3]
    made.state.actions[1].is_armed = True
    assert armed("b") == [3]


def test_an_undo_disarms_only_what_was_not_armed_before() -> None:
    made = with_actions(sketch("a"), ("on_jobs_ready", "a"), ("on_workflow_start", ""))
    first, second = made.state.actions
    assert find_disarmed(made.state, [first.id]) == [second]
    second.is_armed = False
    assert find_disarmed(made.state, [first.id]) == []
    assert np.array_equal(first.jobs, made.jobs("a"))
