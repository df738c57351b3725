"""How many jobs wait at the worker, by their length."""

from hypothesis import given
from hypothesis import strategies as st

from torcctl.worker.ahead import MOST, SHORT_S, RunTimes


def after(*seconds: float) -> RunTimes:
    times = RunTimes()
    for one in seconds:
        times.on_end(one)
    return times


def test_nothing_waits_before_the_first_job_has_ended() -> None:
    assert RunTimes().jobs_ahead(2) == 0


def test_nothing_waits_when_jobs_are_long() -> None:
    assert after(3600.0).jobs_ahead(64) == 0
    assert after(SHORT_S).jobs_ahead(64) == 0


def test_many_wait_when_jobs_are_tiny_and_few_when_they_are_longer() -> None:
    assert after(0.001).jobs_ahead(2) == MOST
    assert after(0.010).jobs_ahead(2) == 8
    assert after(0.150).jobs_ahead(2) == 1


def test_a_change_of_length_is_felt_after_some_ten_jobs() -> None:
    assert after(*[0.001] * 100, *[2.0] * 2).jobs_ahead(2) == 0
    assert after(*[2.0] * 3, *[0.001] * 40).jobs_ahead(2) > 0


def test_after_a_stall_nothing_waits_until_a_job_ends() -> None:
    times = after(0.001)
    times.on_stall()
    assert times.jobs_ahead(2) == 0
    times.on_end(0.001)
    assert times.jobs_ahead(2) == MOST


@given(st.lists(st.floats(0, 1e6), max_size=50), st.integers(0, 1000))
def test_never_more_than_the_most_wait(seconds: list[float], slots: int) -> None:
    assert 0 <= after(*seconds).jobs_ahead(slots) <= MOST
