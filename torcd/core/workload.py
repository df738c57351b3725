"""What the jobs of a workflow need, and how many of them may run at once: by the levels of their graph. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torcd.core.expansion import Expansion, NewJob
from torcd.core.graph import Int64, find_levels, pack, sorted_unique
from torcd.core.placement import Requirement

UNSAID = Requirement(name="")
"""Of jobs without requirements: what those would be by default. That an hour does for them is taken for granted."""


@dataclass(frozen=True, slots=True)
class Group:
    """The jobs that need the same, and name the same Slurm scheduler, or none."""

    need: Requirement
    scheduler: str | None
    jobs: int
    levels: Int64
    """Of those that wait to be run: the levels that they are on, ascending."""
    counts: Int64
    """How many there are on each of these."""

    @property
    def name(self) -> str | None:
        """Of the requirements; None: the jobs have none."""
        return self.need.name or None

    @property
    def waiting(self) -> int:
        """How many jobs wait to be run."""
        return int(self.counts.sum())


def group_jobs(
    requirements: Sequence[Requirement],
    requirement_of: NDArray[np.integer],
    schedulers: Sequence[str | None],
    edges: Int64,
    waits: NDArray[np.bool_],
) -> list[Group]:
    """The groups, in the order of their first jobs.

    `requirement_of` has an index for each job, -1: none. `edges` are packed upstream << 32 | downstream; only those
    between jobs that wait keep any of them from running.
    """
    count = len(waits)
    level = find_levels(count, sorted_unique(edges[waits[edges >> 32] & waits[edges & 0xFFFFFFFF]]))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(schedulers))}
    scheduler_of = np.fromiter((numbers[name] for name in schedulers), dtype=np.int64, count=count)
    key = pack(requirement_of.astype(np.int64) + 1, scheduler_of)
    order = np.argsort(key, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if count else []
    groups = []
    for members in sorted(runs, key=lambda run: int(run[0])):
        first = int(members[0])
        levels, counts = np.unique(level[members[waits[members]]], return_counts=True)
        requirement = int(requirement_of[first])
        groups.append(
            Group(
                need=UNSAID if requirement < 0 else requirements[requirement],
                scheduler=schedulers[first],
                jobs=len(members),
                levels=levels.astype(np.int64),
                counts=counts.astype(np.int64),
            )
        )
    return groups


def group_new_jobs(expansion: Expansion) -> list[Group]:
    """The groups of a workflow that would be created: all of its jobs wait."""
    jobs = expansion.jobs
    return group_jobs(
        [
            Requirement(each.name, each.num_cpus, each.memory_bytes, each.num_gpus, each.num_nodes, each.runtime_s)
            for each in expansion.requirements
        ],
        np.array([job.requirement for job in jobs], dtype=np.int64),
        [job.scheduler for job in jobs],
        _find_edges(jobs),
        np.ones(len(jobs), dtype=np.bool_),
    )


def _find_edges(jobs: Sequence[NewJob]) -> Int64:
    """The dependencies between new jobs, explicit and implied (SEMANTICS 3.5)."""
    file_producer = {file: index for index, job in enumerate(jobs) for file in job.output_files}
    data_producer = {data: index for index, job in enumerate(jobs) for data in job.output_user_data}
    pairs = [
        upstream << 32 | index
        for index, job in enumerate(jobs)
        for upstream in (
            *job.depends_on,
            *(file_producer[file] for file in job.input_files if file in file_producer),
            *(data_producer[data] for data in job.input_user_data if data in data_producer),
        )
    ]
    return np.array(pairs, dtype=np.int64)
