"""Counting of what running jobs take, and what the machine allows."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from worker_daemon import launch

from torcctl.worker.resources import Offer, Room, find_offer, usable_cpus, usable_memory_bytes
from torcctl.worker.slurm_environment import Share
from torcd.protocol.errors import Refused
from torcd.protocol.units import MIB
from torcd.protocol.worker_requests import JobLaunch

JOBS = st.lists(
    st.builds(
        lambda cpus, memory, gpus: launch(1, num_cpus=cpus, memory_bytes=memory, num_gpus=gpus),
        st.integers(0, 5),
        st.integers(0, 12),
        st.integers(0, 3),
    ),
    max_size=40,
)
OFFER = Offer(num_cpus=4, memory_bytes=10, num_gpus=2)


@given(jobs=JOBS, endings=st.randoms(use_true_random=False))
def test_running_jobs_never_take_more_than_was_offered(jobs: list[JobLaunch], endings: object) -> None:
    """SEMANTICS 8.1"""
    room = Room(OFFER)
    running: list[JobLaunch] = []
    for job in jobs:
        if room.fits(job):
            room.take(job)
            running.append(job)
        elif running:
            room.give_back(running.pop(endings.randrange(len(running))))  # type: ignore[attr-defined]
        assert sum(one.num_cpus for one in running) == OFFER.num_cpus - room.num_cpus <= OFFER.num_cpus
        assert sum(one.memory_bytes for one in running) <= OFFER.memory_bytes
        assert sum(one.num_gpus for one in running) <= OFFER.num_gpus
    for job in running:
        room.give_back(job)
    assert room.capacity(0) == Room(OFFER).capacity(0)


@given(jobs=JOBS)
def test_a_job_that_can_ever_fit_fits_an_idle_worker(jobs: list[JobLaunch]) -> None:
    room = Room(OFFER)
    assert all(room.can_ever_fit(job) == room.fits(job) for job in jobs)


def test_with_max_parallel_jobs_only_the_number_counts() -> None:
    """SEMANTICS 8.1"""
    room = Room(Offer(num_cpus=1, memory_bytes=1, max_parallel_jobs=2))
    big = launch(1, num_cpus=64, memory_bytes=2**40, num_gpus=8)
    room.take(big)
    assert room.fits(big)
    capacity = room.capacity(0)
    assert capacity is not None
    assert (capacity.jobs, capacity.num_cpus, capacity.memory_bytes, capacity.num_gpus) == (
        1,
        None,
        None,
        None,
    )
    room.take(big)
    assert not room.fits(big)
    assert room.capacity(0) is None


def test_a_full_worker_still_asks_for_jobs_ahead() -> None:
    room = Room(Offer(num_cpus=1, memory_bytes=10))
    room.take(launch(1))
    capacity = room.capacity(3)
    assert capacity is not None
    assert (capacity.ahead, capacity.num_cpus) == (3, 0)


def test_the_processors_are_those_of_the_affinity_unless_a_control_group_allows_less(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/user/session\n")
    assert usable_cpus(tmp_path, membership) == len(os.sched_getaffinity(0))
    (tmp_path / "user" / "session").mkdir(parents=True)
    (tmp_path / "user" / "cpu.max").write_text("max 100000\n")
    assert usable_cpus(tmp_path, membership) == len(os.sched_getaffinity(0))
    (tmp_path / "user" / "cpu.max").write_text("150000 100000\n")
    assert usable_cpus(tmp_path, membership) == 1


def test_the_least_memory_limit_of_all_enclosing_control_groups_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("4:memory:/batch/job\n0::/batch/job\n")
    for group, name, limit in (
        ("memory/batch/job", "memory.limit_in_bytes", "3000000"),
        ("batch", "memory.max", "2000000"),
        ("batch/job", "memory.max", "max"),
    ):
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / name).write_text(limit + "\n")
    assert usable_memory_bytes(tmp_path, membership) == 2000000


@pytest.mark.parametrize("wrong", ["num_cpus", "memory_bytes", "max_parallel_jobs"])
def test_an_impossible_number_is_refused_by_name(wrong: str) -> None:
    numbers: dict[str, int | None] = {"num_cpus": None, "memory_bytes": None, "max_parallel_jobs": None}
    with pytest.raises(Refused, match=wrong):
        find_offer(**(numbers | {wrong: 0}), num_gpus=0)  # type: ignore[arg-type]


def test_what_is_not_given_is_found_on_this_machine() -> None:
    offer = find_offer(num_cpus=None, memory_bytes=None, num_gpus=1, max_parallel_jobs=None)
    assert 1 <= offer.num_cpus <= len(os.sched_getaffinity(0))
    assert offer.memory_bytes > 2**20
    assert offer.num_gpus == 1


SHARE = Share(slurm_job_id="1", num_cpus=1, memory_bytes=MIB, num_gpus=2)


def test_in_a_slurm_job_what_is_not_given_is_its_share_and_never_more_than_there_is() -> None:
    nothing = {"num_cpus": None, "memory_bytes": None, "num_gpus": None, "max_parallel_jobs": None}
    assert find_offer(**nothing, share=SHARE) == Offer(num_cpus=1, memory_bytes=MIB, num_gpus=2)
    large = structs.replace(SHARE, num_cpus=10**6, memory_bytes=2**60)
    found = find_offer(**nothing, share=large)
    assert (found.num_cpus, found.memory_bytes) == (usable_cpus(), usable_memory_bytes())
    assert find_offer(**(nothing | {"num_cpus": 7}), share=SHARE).num_cpus == 7, "what is given is meant"


@given(jobs=JOBS, endings=st.randoms(use_true_random=False))
def test_no_gpu_is_given_to_two_jobs_at_once(jobs: list[JobLaunch], endings: object) -> None:
    """SEMANTICS 8.1"""
    room = Room(OFFER)
    running: list[tuple[JobLaunch, list[str]]] = []
    for number, job in enumerate(jobs):
        named = structs.replace(job, job_id=number)
        while running and not room.fits(named):
            room.give_back(running.pop(endings.randrange(len(running)))[0])  # type: ignore[attr-defined]
        if room.fits(named):
            devices = room.next_devices(named)
            room.take(named)
            running.append((named, devices))
            held = [device for _, each in running for device in each]
            assert len(held) == len(set(held)) == sum(each.num_gpus for each, _ in running)
            assert set(held) <= {"0", "1"}
