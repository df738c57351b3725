"""Which ready jobs a worker is handed."""

from collections.abc import Callable

import numpy as np
import pytest
from builders import Sketch, sketch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from torcd.core.draft import Draft
from torcd.core.placement import Requirement, Room, describe_lack
from torcd.core.status import Status
from torcd.operations.report import count_stranded, hand_out
from torcd.protocol.worker_requests import Capacity

S = Status
GIB = 2**30
ANY = Room(2**31, None, None, None)


def ready(names: str, **options: object) -> Sketch:
    return sketch(*names.split(), status=S.READY, **options)  # type: ignore[arg-type]


def take(made: Sketch, capacity: Capacity, total: Room = ANY) -> list[str]:
    """Claims in a draft; the names in the order of the claim."""
    claim = hand_out(Draft(made.state, 0), 1, capacity, total)
    return [] if claim is None else made.names(claim.jobs)


def need(name: str, **amounts: object) -> Requirement:
    return Requirement(name=name, **amounts)  # type: ignore[arg-type]


def test_jobs_are_handed_out_by_priority_then_in_their_order() -> None:
    """SEMANTICS 8.1"""
    made = ready("a b c d", priority={"c": 5, "b": -1})
    assert take(made, Capacity(jobs=3)) == ["c", "a", "d"]
    assert take(made, Capacity(jobs=3)) == ["b"]
    assert take(made, Capacity(jobs=3)) == []


def test_a_large_job_at_the_head_does_not_keep_small_ones_from_running() -> None:
    """SEMANTICS 8.1"""
    made = ready(
        "large s1 s2", requirements=[need("large", num_cpus=64)], needs={"large": "large"}, priority={"large": 9}
    )
    assert take(made, Capacity(jobs=9, num_cpus=2, memory_bytes=GIB)) == ["s1", "s2"]
    assert made.status()["large"] == S.READY


def test_a_job_that_exceeds_all_of_a_worker_is_left_for_another_even_ahead() -> None:
    """SEMANTICS 8.1"""
    made = ready("large small", requirements=[need("large", num_cpus=64)], needs={"large": "large"})
    total = Room(2**31, 4, GIB, 0)
    assert take(made, Capacity(jobs=9, num_cpus=4, ahead=9), total) == ["small"]
    assert take(made, Capacity(jobs=9, num_cpus=64), Room(2**31, 64, GIB, 0)) == ["large"]


def test_a_worker_with_limited_time_begins_with_what_takes_longest_and_then_with_what_is_largest() -> None:
    """SEMANTICS 8.1"""
    needs = [need("short", runtime_s=60), need("large", runtime_s=60, memory_bytes=GIB), need("long", runtime_s=600)]
    made = ready("a b c d e", requirements=needs, needs={"b": "short", "c": "large", "d": "long"}, priority={"e": 1})
    limited = Capacity(jobs=9, time_left_s=3600.0)
    assert take(made, limited) == ["e", "d", "c", "b", "a"]
    again = ready("a b c d e", requirements=needs, needs={"b": "short", "c": "large", "d": "long"}, priority={"e": 1})
    assert take(again, structs.replace(limited, time_left_s=None)) == ["e", "a", "b", "c", "d"]


def test_max_parallel_jobs_ignores_resources() -> None:
    """SEMANTICS 8.1"""
    made = ready(
        "a b c", requirements=[need("big", num_cpus=500, memory_bytes=2**50)], needs=dict.fromkeys("abc", "big")
    )
    assert take(made, Capacity(jobs=2), Room(2, None, None, None)) == ["a", "b"]


def test_jobs_ahead_come_beyond_what_fits() -> None:
    made = ready("a b c d e")
    assert take(made, Capacity(jobs=2, ahead=2)) == ["a", "b", "c", "d"]
    assert take(made, Capacity(jobs=0, ahead=1)) == ["e"]


def test_jobs_ahead_are_taken_by_priority_too() -> None:
    made = ready("a b c", requirements=[need("two", num_cpus=2)], needs={"c": "two"}, priority={"c": 1})
    total = Room(2**31, 2, GIB, 0)
    assert take(made, Capacity(jobs=9, num_cpus=0, memory_bytes=GIB, ahead=2), total) == ["c", "a"]


