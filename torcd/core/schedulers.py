"""Which `slurm_schedulers` a workflow should have on a cluster, and how many Slurm jobs to ask each of them for. Pure.

Those that it has already are kept, and taken wherever they do. A job that names one of them has it; the choice for the
others goes by what they need.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from torcd.core.partitions import NodeKind, choose_partition, describe_jobs, find_lacks, largest_of
from torcd.core.placement import Requirement
from torcd.core.sizing import count_allocations, count_rounds
from torcd.core.workload import Group
from torcd.protocol.errors import Refused
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import format_walltime

HEADROOM = 1.2
"""Of the walltime over the longest runtime, where the partition allows it."""

STEP_S = 300
"""Walltimes are rounded up to five minutes."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A scheduler of the specification, or one that is proposed for it, and what each of its nodes is for a job."""

    spec: SlurmSchedulerSpec
    node: NodeKind | None
    """Its `max_time_s` is the scheduler's walltime. None: this cluster has none for it."""
    trouble: str = ""
    """Why there is none, in words."""

    def find_trouble(self, need: Requirement) -> str:
        """Why it does not run jobs with this need, in words; empty: it does."""
        if self.node is None:
            return self.trouble
        if need.num_nodes > self.spec.nodes:
            return f"it has {self.spec.nodes} of {need.num_nodes} nodes"
        lacks = find_lacks(need, self.node)
        return f"it has {', '.join(lacks)}" if lacks else ""


@dataclass(frozen=True, slots=True)
class Served:
    """Which scheduler the jobs of a group go with."""

    group: Group
    standing: Standing
    jobs_per_node: int
    """At once; 0: it does not run them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How many Slurm jobs to submit with a scheduler."""

    spec: SlurmSchedulerSpec
    count: int
    jobs: int
    """Those that wait, and that it runs."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that is proposed."""

    added: list[SlurmSchedulerSpec]
    served: list[Served]
    asked: list[Asked]
    warnings: list[str]


def propose_schedulers(
    groups: Sequence[Group],
    kinds: Sequence[NodeKind],
    standing: Sequence[Standing],
    settle: Callable[[SlurmSchedulerSpec], Standing],
    *,
    account: str | None = None,
    partition: str | None = None,
    single: bool = False,
    pending: Mapping[str | None, int] | None = None,
) -> Proposal:
    """What suits the jobs; `kinds` are those of all partitions that are up, `pending` the Slurm jobs that wait already,
    and `settle` tells what a new scheduler comes to, with what the specification says of all of them.

    New ones are in `partition` alone, if that is given; `single` asks for one for all jobs that name none. Raises
    Refused where a need fits nowhere.
    """
    by_name = {each.spec.name: each for each in standing if each.spec.name is not None}
    chosen = {place: by_name[group.scheduler] for place, group in enumerate(groups) if group.scheduler is not None}
    free = {place: group.need for place, group in enumerate(groups) if group.scheduler is None}
    _check_single_node(free.values())
    if single and free:
        free = dict.fromkeys(free, largest_of(list(free.values())))
    usable = _find_usable(kinds, partition)
    homeless: dict[NodeKind, list[int]] = {}
    for place, need in free.items():
        able = _choose_standing(need, standing)
        if able is not None:
            chosen[place] = able
        else:
            homeless.setdefault(choose_partition(need, usable), []).append(place)
    names = {each.spec.name for each in standing}
    partitions = {kind.partition for kind in kinds}
    added = []
    for node, places in homeless.items():
        needs = [groups[place].need for place in places]
        made = settle(_make_spec(node, needs, account, names | (partitions - {node.partition})))
        _check_room(made, needs)
        names.add(made.spec.name)
        added.append(made)
        chosen |= dict.fromkeys(places, made)
    served = [_serve(group, chosen[place]) for place, group in enumerate(groups)]
    every = [*standing, *added]
    asked = [_ask(each, [found for found in served if found.standing is each], pending or {}) for each in every]
    return Proposal(
        added=[each.spec for each in added],
        served=served,
        asked=[each for each in asked if each.jobs],
        warnings=_find_warnings(served, every),
    )


