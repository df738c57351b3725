"""The batch script of an allocation, from what a specification says."""

from typing import Any

import msgspec
import pytest

from torcd.protocol.errors import Refused
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.slurm.script import Plan, find_options, find_partitions, fixes_memory, make_script, quote

PLAN = Plan(
    workflow_id=7,
    allocation_id=12,
    job_name="torc_7_12_ab12cd34",
    scheduler=SlurmSchedulerSpec(account="proj", partition="main", walltime="1-00:30:00"),
    defaults={},
    max_parallel_jobs=None,
    output_dir="/shared/my work/.torc/7",
    connection_file="/home/me/state/connect.json",
    database="/home/me/state/torc.db",
    socket="/run/user/1/torcd.sock",
    python="/opt/torc/bin/python",
)


def options(defaults: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    return find_options(SlurmSchedulerSpec(**fields), defaults or {})


def test_a_script_asks_for_what_the_scheduler_says_and_starts_one_worker() -> None:
    assert make_script(PLAN) == (
        "#!/bin/bash\n"
        "#SBATCH --account=proj\n"
        "#SBATCH --partition=main\n"
        "#SBATCH --nodes=1\n"
        "#SBATCH --time=1-00:30:00\n"
        "#SBATCH --exclusive\n"
        "#SBATCH --mem=0\n"
        "#SBATCH --job-name=torc_7_12_ab12cd34\n"
        '#SBATCH --output="/shared/my work/.torc/7/slurm_12.o"\n'
        '#SBATCH --error="/shared/my work/.torc/7/slurm_12.e"\n'
        "#SBATCH --open-mode=append\n"
        "\n"
        "export TORC_ALLOCATION_ID=12\n"
        "export TORC_WALLTIME_S=88200\n"
        "export TORCD_CONNECTION_FILE=/home/me/state/connect.json\n"
        "export TORCD_DATABASE=/home/me/state/torc.db\n"
        "export TORCD_SOCKET=/run/user/1/torcd.sock\n"
        "export TORC_NO_AUTOSTART=1\n"
        "exec /opt/torc/bin/python -m torcctl worker 7\n"
    )


def test_of_several_nodes_each_gets_a_worker_that_may_end_by_itself() -> None:
    scheduler = SlurmSchedulerSpec(nodes=3)
    last = make_script(msgspec.structs.replace(PLAN, scheduler=scheduler, max_parallel_jobs=4)).splitlines()[-1]
    assert last == (
        "exec srun --overlap --nodes=$SLURM_JOB_NUM_NODES --ntasks=$SLURM_JOB_NUM_NODES --ntasks-per-node=1 --mem=0"
        " --cpus-per-task=$SLURM_CPUS_ON_NODE --kill-on-bad-exit=0 --wait=0"
        " /opt/torc/bin/python -m torcctl worker 7 --max-parallel-jobs 4"
    )


@pytest.mark.parametrize(
    ("fields", "takes_all", "takes_all_memory"),
    [
        ({}, True, True),
        ({"mem": "16g"}, True, False),
        ({"ntasks_per_node": 4}, False, False),
        ({"extra": "--cpus-per-task=4"}, False, False),
        ({"extra": "-c 4"}, False, False),
        ({"extra": "-n8"}, False, False),
        ({"extra": "--exclusive=user"}, False, False),
        ({"extra": "--mem-per-cpu=2G"}, True, False),
        ({"extra": "--constraint=bigmem"}, True, True),
    ],
)
def test_a_node_is_taken_whole_unless_the_user_says_how_much_of_it(
    fields: dict[str, Any], takes_all: bool, takes_all_memory: bool
) -> None:
    found = options(**fields)
    assert ("--exclusive" in found, "--mem=0" in found) == (takes_all, takes_all_memory)


def test_a_schedulers_own_fields_go_before_the_defaults_for_all_and_extra_before_both() -> None:
    defaults = {"account": "all", "qos": "normal", "mail_type": "END", "requeue": True, "hint": None, "-c": 2}
    found = options(defaults, account="own", extra='--qos=high --comment="two words"')
    assert found == [
        "--account=own", "--qos=normal", "--mail-type=END", "--requeue", "--cpus-per-task=2", "--nodes=1",
        "--time=01:00:00", '--qos=high "--comment=two words"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("defaults", "fields", "told"),
    [
        ({"job-name": "x"}, {}, "--job-name is set by torcd itself"),
        ({}, {"extra": "-J x"}, "--job-name is set by torcd itself"),
        ({}, {"extra": "--array=1-9"}, "--array is set by torcd itself"),
        ({}, {"extra": "--arr=1-9"}, "--arr is set by torcd itself"),
        ({}, {"extra": "--wait"}, "--wait is set by torcd itself"),
        ({}, {"extra": "-M other"}, "--clusters is set by torcd itself"),
        ({}, {"extra": "-N 4"}, "given as `nodes` of the scheduler"),
        ({}, {"extra": "--time=10"}, "given as `walltime` of the scheduler"),
        ({"nodes": 3}, {}, "slurm_defaults.nodes: give it to each"),
        ({"walltime": "1:00"}, {}, "slurm_defaults.walltime: give it to each"),
        ({"mem\n#SBATCH --wrap": 1}, {}, "is no option of sbatch"),
        ({"constraint": ["a"]}, {}, "must be a text or a number"),
        ({}, {"extra": '--comment="'}, "is no list of options"),
        ({}, {"partition": "a\nrm -rf /"}, "must not hold line breaks"),
    ],
)
def test_what_would_break_the_script_or_lose_the_job_is_refused(
    defaults: dict[str, Any], fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refused) as caught:
        options(defaults, **fields)
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("value", "quoted"), [("a,b[1-2]%3", "a,b[1-2]%3"), ('say "hi"\\', '"say \\"hi\\"\\\\"'), ("", '""')]
)
def test_values_are_quoted_as_sbatch_reads_them(value: str, quoted: str) -> None:
    assert quote(value) == quoted


def test_signs_that_slurm_replaces_in_paths_are_doubled() -> None:
    script = make_script(msgspec.structs.replace(PLAN, output_dir="/a%j"))
    assert "#SBATCH --output=/a%%j/slurm_12.o\n" in script


@pytest.mark.parametrize(
    ("extra", "partitions"),
    [
        (None, ["main", "other"]),
        ("--hold", ["main", "other"]),
        ("-p short --hold", ["short"]),
        ("-pshort", ["short"]),
        ("--partition=short,long", ["short", "long"]),
        ("--hold --partition short", ["short"]),
    ],
)
def test_the_partitions_that_a_scheduler_may_use_are_found(extra: str | None, partitions: list[str]) -> None:
    assert find_partitions(SlurmSchedulerSpec(extra=extra), {"partition": "main,other"}) == partitions
    assert find_partitions(SlurmSchedulerSpec(partition="own"), {"partition": "main"}) == ["own"]
    assert find_partitions(SlurmSchedulerSpec(), {}) == []


def test_memory_that_a_scheduler_asks_for_excludes_other_ways_to_ask_for_it() -> None:
    options = find_options(SlurmSchedulerSpec(mem="2G"), {"mem-per-cpu": "1G"})
    assert "--mem=2G" in options
    assert not any("mem-per-cpu" in option for option in options)


@pytest.mark.parametrize(
    ("extra", "is_fixed"), [(None, False), ("--hold", False), ("--mem=3G", True), ("--mem-per-cpu 1G", True)]
)
def test_memory_in_extra_goes_before_all_other(extra: str | None, is_fixed: bool) -> None:
    assert fixes_memory(SlurmSchedulerSpec(extra=extra)) == is_fixed