def test_a_job_that_would_not_end_in_time_is_left_for_another_worker_even_ahead() -> None:
    """SEMANTICS 8.1"""
    made = ready(
        "long short",
        requirements=[need("h", runtime_s=3600), need("m", runtime_s=60)],
        needs={"long": "h", "short": "m"},
    )
    assert take(made, Capacity(jobs=0, ahead=9, time_left_s=3599.9)) == ["short"]
    assert take(made, Capacity(jobs=9, ahead=9, time_left_s=3599.9)) == []
    assert take(made, Capacity(jobs=9, time_left_s=3600)) == ["long"]


def test_with_max_parallel_jobs_the_time_counts_all_the_same() -> None:
    """SEMANTICS 8.1"""
    made = ready("long", requirements=[need("h", runtime_s=3600)], needs={"long": "h"})
    assert take(made, Capacity(jobs=2, time_left_s=60), Room(2, None, None, None)) == []


def test_a_job_without_requirements_fits_into_any_time() -> None:
    """SEMANTICS 8.1: of such a job nobody has said how long it takes"""
    assert take(ready("a"), Capacity(jobs=1, time_left_s=0.5)) == ["a"]


@pytest.mark.parametrize(
    ("left_s", "stranded"), [(None, 0), (100.0, 0), (60.0, 0), (59.9, 2)], ids=["unlimited", "ample", "just", "short"]
)
def test_a_worker_waits_in_vain_when_nothing_that_is_ready_ends_in_its_time(
    left_s: float | None, stranded: int
) -> None:
    """SEMANTICS 8.1"""
    made = ready("a b", requirements=[need("m", runtime_s=60)], needs={"a": "m", "b": "m"})
    assert count_stranded(made.state, Room(2**31, 4, GIB, 0, left_s)) == stranded


def test_what_a_job_lacks_is_said_in_words() -> None:
    assert describe_lack(need("h", runtime_s=5400), 59.94) == "the job takes 1:30:00, 59.9 s are left"


SORTED = [
    need("plain", num_gpus=0, runtime_s=60, memory_bytes=1),
    need("long", num_gpus=0, runtime_s=600, memory_bytes=1),
    need("fat", num_gpus=0, runtime_s=60, memory_bytes=9),
    need("gpu", num_gpus=1, runtime_s=1, memory_bytes=0),
]
EACH = {name: name for name in ("plain", "long", "fat", "gpu")}


def test_sort_methods_order_jobs_of_one_priority() -> None:
    """SEMANTICS 8.1: gpus_runtime_memory, gpus_memory_runtime, none"""

    def order(method: str) -> list[str]:
        made = ready("plain long fat gpu", requirements=SORTED, needs=EACH, sort_method=method)
        return take(made, Capacity(jobs=4))

    assert order("none") == ["plain", "long", "fat", "gpu"]
    assert order("gpus_runtime_memory") == ["gpu", "long", "fat", "plain"]
    assert order("gpus_memory_runtime") == ["gpu", "fat", "long", "plain"]


def test_priority_goes_before_the_sort_method() -> None:
    """SEMANTICS 8.1"""
    made = ready("plain gpu", requirements=SORTED, needs=EACH, sort_method="gpus_runtime_memory", priority={"plain": 1})
    assert take(made, Capacity(jobs=2)) == ["plain", "gpu"]


def test_a_job_that_became_ready_twice_is_handed_out_once() -> None:
    made = ready("a b")
    for _ in range(3):
        made.state.ready.add(made.jobs("a", "b"))
    assert take(made, Capacity(jobs=9)) == ["a", "b"]
    assert take(made, Capacity(jobs=9)) == []
    Draft(made.state, 0).move(made.jobs("b"), S.READY)  # handed back
    assert take(made, Capacity(jobs=9)) == ["b"]


def test_a_job_that_is_not_ready_any_more_is_skipped_and_costs_no_place() -> None:
    made = ready("a b c")
    Draft(made.state, 0).move(made.jobs("a"), S.CANCELED)
    assert take(made, Capacity(jobs=2)) == ["b", "c"]


def test_handed_back_jobs_come_before_later_ones() -> None:
    made = ready("a b c d")
    assert take(made, Capacity(jobs=2)) == ["a", "b"]
    Draft(made.state, 0).move(made.jobs("b"), S.READY)
    assert take(made, Capacity(jobs=2)) == ["b", "c"]


