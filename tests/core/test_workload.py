"""How many jobs with which need may run at once."""

import numpy as np
from builders import links
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.placement import Requirement
from torcd.core.workload import UNSAID, group_jobs

NEEDS = [Requirement("a"), Requirement("b", num_cpus=2)]
JOBS = st.lists(
    st.tuples(st.integers(-1, 1), st.sampled_from([None, "s", "t"]), st.booleans(), st.sets(st.integers(0, 7))),
    min_size=1,
    max_size=8,
)
"""Of each job: its requirement, the scheduler that it names, whether it waits, and the earlier jobs it depends on."""


@given(JOBS)
def test_each_job_that_waits_is_counted_on_the_level_that_those_before_it_give(
    jobs: list[tuple[int, str | None, bool, set[int]]],
) -> None:
    edges = [(before, job) for job, (_, _, _, upstream) in enumerate(jobs) for before in upstream if before < job]
    groups = group_jobs(
        NEEDS,
        np.array([job[0] for job in jobs]),
        [job[1] for job in jobs],
        links(edges),
        np.array([job[2] for job in jobs]),
    )
    level = [0] * len(jobs)
    counted: dict[tuple[str | None, str | None], dict[int, int]] = {}
    for number, (requirement, scheduler, waits, upstream) in enumerate(jobs):
        levels = counted.setdefault((None if requirement < 0 else NEEDS[requirement].name, scheduler), {})
        if waits:
            level[number] = max((level[each] + 1 for each in upstream if each < number and jobs[each][2]), default=0)
            levels[level[number]] = levels.get(level[number], 0) + 1
    found = {(each.name, each.scheduler): dict(zip(each.levels, each.counts, strict=True)) for each in groups}
    assert found == counted
    assert list(found) == list(counted), "in the order of their first jobs"
    assert sum(each.jobs for each in groups) == len(jobs)
    assert all(each.need is UNSAID or each.need in NEEDS for each in groups)
