"""A real Slurm for the tests of a session, and users of torcctl on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from real_system import System
from slurm_cluster import Cluster, started


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of four nodes."""
    with started() as running:
        yield running


@pytest.fixture
def system(cluster: Cluster, tmp_path: Path) -> Iterator[System]:
    """A user of that cluster, whose daemon looks at Slurm twice a second. Afterwards the queue is empty."""
    made = System(tmp_path)
    made.environ |= {**cluster.environ, "TORCD_SLURM_POLL": "0.5"}
    yield made
    cluster.empty()
    made.close()
