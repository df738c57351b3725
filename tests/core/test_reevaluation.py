"""What follows downstream from a status that a job was given (SEMANTICS 2.5, 8.4)."""

import numpy as np
from builders import Sketch, sketch
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.evaluation import evaluate_downstream
from torcd.core.status import Status, StatusReason

S, R = Status, StatusReason


def changes(made: Sketch, *roots: str) -> dict[str, Status]:
    """What becomes of which job."""
    jobs, status, reason = evaluate_downstream(made.state, made.jobs(*roots))
    assert all((why == R.UPSTREAM_FAILED) == (to == S.CANCELED) for to, why in zip(status, reason, strict=True))
    return {name: Status(int(to)) for name, to in zip(made.names(jobs), status, strict=True)}


def test_what_a_failure_had_canceled_waits_again_once_that_is_disabled() -> None:
    """SEMANTICS 2.1, 2.5"""
    made = sketch(
        "a>b>c",
        status={"a": S.DISABLED, "b": S.CANCELED, "c": S.CANCELED},
        reason={"b": R.UPSTREAM_FAILED, "c": R.UPSTREAM_FAILED},
    )
    assert changes(made, "a") == {"b": S.READY, "c": S.BLOCKED}


def test_another_failure_still_cancels() -> None:
    """SEMANTICS 2.1"""
    made = sketch(
        "a>c",
        "b>c",
        status={"a": S.DISABLED, "b": S.FAILED, "c": S.CANCELED},
        reason={"c": R.UPSTREAM_FAILED},
    )
    assert changes(made, "a") == {}


def test_a_job_that_was_blocked_by_the_last_open_job_is_canceled_when_a_failure_remains() -> None:
    made = sketch("a>c", "b>c", status={"a": S.DISABLED, "b": S.FAILED, "c": S.BLOCKED})
    assert changes(made, "a") == {"c": S.CANCELED}
    patient = sketch("a>c", "b>c", status={"a": S.DISABLED, "b": S.FAILED, "c": S.BLOCKED}, never_cancels=["c"])
    assert changes(patient, "a") == {"c": S.READY}


def test_ready_jobs_wait_for_a_job_that_is_enabled_again() -> None:
    """SEMANTICS 2.5"""
    made = sketch("a>b>c", "d", status={"a": S.UNINITIALIZED, "b": S.READY, "c": S.BLOCKED, "d": S.READY})
    assert changes(made, "a") == {"b": S.BLOCKED}


def test_what_ended_is_live_is_uninitialized_or_was_canceled_by_the_user_stays() -> None:
    """SEMANTICS 2.5"""
    others = ["done", "bad", "killed", "stopped", "on", "next", "new"]
    status = [S.COMPLETED, S.FAILED, S.TERMINATED, S.CANCELED, S.RUNNING, S.PENDING, S.UNINITIALIZED]
    made = sketch(
        *(f"a>{name}" for name in others),
        status=dict(zip(others, status, strict=True)) | {"a": S.UNINITIALIZED},
        reason={"stopped": R.BY_USER},
    )
    assert changes(made, "a") == {}


def test_it_goes_on_through_jobs_that_stay_and_ends_at_disabled_ones() -> None:
    """SEMANTICS 2.5: a disabled job holds nothing up, whatever is upstream of it"""
    made = sketch(
        "a>done>b",
        "a>off>c",
        status={"a": S.UNINITIALIZED, "done": S.COMPLETED, "b": S.READY, "off": S.DISABLED, "c": S.READY},
    )
    assert changes(made, "a") == {}
    chain = sketch("a>b>c", status={"a": S.DISABLED, "b": S.DISABLED, "c": S.BLOCKED})
    assert changes(chain, "a", "b") == {"c": S.READY}


@given(
    st.lists(
        st.sampled_from([S.BLOCKED, S.READY, S.CANCELED, S.COMPLETED, S.FAILED, S.DISABLED]), min_size=7, max_size=7
    ),
    st.sampled_from([S.DISABLED, S.UNINITIALIZED, S.RUNNING]),
)
def test_afterwards_nothing_is_left_to_evaluate(statuses: list[Status], root: Status) -> None:
    """A second look changes nothing."""
    names = "abcdefg"
    status = dict(zip(names, statuses, strict=True)) | {"a": root}
    reason = {name: R.UPSTREAM_FAILED for name in names if status[name] == S.CANCELED}
    made = sketch("a>b>d>f>g", "a>c>d>e>g", "c>e", status=status, reason=reason)
    jobs, after, why = evaluate_downstream(made.state, made.jobs("a"))
    assert not np.isin(made.state.jobs.status[jobs], [S.COMPLETED, S.FAILED, S.DISABLED]).any()
    made.state.jobs.status[jobs] = after
    made.state.jobs.reason[jobs] = why
    assert changes(made, "a") == {}
