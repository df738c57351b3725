"""What sinfo says of partitions, and what a specification's schedulers are on them."""

from typing import Any

import pytest

from torcd.core.partitions import find_limits
from torcd.core.placement import Requirement
from torcd.core.sizing import Limits
from torcd.protocol.errors import Refused
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import MIB
from torcd.slurm.partitions import count_gpus, parse_partitions
from torcd.slurm.standing import find_standing

SINFO = """\
short*|up|4:00:00|16|64000|(null)
long|up|10-00:00:00|64|256000|(null)
gpu|up|infinite|32|128000|gpu:a100:4(S:0-1)
gpu|up|infinite|32|64000|(null)
"""
KINDS = parse_partitions(SINFO)


def test_kinds_of_nodes_are_read_from_sinfo() -> None:
    kinds = parse_partitions(SINFO + "off|down|1:00|1|1|(null)\nodd line\nhalf|up|30:00|4+|9|(null)\n")
    assert [(kind.partition, kind.num_cpus, kind.num_gpus, kind.max_time_s) for kind in kinds] == [
        ("short", 16, 0, 14400),
        ("long", 64, 0, 864000),
        ("gpu", 32, 4, float("inf")),
        ("gpu", 32, 0, float("inf")),
    ]
    assert [kind.is_default for kind in kinds] == [True, False, False, False]
    assert kinds[0].memory_bytes == 64000 * MIB


@pytest.mark.parametrize(
    ("names", "limits"),
    [
        ([], Limits(14400.0, 64000 * MIB)),
        (["long"], Limits(864000.0, 256000 * MIB)),
        (["short", "long"], Limits(864000.0, 256000 * MIB)),
        (["gpu"], Limits(None, 128000 * MIB)),
        (["short", "gpu"], Limits(None, 128000 * MIB)),
        (["gone"], Limits(None, None)),
    ],
)
def test_partitions_give_at_most_what_their_largest_node_has(names: list[str], limits: Limits) -> None:
    assert find_limits(KINDS, names) == limits


def test_gpus_are_counted_over_their_types() -> None:
    assert count_gpus("gpu:kepler:2(S:0),gpu:tesla:1(S:1),craynetwork:4") == 3
    assert count_gpus("(null)") == 0


@pytest.mark.parametrize(
    ("spec", "defaults", "offers"),
    [
        ({"partition": "long"}, {}, (64, 256000, 0)),
        ({}, {}, (16, 64000, 0)),  # the default partition
        ({}, {"partition": "long"}, (64, 256000, 0)),
        ({"partition": "short,long"}, {}, (16, 64000, 0)),  # either
        ({"partition": "gpu"}, {}, (32, 64000, 0)),  # what is not asked for is not had
        ({"partition": "gpu", "gres": "gpu:2"}, {}, (32, 128000, 2)),
        ({"partition": "gpu", "gres": "gpu"}, {}, (32, 128000, 1)),
        ({"extra": "-p gpu --gpus-per-node=a100:8"}, {}, (32, 128000, 4)),
        ({"mem": "8G"}, {}, (16, 8192, 0)),
        ({"mem": "0"}, {}, (16, 64000, 0)),
        ({"ntasks_per_node": 4}, {}, (4, 16000, 0)),
        ({"ntasks_per_node": 4}, {"exclusive": True}, (16, 64000, 0)),
        ({"extra": "-c 2 --mem-per-cpu 1000"}, {}, (2, 2000, 0)),
        ({"extra": "--ntasks=2 --cpus-per-task=4", "mem": "100g"}, {}, (8, 64000, 0)),
    ],
)
def test_a_scheduler_has_what_it_asks_for_of_the_smallest_node(
    spec: dict[str, Any], defaults: dict[str, Any], offers: tuple[int, int, int]
) -> None:
    standing = find_standing(SlurmSchedulerSpec(walltime="01:00:00", **spec), defaults, KINDS)
    node = standing.node
    assert node is not None
    assert (node.num_cpus, node.memory_bytes // MIB, node.num_gpus, node.max_time_s) == (*offers, 3600)


def test_a_scheduler_that_the_cluster_has_nothing_for_runs_nothing() -> None:
    specs = [SlurmSchedulerSpec(partition="x"), SlurmSchedulerSpec(partition="short", walltime="1-00:00:00")]
    troubles = [find_standing(spec, {}, KINDS).find_trouble(Requirement("r")) for spec in specs]
    assert troubles == [
        "its partition, 'x', is not up here",
        "its walltime, 1-00:00:00, is more than its partition allows, 4:00:00",
    ]
    standing = find_standing(SlurmSchedulerSpec(), {}, KINDS[1:])
    assert standing.trouble == "a default partition is not up here"


def test_options_that_are_none_are_refused() -> None:
    with pytest.raises(Refused, match=r"slurm_defaults\.nodes"):
        find_standing(SlurmSchedulerSpec(), {"nodes": 2}, KINDS)
    with pytest.raises(Refused, match="--job-name is set by torcd itself"):
        find_standing(SlurmSchedulerSpec(extra="-J mine"), {}, KINDS)
    with pytest.raises(Refused, match="must not hold line breaks"):
        find_standing(SlurmSchedulerSpec(account="a\nb"), {}, KINDS)