def test_many_jobs_handed_back_at_once_are_in_order_too() -> None:
    names = [f"j{number:03d}" for number in range(100)]
    made = sketch(*names, status=S.READY)
    assert take(made, Capacity(jobs=50)) == names[:50]
    Draft(made.state, 0).move(made.jobs(*names[5:45]), S.READY)
    assert take(made, Capacity(jobs=100)) == names[5:45] + names[50:]


@settings(max_examples=200)
@given(st.data())
def test_a_claim_never_exceeds_the_capacity_and_leaves_nothing_that_fits(data: st.DataObject) -> None:
    """SEMANTICS 8.1"""
    draw: Callable = data.draw
    amounts = st.integers(0, 4)
    needs = [
        need(
            f"r{index}",
            num_cpus=draw(amounts),
            memory_bytes=draw(amounts),
            num_gpus=draw(amounts),
            runtime_s=float(draw(amounts)),
        )
        for index in range(draw(st.integers(1, 4)))
    ]
    names = [f"j{number}" for number in range(draw(st.integers(1, 12)))]
    of = {name: draw(st.sampled_from(needs)).name for name in names}
    priority = {name: draw(st.integers(-1, 1)) for name in names}
    made = sketch(
        *names,
        status=S.READY,
        requirements=needs,
        needs=of,
        priority=priority,
        sort_method=draw(st.sampled_from(["none", "gpus_runtime_memory", "gpus_memory_runtime"])),
    )
    limit = st.one_of(st.none(), st.integers(0, 8))
    time_left_s = draw(st.one_of(st.none(), st.floats(0, 4)))
    free = Room(draw(st.integers(0, 9)), draw(limit), draw(limit), draw(limit), time_left_s)
    capacity = Capacity(
        jobs=free.jobs,
        num_cpus=free.num_cpus,
        memory_bytes=free.memory_bytes,
        num_gpus=free.num_gpus,
        time_left_s=time_left_s,
    )
    taken = take(made, capacity)
    by_name = {each.name: each for each in needs}
    assert len(taken) == len(set(taken)) <= free.jobs
    left = Room(free.jobs, free.num_cpus, free.memory_bytes, free.num_gpus, time_left_s)
    for name in taken:
        assert time_left_s is None or by_name[of[name]].runtime_s <= time_left_s, "it has time to end"
        assert left.fits(by_name[of[name]]) >= 1, "it fitted when it was taken"
        left.take(by_name[of[name]], 1)
    assert [priority[name] for name in taken] == sorted((priority[name] for name in taken), reverse=True)
    for name in set(names) - set(taken):
        assert left.fits(by_name[of[name]]) == 0, "whatever is left does not fit"
    for name in taken:
        better = [other for other in names if of[other] == of[name] and priority[other] > priority[name]]
        assert set(better) <= set(taken), "equal needs are taken by priority"
    assert np.flatnonzero(made.state.jobs.status == S.READY).size == len(names) - len(taken)


@settings(max_examples=200)
@given(st.data())
def test_a_claim_with_less_time_left_is_what_the_same_claim_with_more_takes_of_the_jobs_that_end_in_time(
    data: st.DataObject,
) -> None:
    """SEMANTICS 8.1: the time that is left decides which jobs count, and nothing else."""
    draw: Callable = data.draw
    needs = [need(f"r{index}", runtime_s=float(draw(st.integers(1, 4)))) for index in range(3)]
    of = {f"j{number}": draw(st.sampled_from([*needs, None])) for number in range(draw(st.integers(1, 9)))}
    time_left_s = draw(st.floats(0, 5))
    capacity = Capacity(jobs=draw(st.integers(0, 5)), ahead=draw(st.integers(0, 5)))

    def made(names: list[str]) -> Sketch:
        named = {name: each.name for name in names if (each := of[name]) is not None}
        return sketch(*names, status=S.READY, requirements=needs, needs=named)

    ending = [name for name, each in of.items() if each is None or each.runtime_s <= time_left_s]
    limited, ample = (structs.replace(capacity, time_left_s=left_s) for left_s in (time_left_s, 9.0))
    assert take(made(list(of)), limited) == (take(made(ending), ample) if ending else [])