def _check_single_node(needs: Iterable[Requirement]) -> None:
    """Raises Refused: how several nodes are shared out is for somebody to decide."""
    for need in needs:
        if need.num_nodes != 1:
            raise Refused(
                f"{describe_jobs(need)} need {need.num_nodes} nodes each: write their Slurm scheduler by hand, and "
                "name it as their `scheduler`",
                resource_requirements=need.name or None,
                value=need.num_nodes,
            )


def _choose_standing(need: Requirement, standing: Sequence[Standing]) -> Standing | None:
    """The smallest that runs such jobs, of equal ones the first; None: none does."""
    able = [(each.node.size, index) for index, each in enumerate(standing) if each.node and not each.find_trouble(need)]
    return standing[min(able)[1]] if able else None


def _find_usable(kinds: Sequence[NodeKind], partition: str | None) -> list[NodeKind]:
    """Those of the partition that is asked for. Raises Refused where it has none."""
    found = [kind for kind in kinds if partition in (None, kind.partition)]
    if not found:
        names = ", ".join(sorted({kind.partition for kind in kinds}))
        raise Refused(f"no partition {partition!r} is up; there are: {names}", partition=partition)
    return found


def _make_spec(
    node: NodeKind, needs: Sequence[Requirement], account: str | None, taken: Collection[str | None]
) -> SlurmSchedulerSpec:
    """A scheduler that is new; `taken` are the names that it must not have."""
    has_gpus = any(need.num_gpus for need in needs)
    return SlurmSchedulerSpec(
        name=_find_name(f"{node.partition}_gpu" if has_gpus else node.partition, taken),
        account=account,
        partition=node.partition,
        walltime=format_walltime(find_walltime(max(need.runtime_s for need in needs), node.max_time_s)),
        gres=f"gpu:{node.num_gpus}" if has_gpus else None,
    )


def _check_room(made: Standing, needs: Sequence[Requirement]) -> None:
    """Raises Refused where a scheduler has less than its nodes: only `slurm_defaults` can be the reason."""
    for need in needs:
        trouble = made.find_trouble(need)
        if trouble:
            raise Refused(
                f"{describe_jobs(need)} would fit the partition {made.spec.partition!r}, but not with slurm_defaults: "
                f"{trouble}. Leave out what they say of how much of a node is taken",
                resource_requirements=need.name or None,
                partition=made.spec.partition,
            )


def _find_name(wanted: str, taken: Collection[str | None]) -> str:
    """The name, or the first of `name_2`, `name_3`, … that is nobody's."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def find_walltime(runtime_s: float, max_time_s: float) -> int:
    """The runtime with headroom, at most what the partition allows: that is enough for a job to be started."""
    return int(min(math.ceil(runtime_s * HEADROOM / STEP_S) * STEP_S, max_time_s))


def _serve(group: Group, standing: Standing) -> Served:
    """How a scheduler does for a group."""
    node = standing.node
    return Served(group, standing, 0 if node is None or standing.find_trouble(group.need) else node.fits(group.need))


def _ask(standing: Standing, served: Sequence[Served], pending: Mapping[str | None, int]) -> Asked:
    """The Slurm jobs for the level of the graph that takes most of them: its jobs run at once."""
    able = [each for each in served if each.jobs_per_node]
    shares = np.zeros(max((int(each.group.levels[-1]) + 1 for each in able if len(each.group.levels)), default=1))
    for each in able:
        assert standing.node is not None
        rounds = count_rounds(each.group.need, standing.node.max_time_s)
        shares[each.group.levels] += each.group.counts / (rounds * each.jobs_per_node * standing.spec.nodes)
    return Asked(
        spec=standing.spec,
        count=count_allocations(float(shares.max()), pending.get(standing.spec.name, 0)),
        jobs=sum(each.group.waiting for each in able),
    )


def _find_warnings(served: Sequence[Served], standing: Sequence[Standing]) -> list[str]:
    """What somebody should mend by hand."""
    warnings = [
        f"{describe_jobs(each.group.need)} name the scheduler {each.group.scheduler!r}, which does not run them: "
        f"{each.standing.find_trouble(each.group.need)}"
        for each in served
        if not each.jobs_per_node
    ]
    if len(standing) > 1 and any(each.spec.name is None for each in standing):
        warnings.append("one of slurm_schedulers has no name: give it one, so that it can be chosen among several")
    return warnings
