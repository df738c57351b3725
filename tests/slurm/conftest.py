"""Fixtures of the tests that run on a real Slurm."""

from collections.abc import Iterator

import pytest
from slurm_cluster import Cluster, started


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of four nodes."""
    with started() as running:
        yield running
