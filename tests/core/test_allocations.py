"""What the scheduler says of allocations, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.allocations import (
    ACTIVE,
    COMPLETE,
    OPEN,
    PENDING,
    REFUSED,
    SUBMITTING,
    Backlog,
    Memory,
    Row,
    Seen,
    compare,
    find_superfluous,
    give_up,
    status_of,
)


def row(status: str = PENDING, *, number: int = 1, **fields: object) -> Row:
    known = {"job_id": 8, "state": status.upper(), "reason": None, "cancel_reason": None, "created_at_ms": 0}
    return Row(
        **{"id": number, "workflow_id": 7, "status": status, "job_name": f"torc_7_{number}", "error": None}  # type: ignore[arg-type]  # as given
        | known
        | fields
    )


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("PENDING", PENDING),
        ("REQUEUE_HOLD", PENDING),
        ("CONFIGURING", ACTIVE),
        ("RUNNING", ACTIVE),
        ("COMPLETING", ACTIVE),
        ("COMPLETED", COMPLETE),
        ("OUT_OF_MEMORY", COMPLETE),
        ("TIMEOUT", COMPLETE),
    ],
)
def test_each_state_of_slurm_stands_for_a_status(state: str, status: str) -> None:
    assert status_of(state, PENDING) == status


@pytest.mark.parametrize("before", [PENDING, ACTIVE])
def test_a_state_that_a_newer_slurm_has_made_up_changes_no_status(before: str) -> None:
    assert status_of("DREAMING", before) == before


def test_an_allocation_is_followed_through_its_life_and_a_requeue() -> None:
    memory, now = Memory(), row()
    for state, status in [("RUNNING", ACTIVE), ("PENDING", PENDING), ("RUNNING", ACTIVE), ("COMPLETED", COMPLETE)]:
        (change,), missing = compare([now], {now.job_name: Seen(8, state, None)}, memory)
        assert (change.status, missing) == (status, [])
        now = now._replace(status=change.status, state=change.state)


def test_what_is_the_same_is_not_written_again() -> None:
    now = row(ACTIVE, state="RUNNING")
    assert compare([now], {now.job_name: Seen(8, "RUNNING", None)}, Memory()) == ([], [])


def test_what_one_answer_lacks_is_looked_for_only_when_the_next_lacks_it_too() -> None:
    memory, now = Memory(), row(ACTIVE, state="RUNNING")
    assert compare([now], {}, memory) == ([], [])
    assert compare([now], {}, memory) == ([], [now])


def test_an_answer_between_two_that_lack_it_makes_a_new_start() -> None:
    memory, now = Memory(), row(ACTIVE, state="RUNNING")
    assert compare([now], {}, memory) == ([], [])
    assert compare([now], {now.job_name: Seen(8, "RUNNING", None)}, memory) == ([], [])
    assert compare([now], {}, memory) == ([], [])


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "BOOT_FAIL"])
def test_an_end_that_may_be_followed_by_a_requeue_is_believed_the_second_time(state: str) -> None:
    memory, now = Memory(), row(ACTIVE, state="RUNNING")
    queue = {now.job_name: Seen(8, state, None)}
    assert compare([now], queue, memory) == ([], [])
    (change,), _ = compare([now], queue, memory)
    assert change.status == COMPLETE


def test_a_job_whose_submission_got_no_answer_is_adopted_by_its_name() -> None:
    now = row(SUBMITTING, job_id=None, state=None)
    (change,), _ = compare([now], {now.job_name: Seen(9, "PENDING", "Priority")}, Memory())
    assert (change.status, change.job_id, change.reason) == (PENDING, 9, "Priority")


def test_of_a_submission_that_slurm_does_not_know_nothing_is_said_before_it_is_settled() -> None:
    now = row(SUBMITTING, job_id=None, error="sbatch: timed out")
    assert give_up(now, is_settled=False, had_workers=False) is None
    change = give_up(now, is_settled=True, had_workers=False)
    assert change is not None
    assert (change.status, change.error) == (REFUSED, "sbatch: timed out; Slurm does not have it")


def test_one_that_workers_have_come_from_was_not_refused() -> None:
    """Its whole life may have passed while nobody asked Slurm."""
    change = give_up(row(SUBMITTING, job_id=None), is_settled=True, had_workers=True)
    assert change is not None
    assert (change.status, change.state) == (COMPLETE, "UNKNOWN")


OVER, BUSY, CANCELED = Backlog(True, False), Backlog(False, False), Backlog(True, True)


@pytest.mark.parametrize(
    ("status", "backlog", "canceled_for_s", "is_superfluous"),
    [
        (PENDING, OVER, 0, True),
        (SUBMITTING, OVER, 0, True),
        (ACTIVE, OVER, 0, False),
        (PENDING, BUSY, 0, False),
        (PENDING, CANCELED, 0, True),
        (ACTIVE, CANCELED, 59, False),
        (ACTIVE, CANCELED, 60, True),
        (COMPLETE, CANCELED, 60, False),
    ],
)
def test_queued_ones_are_canceled_when_nothing_is_left_and_active_ones_end_by_themselves(
    status: str, backlog: Backlog, canceled_for_s: float, is_superfluous: bool
) -> None:
    found = find_superfluous([row(status)], {7: backlog}, {7: canceled_for_s})
    assert [each.id for each, _ in found] == ([1] if is_superfluous else [])


STATES = ("PENDING", "RUNNING", "COMPLETED", "NODE_FAIL", "DREAMING")


@given(st.lists(st.sampled_from([None, *STATES]), max_size=12), st.sampled_from(OPEN))
def test_without_the_schedulers_word_an_allocation_never_ends(answers: list[str | None], status: str) -> None:
    """No answer says nothing: only a state that tells of an end ends one."""
    memory, now = Memory(), row(status)
    for state in answers:
        if now.status == COMPLETE:
            return
        queue = {} if state is None else {now.job_name: Seen(8, state, None)}
        changes, _ = compare([now], queue, memory)
        for change in changes:
            assert change.status != COMPLETE or state in ("COMPLETED", "NODE_FAIL")
            assert change.status != REFUSED
            now = now._replace(status=change.status, state=change.state)
