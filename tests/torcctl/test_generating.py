"""`slurm generate`: what sinfo says, what is chosen, and how it is told."""

from pathlib import Path

import pytest
import yaml
from cli_outcome import Cli
from hypothesis import given
from hypothesis import strategies as st

from torcctl.generating import format_walltime
from torcctl.partitions import NodeKind, parse_partitions
from torcctl.sizing import Need, choose, find_walltime
from torcctl.worker.slurm_environment import MIB
from torcd.protocol.errors import Refused

SINFO = """\
short*|up|4:00:00|16|64000|(null)
long|up|10-00:00:00|64|256000|(null)
gpu|up|infinite|32|128000|gpu:a100:4(S:0-1)
"""
SPEC = """\
name: w
resource_requirements:
  - {name: small, num_cpus: 2, memory: 4g, runtime: PT1H}
  - {name: days, num_cpus: 2, memory: 4g, runtime: P2D}
  - {name: train, num_gpus: 1, runtime: PT1H}
jobs:
  - {name: a, command: "true", resource_requirements: small}
  - {name: b, command: "true", resource_requirements: days}
  - {name: c, command: "true", resource_requirements: train}
  - {name: d, command: "true"}
"""


def test_kinds_of_nodes_are_read_from_sinfo() -> None:
    kinds = parse_partitions(SINFO + "off|down|1:00|1|1|(null)\nodd line\nhalf|up|30:00|4+|9|(null)\n")
    assert [(kind.partition, kind.num_cpus, kind.num_gpus, kind.max_time_s) for kind in kinds] == [
        ("short", 16, 0, 14400),
        ("long", 64, 0, 864000),
        ("gpu", 32, 4, float("inf")),
    ]
    assert [kind.is_default for kind in kinds] == [True, False, False]
    assert kinds[0].memory_bytes == 64000 * MIB


NEEDS = st.builds(
    Need,
    name=st.just("r"),
    num_cpus=st.integers(1, 8),
    memory_bytes=st.integers(0, 8),
    num_gpus=st.integers(0, 2),
    runtime_s=st.floats(1, 1e6),
)
KINDS = st.builds(
    NodeKind,
    partition=st.sampled_from("abc"),
    num_cpus=st.integers(1, 8),
    memory_bytes=st.integers(1, 8),
    num_gpus=st.integers(0, 2),
    max_time_s=st.one_of(st.just(float("inf")), st.integers(60, 10**6).map(float)),
    is_default=st.booleans(),
)


def largest(needs: list[Need]) -> Need:
    """One job that needs all that any of them needs."""
    most = {each: max(getattr(need, each) for need in needs) for each in Need.__struct_fields__[1:]}
    return Need(name="all", **most)


def any_fits(need: Need, kinds: list[NodeKind]) -> bool:
    """Whether there is a partition of which any node would do, or any with GPUs where the job needs one."""
    for name in {kind.partition for kind in kinds}:
        nodes = [kind for kind in kinds if kind.partition == name]
        nodes = [kind for kind in nodes if kind.num_gpus or not need.num_gpus]
        if nodes and all(
            kind.num_cpus >= need.num_cpus
            and kind.memory_bytes >= need.memory_bytes
            and kind.num_gpus >= need.num_gpus
            and kind.max_time_s >= need.runtime_s
            for kind in nodes
        ):
            return True
    return False


@given(st.lists(NEEDS, min_size=1, max_size=4), st.lists(KINDS, min_size=1, max_size=5), st.booleans())
def test_what_is_chosen_has_room_and_time_for_each_job(needs: list[Need], kinds: list[NodeKind], single: bool) -> None:
    try:
        chosen = choose(needs, kinds, single=single)
    except Refused:
        assert any(not any_fits(need, kinds) for need in ([largest(needs)] if single else needs))
        return
    assert sum(len(sized.needs) for sized in chosen) == len(needs)
    assert not single or len(chosen) == 1
    for sized in chosen:
        assert sized.walltime_s <= sized.node.max_time_s
        assert min(sized.jobs_per_node) >= 1
        assert all(need.runtime_s <= sized.walltime_s for need in sized.needs)


