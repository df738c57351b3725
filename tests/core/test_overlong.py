"""Which jobs an allocation is too short for: just those that no worker in it starts."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from torcctl.worker.time_left import TimeLeft
from torcctl.worker.timekeeper import Timekeeper
from torcd.core.overlong import can_start, warn_of_overlong
from torcd.core.placement import NO_REQUIREMENT, Requirement
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import MINUTE_S

HOUR = SlurmSchedulerSpec(name="main", walltime="01:00:00")
DAY = Requirement(name="day", runtime_s=86_400)


@given(
    walltime_s=st.integers(1, 10**6),
    over_s=st.integers(-2 * MINUTE_S, 2 * MINUTE_S),
    gone_s=st.floats(0, 5),
)
def test_a_job_can_start_just_when_a_fresh_worker_starts_it(walltime_s: int, over_s: int, gone_s: float) -> None:
    """SEMANTICS 8.1"""
    need = Requirement(name="n", runtime_s=max(walltime_s + over_s, 0))
    limit_s = -(-walltime_s // MINUTE_S) * MINUTE_S  # as Slurm rounds it

    async def ask() -> float | None:
        await trio.lowlevel.checkpoint()
        return limit_s - gone_s

    async def begin() -> float | None:
        time_left = TimeLeft()
        await Timekeeper(time_left, ask=ask, fallback_s=walltime_s).begin()
        return time_left.for_jobs_s(trio.current_time())

    assert need.ends_within(trio.run(begin)) == can_start(need, walltime_s)


@pytest.mark.parametrize(
    "needs",
    [[], [(Requirement(name="n"), 3)], [(NO_REQUIREMENT, 3)], [(Requirement(name="n", runtime_s=3600.0), 1)]],
)
def test_what_takes_no_longer_than_the_walltime_is_not_warned_of(needs: list[tuple[Requirement, int]]) -> None:
    assert warn_of_overlong(needs, HOUR) is None


def test_what_can_start_in_another_allocation_is_not_warned_of() -> None:
    assert warn_of_overlong([(DAY, 1)], HOUR, others_s=86_400) is None
    assert warn_of_overlong([(DAY, 1)], HOUR, others_s=86_399 - MINUTE_S) is not None


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ([(DAY, 3)], "no job can ever start in these allocations: all 3 ask for a runtime of 24:00:00 ('day'), "
                     "and the walltime of 'main' is 1:00:00. Raise the walltime, or lower the runtime"),
        ([(DAY, 1)], "no job can ever start in these allocations: it asks for a runtime of 24:00:00 ('day')"),
        ([(DAY, 1), (NO_REQUIREMENT, 2), (Requirement(name="two", runtime_s=7200.0), 4)],
         "5 of 7 jobs can never start in these allocations: they ask for a runtime of 24:00:00 ('day'), 2:00"),
    ],
)  # fmt: skip
def test_what_takes_longer_is_counted_and_named(needs: list[tuple[Requirement, int]], told: str) -> None:
    warning = warn_of_overlong(needs, HOUR)
    assert warning is not None
    assert told in warning
