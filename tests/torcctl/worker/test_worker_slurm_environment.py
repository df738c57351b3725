"""What a worker makes of Slurm's variables: those of a real batch script and of real tasks, and odd ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcctl.worker.slurm_environment import Share, find_devices, find_share, find_time_left

BATCH = {
    "SLURM_JOB_ID": "2",
    "SLURMD_NODENAME": "w1",
    "SLURM_CPUS_ON_NODE": "2",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_TASKS_PER_NODE": "1",
    "SLURM_MEM_PER_NODE": "1000",
    "SLURM_GPUS_ON_NODE": "2",
    "SLURM_JOB_GPUS": "0,1",
    "CUDA_VISIBLE_DEVICES": "0,1",
}
"""As Slurm 22.05 sets them for `sbatch -c 2 --mem 1000 --gres=gpu:2`."""


def share_of(**changes: str | None) -> Share | None:
    return find_share({name: value for name, value in (BATCH | changes).items() if value is not None})


def test_the_share_of_a_batch_script() -> None:
    assert share_of() == Share(slurm_job_id="2", num_cpus=2, memory_bytes=1000 * 2**20, num_gpus=2)
    assert find_devices(BATCH) == ("0", "1")


@pytest.mark.parametrize("missing", ["SLURM_JOB_ID", "SLURMD_NODENAME"])
def test_outside_a_job_and_on_the_host_of_an_salloc_there_is_no_share(missing: str) -> None:
    assert share_of(**{missing: None}) is None


@pytest.mark.parametrize(
    ("tasks", "node", "cpus"), [("2(x3),1", "1", 8), ("2(x3),1", "3", 4), ("3", "0", 12), ("odd", "0", 4), ("", "5", 4)]
)
def test_where_the_processors_of_the_node_are_not_told_they_are_those_of_its_tasks(
    tasks: str, node: str, cpus: int
) -> None:
    share = share_of(SLURM_CPUS_ON_NODE=None, SLURM_CPUS_PER_TASK="4", SLURM_TASKS_PER_NODE=tasks, SLURM_NODEID=node)
    assert share is not None
    assert share.num_cpus == cpus


def test_memory_is_told_for_the_node_or_for_each_processor_or_gpu_or_not() -> None:
    def memory(**changes: str | None) -> int | None:
        share = share_of(**changes)
        assert share is not None
        return share.memory_bytes

    assert memory(SLURM_MEM_PER_NODE=None, SLURM_MEM_PER_CPU="300") == 600 * 2**20
    assert memory(SLURM_MEM_PER_NODE=None, SLURM_MEM_PER_GPU="4000") == 8000 * 2**20
    assert memory(SLURM_MEM_PER_NODE=None) is None
    assert memory(SLURM_MEM_PER_NODE="0") is None, "all of the node's"


@pytest.mark.parametrize(
    ("told", "devices"),
    [
        ("NoDevFiles", ()), ("-1", ()), ("2, 3", ("2", "3")),
        ("GPU-8932f937-d72c,MIG-1/0", ("GPU-8932f937-d72c", "MIG-1/0")), ("0,none,1", ("0",)), ("", ("5",)),
        ("2-4,7", ("2", "3", "4", "7")), ("1-x", ()),
    ],
)  # fmt: skip
def test_only_what_names_a_gpu_is_one(told: str, devices: tuple[str, ...]) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": told, "SLURM_JOB_GPUS": "5"}
    assert find_devices(environ) == devices
    share = share_of(**environ, SLURM_GPUS_ON_NODE=None)
    assert share is not None
    assert share.num_gpus == len(devices)


def test_the_time_of_a_job_is_the_difference_of_two_times_of_one_clock() -> None:
    """SEMANTICS 8.3"""
    share = share_of(SLURM_JOB_START_TIME="1000000", SLURM_JOB_END_TIME="1003600")
    assert share is not None
    assert share.limit_s == 3600.0
    share = share_of(SLURM_JOB_END_TIME="1003600")
    assert share is not None
    assert share.limit_s is None


@pytest.mark.parametrize(("told", "num_nodes"), [("64", 64), (None, 1), ("", 1)])
def test_a_worker_knows_how_many_there_are_of_its_kind(told: str | None, num_nodes: int) -> None:
    share = share_of(SLURM_JOB_NUM_NODES=told)
    assert share is not None
    assert share.num_nodes == num_nodes


def test_of_an_array_the_time_of_the_own_task_counts() -> None:
    """As `squeue -j 1` lists the tasks of array 1, of which the last has that id itself."""
    listed = "5 9:54\n1 59:54\n4 8:00\n12 1:00\n"
    assert find_time_left(listed, "1") == 3594.0
    assert find_time_left(listed, "2") is None
    assert find_time_left("", "1") is None


@given(st.dictionaries(st.sampled_from(sorted({*BATCH, "SLURM_MEM_PER_CPU", "SLURM_NODEID"})), st.text(max_size=12)))
def test_no_value_of_the_variables_stops_a_worker(environ: dict[str, str]) -> None:
    find_share({"SLURM_JOB_ID": "1", "SLURMD_NODENAME": "n"} | environ)
    find_devices(environ)
