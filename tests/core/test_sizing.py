"""How many Slurm jobs are proposed, and how large ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.placement import NO_REQUIREMENT, Requirement
from torcd.core.sizing import (
    ENDING_S,
    MOST,
    WORKER_BYTES,
    Limits,
    Misfits,
    Node,
    OnTheirWay,
    Size,
    size_allocations,
)
from torcd.protocol.specification import SlurmSchedulerSpec

GIB = 2**30
HOURS_4 = SlurmSchedulerSpec(walltime="04:00:00")
NODE = Node(num_cpus=8, memory_bytes=64 * GIB, num_gpus=0)
LONG = 20_000
"""Seconds that are more than four hours."""


def need(**fields: float) -> Requirement:
    return Requirement(name="n", **fields)  # type: ignore[arg-type]


def count_of(*arguments: Any, **more: Any) -> int:
    return sum(size.count for size in size_allocations(*arguments, **more)[0])


@pytest.mark.parametrize(
    ("needs", "scheduler", "node", "count"),
    [
        ([(need(), 32)], HOURS_4, NODE, 1),  # 8 at once, 4 times
        ([(need(), 33)], HOURS_4, NODE, 2),
        ([(need(memory_bytes=32 * GIB), 16)], HOURS_4, NODE, 2),
        ([(need(runtime_s=10_000), 16)], HOURS_4, NODE, 2),
        ([(need(), 16), (need(runtime_s=14_400), 4)], HOURS_4, NODE, 1),
        ([(need(), 64)], SlurmSchedulerSpec(walltime="04:00:00", nodes=2), NODE, 1),
        ([(need(), 8)], HOURS_4, Node(), 2),  # one at once: nobody knows the node
        ([(need(), 10**6)], HOURS_4, NODE, MOST),
        ([], HOURS_4, NODE, 0),
    ],
)
def test_jobs_share_nodes_and_time(
    needs: list[tuple[Requirement, int]], scheduler: SlurmSchedulerSpec, node: Node, count: int
) -> None:
    assert count_of(needs, scheduler, node) == count


def test_what_takes_longer_gets_slurm_jobs_with_more_time() -> None:
    """SEMANTICS 5.9"""
    needs = [(need(runtime_s=LONG), 3), (need(), 1)]
    (plain, larger), misfits = size_allocations(needs, HOURS_4, NODE)
    assert plain == Size(count=1, fitting=1)
    assert larger == Size(count=1, fitting=3, walltime_s=20_160)
    assert larger.walltime_s >= LONG + ENDING_S
    assert misfits == Misfits()


def test_what_needs_more_memory_gets_slurm_jobs_with_more_and_some_for_the_worker() -> None:
    scheduler = SlurmSchedulerSpec(mem="10G")
    ((plain, larger), _) = size_allocations(
        [(need(memory_bytes=GIB), 5), (need(memory_bytes=15 * GIB), 2)], scheduler, NODE
    )
    assert plain == Size(count=1, fitting=5)
    assert larger == Size(count=2, fitting=2, memory_bytes=15 * GIB + WORKER_BYTES)
    ((on_a_node_that_nobody_saw,), _) = size_allocations([(need(memory_bytes=15 * GIB), 2)], scheduler, Node())
    assert on_a_node_that_nobody_saw == larger


def test_without_memory_asked_for_a_node_of_more_is_asked_for() -> None:
    ((larger,), misfits) = size_allocations([(need(memory_bytes=65 * GIB), 2)], HOURS_4, NODE)
    assert (larger.memory_bytes, misfits.too_large) == (65 * GIB + WORKER_BYTES, 0)


def test_no_more_is_asked_for_than_the_partition_gives() -> None:
    limits = Limits(walltime_s=LONG, memory_bytes=65 * GIB)
    needs = [(need(runtime_s=LONG), 1), (need(memory_bytes=65 * GIB), 1)]
    ((larger,), misfits) = size_allocations(needs, HOURS_4, NODE, limits=limits)
    assert (larger.walltime_s, larger.memory_bytes, misfits) == (LONG, 65 * GIB, Misfits()), "without room to spare"
    beyond = [(need(runtime_s=LONG + 1), 3), (need(memory_bytes=66 * GIB), 2)]
    sizes, misfits = size_allocations(beyond, HOURS_4, NODE, limits=limits)
    assert sizes == []
    assert misfits == Misfits(too_long=3, longest_s=LONG + 1, too_large=2, largest_bytes=66 * GIB)


def test_what_no_request_for_memory_helps_is_told() -> None:
    sizes, misfits = size_allocations([(need(num_cpus=9), 4), (need(num_gpus=1), 1)], HOURS_4, NODE)
    assert (sizes, misfits.too_large) == ([], 5)
    sizes, misfits = size_allocations([(need(memory_bytes=65 * GIB), 4)], HOURS_4, NODE, is_memory_fixed=True)
    assert (sizes, misfits.too_large) == ([], 4)


def test_a_job_that_takes_all_of_the_walltime_is_started_in_it() -> None:
    """SEMANTICS 8.1"""
    sizes, misfits = size_allocations([(need(runtime_s=14_400), 1)], HOURS_4, NODE, limits=Limits(walltime_s=3600))
    assert (sizes, misfits) == ([Size(count=1, fitting=1)], Misfits()), "Slurm said no when the scheduler was written"


def test_a_job_without_requirements_fits_into_any_walltime() -> None:
    """Workers start it as long as they start jobs."""
    short = SlurmSchedulerSpec(walltime="00:30:00")
    assert size_allocations([(NO_REQUIREMENT, 9)], short, NODE) == ([Size(count=2, fitting=9)], Misfits())
    ((longer,), _) = size_allocations([(need(), 9)], short, NODE)
    assert longer.walltime_s == 3720


def test_what_is_on_its_way_counts() -> None:
    assert count_of([(need(), 64)], HOURS_4, NODE, [OnTheirWay(1, 14_400)]) == 1
    assert count_of([(need(), 64)], HOURS_4, NODE, [OnTheirWay(5, 14_400)]) == 0


def test_what_is_on_its_way_counts_only_for_what_it_is_large_enough_for() -> None:
    needs = [(need(runtime_s=LONG), 1), (need(), 1)]
    assert count_of(needs, HOURS_4, NODE, [OnTheirWay(2, 14_400)]) == 1
    assert count_of(needs, HOURS_4, NODE, [OnTheirWay(1, 86_400)]) == 1, "not for both"
    assert count_of(needs, HOURS_4, NODE, [OnTheirWay(2, 86_400)]) == 0
    large = [(need(memory_bytes=65 * GIB), 1)]
    assert count_of(large, HOURS_4, NODE, [OnTheirWay(1, 14_400)]) == 1
    assert count_of(large, HOURS_4, NODE, [OnTheirWay(1, 14_400, 70 * GIB)]) == 0


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(1, 64), st.integers(1, 8))
def test_more_jobs_never_take_fewer_and_there_is_always_one(jobs: int, runtime: int, cpus: int, nodes: int) -> None:
    scheduler = SlurmSchedulerSpec(walltime="24:00:00", nodes=nodes)
    counts = [
        count_of([(need(runtime_s=runtime), count)], scheduler, Node(num_cpus=cpus)) for count in (jobs, jobs + 1)
    ]
    assert 1 <= counts[0] <= counts[1]


@given(
    st.lists(
        st.tuples(st.builds(need, runtime_s=st.integers(0, 50_000), memory_bytes=st.integers(0, 99 * GIB),
                            num_cpus=st.integers(1, 9)), st.integers(1, 99)),
        max_size=5,
    ),
    st.builds(Limits, walltime_s=st.none() | st.integers(0, 50_000), memory_bytes=st.none() | st.integers(0, 99 * GIB)),
)  # fmt: skip
def test_each_job_has_a_slurm_job_that_it_fits_in_or_is_told_of(
    needs: list[tuple[Requirement, int]], limits: Limits
) -> None:
    """SEMANTICS 5.9"""
    sizes, misfits = size_allocations(needs, HOURS_4, NODE, limits=limits)
    assert sum(each.fitting for each in sizes) + misfits.too_long + misfits.too_large == sum(n for _, n in needs)
    for size in sizes:
        assert size.count >= 1
        assert size.walltime_s is None or size.walltime_s <= (limits.walltime_s or 86_400)
        assert size.memory_bytes is None or size.memory_bytes <= (limits.memory_bytes or 100 * GIB)