def test_a_walltime_has_headroom_up_to_the_limit() -> None:
    assert find_walltime(3600, float("inf")) == 4500
    assert find_walltime(3600, 3600) == 3600
    assert format_walltime(2 * 86400) == "48:00:00"


@pytest.fixture
def sinfo(tmp_path: Path) -> str:
    """A PATH whose sinfo says SINFO."""
    program = tmp_path / "bin" / "sinfo"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n/bin/cat <<'E'\n{SINFO}E\n")
    program.chmod(0o755)
    (tmp_path / "w.yaml").write_text(SPEC)
    return str(program.parent)


def test_schedulers_are_printed_to_be_pasted(cli: Cli, sinfo: str) -> None:
    outcome = cli("hpc", "slurm", "generate", "w.yaml", "--account", "me", PATH=sinfo)
    assert (outcome.code, outcome.err) == (0, "")
    found = yaml.safe_load(outcome.out)["slurm_schedulers"]
    assert [(each["name"], each["walltime"]) for each in found] == [
        ("short", "01:15:00"),
        ("long", "57:40:00"),
        ("gpu_gpu", "01:15:00"),
    ]
    assert found[2]["gres"] == "gpu:4"
    assert '# jobs of "small": scheduler: "short", 8 at once on a node' in outcome.out
    answer = cli("-f", "json", "slurm", "generate", "w.yaml", "--account", "me", PATH=sinfo).json
    assert answer["slurm_schedulers"] == found
    assert answer["requirements"][1] == {"name": None, "scheduler": "short", "jobs_per_node": 16}


def test_what_fits_nowhere_is_refused_with_what_is_lacking(cli: Cli, sinfo: str) -> None:
    outcome = cli("slurm", "generate", "w.yaml", "--partition", "short", PATH=sinfo)
    assert outcome.code != 0
    assert "'days' fits no partition; the nearest is 'short': 14400 s of 172800 s runtime" in outcome.err
    assert "there are: gpu, long, short" in cli("slurm", "generate", "w.yaml", "--partition", "x", PATH=sinfo).err


def test_requirements_are_read_as_the_daemon_reads_them(cli: Cli, sinfo: str, tmp_path: Path) -> None:
    """SEMANTICS 3.1"""
    spec = SPEC.replace("memory: 4g, runtime: PT1H", "memory: 1.5g, runtime: P1W")
    (tmp_path / "w.yaml").write_text(spec)
    answer = cli("-f", "json", "slurm", "generate", "w.yaml", PATH=sinfo).json
    assert [each["scheduler"] for each in answer["requirements"] if each["name"] == "small"] == ["long"]
    (tmp_path / "w.yaml").write_text(spec.replace("1.5g", "'15'"))
    assert "'small': '15' is not a memory size" in cli("slurm", "generate", "w.yaml", PATH=sinfo).err
    (tmp_path / "w.yaml").write_text(spec.replace("P1W", "PT0S"))
    assert "'small': its runtime is zero" in cli("slurm", "generate", "w.yaml", PATH=sinfo).err


def test_with_a_sinfo_that_is_not_configured_its_words_and_the_way_out_are_told(cli: Cli, sinfo: str) -> None:
    """INTERFACE 2: exit 7, as without one"""
    words = (
        "sinfo: error: fetch_config: DNS SRV lookup failed\nsinfo: fatal: Could not establish a configuration source"
    )
    Path(sinfo, "sinfo").write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    outcome = cli("slurm", "generate", "w.yaml", PATH=sinfo)
    assert outcome.code == cli("slurm", "generate", "w.yaml", PATH="/nonexistent").code == 7
    assert "they say: sinfo: error: fetch_config: DNS SRV lookup failed; sinfo: fatal: Could not" in outcome.err
    assert "Set SLURM_CONF to the slurm.conf of the cluster" in outcome.err


def test_without_sinfo_the_way_out_is_told(cli: Cli, sinfo: str) -> None:
    assert "there is no sinfo in PATH" in cli("slurm", "generate", "w.yaml", PATH="/nonexistent").err
