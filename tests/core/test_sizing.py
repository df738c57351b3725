"""How many Slurm jobs are proposed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.placement import NO_REQUIREMENT, Requirement
from torcd.core.sizing import MOST, Node, Size, size_allocations
from torcd.protocol.specification import SlurmSchedulerSpec

GIB = 2**30
HOURS_4 = SlurmSchedulerSpec(walltime="04:00:00")
NODE = Node(num_cpus=8, memory_bytes=64 * GIB, num_gpus=0)


def need(**fields: float) -> Requirement:
    return Requirement(name="n", **fields)  # type: ignore[arg-type]


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
    assert size_allocations(needs, scheduler, node, 0).count == count


def test_what_fits_nowhere_gets_nothing_and_is_told() -> None:
    needs = [(need(runtime_s=20_000), 3), (need(memory_bytes=65 * GIB), 2), (need(), 1)]
    assert size_allocations(needs, HOURS_4, NODE, 0) == Size(count=1, fitting=1, too_long=3, too_large=2)


def test_a_job_without_requirements_fits_into_any_walltime() -> None:
    """Workers start it as long as they start jobs."""
    short = SlurmSchedulerSpec(walltime="00:30:00")
    assert size_allocations([(NO_REQUIREMENT, 9)], short, NODE, 0) == Size(count=2, fitting=9, too_long=0, too_large=0)
    assert size_allocations([(need(), 9)], short, NODE, 0).too_long == 9


def test_what_is_on_its_way_counts() -> None:
    assert size_allocations([(need(), 64)], HOURS_4, NODE, 1).count == 1
    assert size_allocations([(need(), 64)], HOURS_4, NODE, 5).count == 0


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(1, 64), st.integers(1, 8))
def test_more_jobs_never_take_fewer_and_there_is_always_one(jobs: int, runtime: int, cpus: int, nodes: int) -> None:
    scheduler = SlurmSchedulerSpec(walltime="24:00:00", nodes=nodes)
    sizes = [
        size_allocations([(need(runtime_s=runtime), count)], scheduler, Node(num_cpus=cpus), 0)
        for count in (jobs, jobs + 1)
    ]
    assert sizes[0].count <= sizes[1].count
    assert (sizes[0].count >= 1) == (sizes[0].fitting > 0)
