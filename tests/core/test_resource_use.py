"""What attempts used, and what is proposed for the next ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.resource_use import NOTHING, Attempts, propose, summarize
from torcd.protocol.resource_report import Proposed, Spread, Used
from torcd.protocol.units import MIB

NAN = float("nan")


def attempts(*rows: tuple[int, float, float, float]) -> Attempts:
    """(group, seconds, peak, processor seconds) of each."""
    group, seconds, peak, cpu = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Attempts(group.astype(np.int64), seconds, peak, cpu)


def test_each_group_is_summed_up_by_itself() -> None:
    found = summarize(attempts((5, 10, 100, 10), (0, 4, 7, 2), (5, 20, 50, 50)))
    assert found[5] == (
        2,
        Used(
            peak_memory_bytes=Spread(max=100, p95=100),
            runtime_s=Spread(max=20, p95=20),
            cpus=Spread(max=2.5, p95=2.5),
        ),
    )
    assert found[0][0] == 1


def test_of_what_no_attempt_knows_nothing_is_said() -> None:
    ((count, used),) = summarize(attempts((1, 10, NAN, 5), (1, 0.1, NAN, 9))).values()
    assert (count, used.peak_memory_bytes) == (2, None)
    assert used.cpus == Spread(max=0.5, p95=0.5), "an attempt of a tenth of a second says nothing of processors"
    assert propose(used) == Proposed(memory_bytes=None, runtime_s=60, num_cpus=1)


def test_without_attempts_there_are_no_groups_and_no_proposals() -> None:
    assert summarize(attempts()) == {}
    assert propose(NOTHING) == Proposed(memory_bytes=None, runtime_s=None, num_cpus=None)


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (2, 2), (19, 19), (20, 19), (21, 20), (100, 95), (101, 96)])
def test_95_of_100_attempts_do_not_exceed_the_percentile_which_is_one_of_them(count: int, p95: int) -> None:
    found = summarize(attempts(*((1, float(n), float(n), float(n)) for n in range(1, count + 1))))
    assert found[1][1].peak_memory_bytes == Spread(max=count, p95=p95)


@given(st.lists(st.tuples(st.integers(0, 3), st.just(NAN) | st.floats(0, 1e15)), max_size=60))
def test_the_percentile_is_the_least_value_that_enough_attempts_of_its_group_do_not_exceed(
    rows: list[tuple[int, float]],
) -> None:
    found = summarize(attempts(*((group, 1.0, value, 1.0) for group, value in rows)))
    assert found.keys() == {group for group, _ in rows}
    for group, (count, used) in found.items():
        values = [value for each, value in rows if each == group]
        known = sorted(value for value in values if not np.isnan(value))
        enough = [value for value in known if 100 * sum(each <= value for each in known) >= 95 * len(known)]
        assert count == len(values)
        assert used.peak_memory_bytes == (Spread(max=known[-1], p95=enough[0]) if known else None)


@pytest.mark.parametrize(
    ("peak", "proposed"), [(1, MIB), (10 * MIB, 12 * MIB), (1000 * MIB, 1216 * MIB), (2**34, 20 * 2**30)]
)
def test_memory_is_proposed_in_round_numbers(peak: float, proposed: int) -> None:
    used = Used(peak_memory_bytes=Spread(max=peak, p95=peak), runtime_s=None, cpus=None)
    assert propose(used).memory_bytes == proposed


@given(peak=st.floats(1, 2**45), seconds=st.floats(0, 1e7), cpus=st.floats(0, 1000))
def test_what_is_proposed_is_more_than_was_used_and_not_much_more(peak: float, seconds: float, cpus: float) -> None:
    spread = [Spread(max=value, p95=value) for value in (peak, seconds, cpus)]
    better = propose(Used(peak_memory_bytes=spread[0], runtime_s=spread[1], cpus=spread[2]))
    assert better.memory_bytes is not None
    assert 1.2 * peak <= better.memory_bytes <= 1.2 * peak * 17 / 16 + MIB
    assert better.runtime_s is not None
    assert 1.4 * seconds - 1e-6 <= better.runtime_s <= 1.4 * seconds + 60
    assert better.num_cpus is not None
    assert max(cpus - 0.1, 1) <= better.num_cpus <= cpus + 1
