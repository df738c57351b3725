"""When actions are due, and what arms them again (SEMANTICS 2.7)."""

from typing import Any

import numpy as np
import pytest
from builders import Sketch, sketch

from torcd.core.actions import find_disarmed, find_due, find_rearmed, has_started
from torcd.core.state import Action
from torcd.core.status import Status
from torcd.protocol.specification import ActionSpec

S = Status


def with_actions(made: Sketch, *actions: tuple[str, str], armed: bool = True, kind: str = "run_commands") -> Sketch:
    """Gives a sketch actions: triggers, and the names of their jobs with spaces between."""
    for number, (trigger, names) in enumerate(actions, 1):
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
