"""Which schedulers are proposed, and how many Slurm jobs with each."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.partitions import NodeKind, choose_partition, largest_of, smallest_of
from torcd.core.placement import Requirement
from torcd.core.schedulers import Proposal, Standing, find_walltime, propose_schedulers
from torcd.core.sizing import MOST
from torcd.core.workload import UNSAID, Group
from torcd.protocol.errors import Refused
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import MIB, format_walltime, parse_walltime

HOUR = 3600.0


def kind(partition: str, num_cpus: int = 16, gib: int = 64, gpus: int = 0, hours: float = 24, **more: bool) -> NodeKind:
    return NodeKind(
        partition=partition,
        num_cpus=num_cpus,
        memory_bytes=gib * 1024 * MIB,
        num_gpus=gpus,
        max_time_s=hours * HOUR,
        **more,
    )


SHORT, LONG, GPU = kind("short", hours=4, is_default=True), kind("long", 64, 256, hours=240), kind("gpu", 32, 128, 4)
KINDS = [SHORT, LONG, GPU]


def group(name: str = "r", *levels: int, scheduler: str | None = None, **need: float) -> Group:
    """A group with so many waiting jobs on each level."""
    counts = np.array(levels or (1,), dtype=np.int64)
    requirement = Requirement(name, **need) if name else UNSAID  # type: ignore[arg-type]  # of each its own
    return Group(requirement, scheduler, int(counts.sum()), np.arange(len(counts)), counts)


def standing(node: NodeKind, name: str | None, walltime: str = "02:00:00", **spec: int) -> Standing:
    """A scheduler that takes whole nodes of a partition."""
    made = SlurmSchedulerSpec(name=name, partition=node.partition, walltime=walltime, **spec)
    return Standing(made, replace(node, max_time_s=parse_walltime(walltime)))


def propose(
    groups: list[Group],
    kinds: list[NodeKind],
    present: list[Standing],
    spoil: Callable[[NodeKind], NodeKind] = lambda node: node,
    **more: Any,
) -> Proposal:
    """Where new schedulers take whole nodes; `spoil` is what slurm_defaults do to these."""

    def settle(spec: SlurmSchedulerSpec) -> Standing:
        members = [each for each in kinds if each.partition == spec.partition]
        node = smallest_of(members, with_gpus=spec.gres is not None)
        gpus = 0 if spec.gres is None else node.num_gpus
        return Standing(spec, spoil(replace(node, num_gpus=gpus, max_time_s=parse_walltime(spec.walltime))))

    return propose_schedulers(groups, kinds, present, settle, **more)


def names(proposal: Proposal) -> list[str | None]:
    """Of the scheduler of each group."""
    return [each.standing.spec.name for each in proposal.served]


# ---- properties -------------------------------------------------------------------------------------------

NEEDS = st.builds(
    Requirement,
    name=st.sampled_from("rst"),
    num_cpus=st.integers(1, 8),
    memory_bytes=st.integers(0, 8),
    num_gpus=st.integers(0, 2),
    runtime_s=st.floats(1, 1e6),
)
NODES = st.builds(
    NodeKind,
    partition=st.sampled_from(["a", "b", "a_gpu", "b_2"]),
    num_cpus=st.integers(1, 8),
    memory_bytes=st.integers(1, 8),
    num_gpus=st.integers(0, 2),
    max_time_s=st.one_of(st.just(float("inf")), st.integers(60, 10**6).map(float)),
    is_default=st.booleans(),
)
GROUPS = st.builds(
    lambda need, counts: Group(need, None, sum(counts), np.arange(len(counts)), np.array(counts, dtype=np.int64)),
    NEEDS,
    st.lists(st.integers(1, 10_000), max_size=3),
)
STANDING = st.lists(
    st.builds(
        lambda name, node, walltime_s: Standing(
            SlurmSchedulerSpec(name=name, walltime=format_walltime(walltime_s)), replace(node, max_time_s=walltime_s)
        ),
        st.sampled_from(["a", "b", "a_gpu", "a_2"]),
        NODES,
        st.integers(60, 10**6),
    ),
    max_size=3,
    unique_by=lambda each: each.spec.name,
)


def any_fits(need: Requirement, kinds: list[NodeKind]) -> bool:
    """Whether there is a partition of which any node would do, or any with GPUs where the job needs one."""
    for name in {each.partition for each in kinds}:
        nodes = [each for each in kinds if each.partition == name]
        nodes = [each for each in nodes if each.num_gpus or not need.num_gpus]
        if nodes and all(
            node.num_cpus >= need.num_cpus
            and node.memory_bytes >= need.memory_bytes
            and node.num_gpus >= need.num_gpus
            and node.max_time_s >= need.runtime_s
            for node in nodes
        ):
            return True
    return False


@given(
    st.lists(GROUPS, min_size=1, max_size=4),
    st.lists(NODES, min_size=1, max_size=5),
    STANDING,
    st.booleans(),
)
def test_each_need_is_served_by_what_has_room_and_time_or_all_is_refused(
    groups: list[Group], kinds: list[NodeKind], present: list[Standing], single: bool
) -> None:
    needs = [each.need for each in groups]
    wanted = [largest_of(needs)] if single else needs

    def is_at_home(need: Requirement) -> bool:
        return any(not each.find_trouble(need) for each in present)

    try:
        proposal = propose(groups, kinds, present, account="me", single=single)
    except Refused:
        assert any(not is_at_home(need) and not any_fits(need, kinds) for need in wanted)
        return
    assert all(is_at_home(need) or any_fits(need, kinds) for need in wanted)
    assert [each.group for each in proposal.served] == groups
    assert proposal.warnings == []
    known = [each.spec.name for each in present]
    added = [spec.name for spec in proposal.added]
    assert len({*known, *added}) == len(known) + len(added)
    for spec in proposal.added:
        assert spec.name not in {each.partition for each in kinds} - {spec.partition}
    for each in proposal.served:
        node, need, spec = each.standing.node, each.group.need, each.standing.spec
        assert node is not None
        assert need.runtime_s <= parse_walltime(spec.walltime) == node.max_time_s
        assert each.jobs_per_node >= 1
        for field in ("num_cpus", "memory_bytes", "num_gpus"):
            assert each.jobs_per_node * getattr(need, field) <= getattr(node, field)
        assert (spec in proposal.added) == (not is_at_home(wanted[0] if single else need))
    if single:
        assert len({id(each.standing) for each in proposal.served}) == 1
    for spec in proposal.added:
        limits = [each.max_time_s for each in kinds if each.partition == spec.partition]
        assert parse_walltime(spec.walltime) <= max(limits)
    assert sum(each.jobs for each in proposal.asked) == sum(each.waiting for each in groups)
    assert all(1 <= each.count <= MOST for each in proposal.asked)


@given(st.lists(NODES, min_size=1, max_size=5), NEEDS)
def test_the_partition_that_is_chosen_is_the_smallest_that_fits(kinds: list[NodeKind], need: Requirement) -> None:
    try:
        chosen = choose_partition(need, kinds)
    except Refused:
        assert not any_fits(need, kinds)
        return
    assert chosen.fits(need) >= 1
    members = [each for each in kinds if each.partition == chosen.partition]
    assert all(each.fits(need) for each in members if each.num_gpus or not need.num_gpus)


# ---- what is proposed -------------------------------------------------------------------------------------


def test_schedulers_are_proposed_by_partition_with_names_of_their_own() -> None:
    needs = [group("a"), group("days", runtime_s=48 * HOUR), group("train", num_gpus=1), group("")]
    proposal = propose(needs, KINDS, [], account="me")
    assert names(proposal) == ["short", "long", "gpu_gpu", "short"]
    assert proposal.added == [
        SlurmSchedulerSpec(name="short", account="me", partition="short", walltime="01:15:00"),
        SlurmSchedulerSpec(name="long", account="me", partition="long", walltime="57:40:00"),
        SlurmSchedulerSpec(name="gpu_gpu", account="me", partition="gpu", walltime="01:15:00", gres="gpu:4"),
    ]
    assert [each.jobs_per_node for each in proposal.served] == [16, 64, 4, 16]


def test_no_name_is_that_of_another_partition_or_scheduler() -> None:
    kinds = [kind("main"), kind("main", gpus=2), kind("main_gpu", hours=1)]
    proposal = propose([group("train", num_gpus=1)], kinds, [])
    assert names(proposal) == ["main_gpu_2"]
    present = [standing(SHORT, "short", "00:10:00"), standing(SHORT, "short_2", "00:20:00")]
    assert names(propose([group()], KINDS, present)) == ["short_3"]


def test_what_an_existing_scheduler_serves_gets_no_new_one() -> None:
    present = [standing(LONG, "mine"), standing(SHORT, "tight", "00:30:00")]
    proposal = propose(
        [group("a"), group("quick", runtime_s=60), group("big", num_cpus=65)], [*KINDS, kind("huge", 128)], present
    )
    assert names(proposal) == ["mine", "tight", "huge"]
    assert [spec.name for spec in proposal.added] == ["huge"]


def test_jobs_that_name_a_scheduler_have_it_also_where_it_does_not_run_them() -> None:
    present = [standing(SHORT, "tight", "00:30:00"), Standing(SlurmSchedulerSpec(name="far"), None, "it is far")]
    needs = [group("a", 5, scheduler="tight"), group("b", scheduler="far"), group("c", scheduler="tight", runtime_s=60)]
    proposal = propose(needs, KINDS, present)
    assert (proposal.added, names(proposal)) == ([], ["tight", "far", "tight"])
    assert [each.jobs_per_node for each in proposal.served] == [0, 0, 16]
    assert proposal.warnings == [
        "jobs of 'a' name the scheduler 'tight', which does not run them: it has 0:30:00 of 1:00:00 of time",
        "jobs of 'b' name the scheduler 'far', which does not run them: it is far",
    ]
    assert [(each.spec.name, each.count, each.jobs) for each in proposal.asked] == [("tight", 1, 1)]


def test_a_scheduler_without_a_name_among_several_is_warned_of() -> None:
    proposal = propose([group("a"), group("train", num_gpus=1)], KINDS, [standing(SHORT, None)])
    assert names(proposal) == [None, "gpu_gpu"]
    assert proposal.warnings == [
        "one of slurm_schedulers has no name: give it one, so that it can be chosen among several"
    ]
    assert propose([group("a")], KINDS, [standing(SHORT, None)]).warnings == []


def test_several_nodes_are_for_a_scheduler_that_is_named() -> None:
    with pytest.raises(Refused, match="jobs of 'mpi' need 2 nodes each: write their Slurm scheduler by hand"):
        propose([group("mpi", num_nodes=2)], KINDS, [])
    present = [standing(SHORT, "one"), standing(SHORT, "two", nodes=2)]
    by_hand = [group("mpi", num_nodes=2, scheduler="one"), group("mpi", num_nodes=2, scheduler="two")]
    proposal = propose(by_hand, KINDS, present)
    assert [each.jobs_per_node for each in proposal.served] == [0, 16]
    assert "it has 1 of 2 nodes" in proposal.warnings[0]


def test_what_fits_nowhere_is_refused_with_what_the_nearest_lacks() -> None:
    need = group("vast", memory_bytes=300 * 1024 * MIB, runtime_s=300 * HOUR)
    with pytest.raises(Refused) as caught:
        propose([need], KINDS, [])
    assert caught.value.message.startswith(
        "jobs of 'vast' fit no partition; the nearest is 'gpu', with 131072 of 307200 MiB of memory, "
        "24:00:00 of 300:00:00 of time"
    )
    with pytest.raises(Refused, match="no partition 'x' is up; there are: gpu, long, short"):
        propose([group()], KINDS, [standing(SHORT, "mine")], partition="x")
    with pytest.raises(Refused, match="the nearest is 'short', with 0 of 1 GPUs"):
        propose([group(num_gpus=1)], KINDS, [], partition="short")


def test_what_slurm_defaults_leave_no_room_for_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        propose([group("r", num_cpus=2)], KINDS, [], lambda node: replace(node, num_cpus=1))
    assert caught.value.message == (
        "jobs of 'r' would fit the partition 'short', but not with slurm_defaults: it has 1 of 2 CPUs. Leave out what "
        "they say of how much of a node is taken"
    )


# ---- how many Slurm jobs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "count"),
    [
        ([group("r", 16)], 1),
        ([group("r", 17)], 2),
        ([group("r", 1, 64, 1)], 4),  # the widest level
        ([group("r", 16, 16, 16)], 1),  # one after the other
        ([group("r", 16), group("s", 16)], 2),  # the same level
        ([group("r", 16), group("s", 0, 16)], 1),
        ([group("quick", 64, runtime_s=1000), group("r", 1)], 2),  # 4 rounds in 75 minutes, and one more
        ([group("r", 10**6)], MOST),
    ],
)
def test_the_widest_level_says_how_many(groups: list[Group], count: int) -> None:
    assert [each.count for each in propose(groups, [SHORT], []).asked] == [count]


def test_what_is_on_its_way_and_several_nodes_count() -> None:
    present = [standing(SHORT, "mine", nodes=2, walltime="01:00:00")]
    proposal = propose([group("r", 64)], KINDS, present, pending={"mine": 1, "other": 5})
    assert [(each.count, each.jobs) for each in proposal.asked] == [(1, 64)]
    done = Group(Requirement("r"), None, 3, np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    assert propose([done], KINDS, []).asked == []


def test_a_walltime_has_headroom_up_to_the_limit() -> None:
    assert find_walltime(3600, float("inf")) == 4500
    assert find_walltime(3600, 3600) == 3600
    assert format_walltime(2 * 86400) == "48:00:00"


def test_the_largest_need_has_all_that_is_counted() -> None:
    needs = [Requirement("a", num_cpus=4, runtime_s=1), Requirement("b", memory_bytes=9, num_gpus=1, runtime_s=5)]
    most = largest_of(needs)
    counted = [field.name for field in fields(Requirement) if field.name not in ("name", "num_nodes")]
    assert all(getattr(most, name) == max(getattr(need, name) for need in needs) for name in counted)
