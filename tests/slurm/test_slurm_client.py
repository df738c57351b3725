"""Slurm's programs as they are run, on a real Slurm: what the fake of the actors' tests stands for."""

import os
from pathlib import Path

import pytest
from slurm_cluster import Cluster, started

from torcd.core.allocations import PENDING, Row
from torcd.protocol.errors import Refused
from torcd.slurm.client import NoAnswer, Rejected, Slurm

NAME = "torc_1_2_0123abcd"
SCRIPT = "#!/bin/bash\n#SBATCH --job-name={name}\n#SBATCH --output=/dev/null\n{more}sleep 600\n"


@pytest.fixture
def slurm(cluster: Cluster) -> Slurm:
    """One whose user likes to see only some jobs, and not those of the tests."""
    tastes = {"SQUEUE_PARTITION": "short", "SQUEUE_NAMES": "mine", "SCANCEL_PARTITION": "short"}
    return Slurm({"PATH": os.environ["PATH"], **cluster.environ, **tastes})


def row(job_id: int | None) -> Row:
    return Row(2, 1, PENDING, NAME, job_id, "PENDING", None, None, 10**12, None)


async def submit(slurm: Slurm, directory: Path, name: str = NAME, more: str = "") -> int:
    script = directory / f"{name}.sh"
    script.write_text(SCRIPT.format(name=name, more=more))
    return await slurm.submit(str(script), os.environ, str(directory), 0o022)


async def test_a_job_is_submitted_found_by_its_name_and_canceled(
    slurm: Slurm, cluster: Cluster, tmp_path: Path
) -> None:
    job_id = await submit(slurm, tmp_path)
    assert (await slurm.load_queue())[NAME].job_id == job_id
    await slurm.cancel(NAME, job_id)
    cluster.empty()
    assert (await slurm.load_queue())[NAME].state == "CANCELLED"
    assert (await slurm.find_ended([row(job_id)]))[NAME].state == "CANCELLED"
    await slurm.cancel(NAME, job_id)  # again is fine


async def test_a_job_that_has_the_id_but_not_the_name_is_left_alone(
    slurm: Slurm, cluster: Cluster, tmp_path: Path
) -> None:
    """Slurm's ids are used again"""
    job_id = await submit(slurm, tmp_path, name="of-somebody-else")
    await slurm.cancel(NAME, job_id)
    assert await slurm.find_ended([row(job_id)]) == {}
    assert cluster.state(job_id) in ("PENDING", "RUNNING")
    cluster.empty()


async def test_a_refusal_and_no_answer_are_told_apart(slurm: Slurm, tmp_path: Path, cluster: Cluster) -> None:
    with pytest.raises(Rejected, match="Invalid partition name specified"):
        await submit(slurm, tmp_path, more="#SBATCH --partition=nope\n")
    nowhere = Slurm({"PATH": os.environ["PATH"], "SLURM_CONF": str(tmp_path / "none.conf")}, timeout_s=0.5)
    with pytest.raises(NoAnswer, match=r"no answer within 0\.5 s"):
        await nowhere.load_queue()


async def test_without_accounting_that_is_said(slurm: Slurm) -> None:
    with pytest.raises(Rejected, match="accounting storage is disabled"):
        await slurm.load_account({NAME: 0})


async def test_what_the_daemon_lacks_is_learned_from_whoever_schedules(cluster: Cluster, tmp_path: Path) -> None:
    slurm = Slurm({"PATH": str(tmp_path), "SLURM_JOB_ID": "7"})
    with pytest.raises(Refused, match="there is no sbatch in PATH"):
        slurm.check_installed()
    slurm.learn({"PATH": os.environ["PATH"], **cluster.environ})
    slurm.check_installed()
    assert isinstance(await slurm.load_queue(), dict)


async def test_with_accounting_a_job_is_known_for_ever_and_a_wrong_account_is_refused(tmp_path: Path) -> None:
    with started("--accounting", nodes=1) as cluster:
        slurm = Slurm({"PATH": os.environ["PATH"], **cluster.environ})
        with pytest.raises(Rejected, match="Invalid account or account/partition combination specified"):
            await submit(slurm, tmp_path, more="#SBATCH --account=nope\n")
        job_id = await submit(slurm, tmp_path)
        await slurm.cancel(NAME, job_id)
        cluster.wait("the end is known", lambda: "CANCELLED" in cluster.run("sacct", "-n", "-X", "-o", "State"))
        found = (await slurm.find_ended([row(None)]))[NAME]
        assert (found.job_id, found.state) == (job_id, "CANCELLED")
        rows = await slurm.load_account({NAME: 10**12})
        assert rows[0]["JobName"] == NAME
