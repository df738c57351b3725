"""Slurm's programs without a cluster: they are there, but know of none. No Slurm is needed for most of this."""

import os
from pathlib import Path

import pytest
from real_system import System
from slurm_cluster import Cluster
from slurm_workflows import allocations, workflow

from torcd.protocol.errors import Refused
from torcd.slurm.client import NoAnswer, Rejected, Slurm

WORDS = "fatal: Could not establish a configuration source"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory of programs that say so."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for name in ("sbatch", "squeue", "sacct", "sinfo"):
        (directory / name).write_text(f"#!/bin/sh\necho '{name}: {WORDS}' >&2\nexit 1\n")
        (directory / name).chmod(0o755)
    return directory


async def test_what_is_not_configured_is_told_in_its_own_words_with_what_to_do(programs: Path) -> None:
    slurm = Slurm({"PATH": str(programs)})
    with pytest.raises(Refused, match=rf"they say: sbatch: {WORDS}\. Set SLURM_CONF"):
        await slurm.check_configured()
    with pytest.raises(NoAnswer, match=rf"they say: squeue: {WORDS}\. Set SLURM_CONF"):
        await slurm.load_queue()
    with pytest.raises(Rejected, match=rf"they say: sacct: {WORDS}\. Set SLURM_CONF"):
        await slurm.load_account({"torc_1_2_0123abcd": 0})
    with pytest.raises(Refused, match=rf"they say: sinfo: {WORDS}\. Set SLURM_CONF"):
        await slurm.load_partitions()


async def test_a_configuration_that_is_not_there_is_not_waited_for(programs: Path) -> None:
    """Slurm's programs look for it for a minute."""
    slurm = Slurm({"PATH": str(programs)})
    slurm.learn({"SLURM_CONF": "/nowhere/slurm.conf"})
    with pytest.raises(Refused, match=r"they say: SLURM_CONF is /nowhere/slurm\.conf, which is not there"):
        await slurm.check_configured()
    with pytest.raises(Refused, match=r"they say: SLURM_CONF is /nowhere/slurm\.conf, which is not there"):
        await slurm.load_partitions()


async def test_the_real_programs_are_told_apart_from_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    broken = tmp_path / "slurm.conf"
    broken.write_text("nonsense\n")
    with pytest.raises(Refused, match=r"they say: sbatch: error: Parse error .*Unable to process configuration file"):
        await Slurm({"PATH": os.environ["PATH"], "SLURM_CONF": str(broken)}).check_configured()
    await Slurm({"PATH": os.environ["PATH"], **cluster.environ}).check_configured()


def test_without_a_cluster_nothing_is_submitted_nor_written(tmp_path: Path, programs: Path) -> None:
    """INTERFACE 2: exit 7, as without sbatch"""
    user = System(tmp_path)
    try:
        user.environ["PATH"] = f"{programs}:{user.environ['PATH']}"
        workflow_id = user.create(workflow("true"))
        ran = user.torcctl("slurm", "schedule-nodes", workflow_id, check=False)
        assert (ran.code, WORDS in ran.err, "torcctl run" in ran.err) == (7, True, True)
        assert allocations(user, workflow_id) == []
    finally:
        user.close()
