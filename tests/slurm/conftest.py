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
def alone(cluster: Cluster, tmp_path: Path) -> Iterator[System]:
    """A user of that cluster, whose daemon looks at Slurm twice a second. Afterwards the queue is empty."""
    made = _user(cluster, tmp_path)
    yield made
    cluster.empty()
    made.close()


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[System]:
    """A user of a cluster of one node with accounting, where the kernel kills what takes more memory than it may."""
    with started("--cgroups", "--accounting", nodes=1) as running:
        made = _user(running, tmp_path)
        yield made
        made.close()


@pytest.fixture(scope="module")
def shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A user with a running daemon, for all tests of a module."""
    made = _user(cluster, tmp_path_factory.mktemp("shared"))
    made.start_daemon()
    yield made
    made.close()


@pytest.fixture
def system(shared: System, cluster: Cluster, tmp_path: Path) -> Iterator[System]:
    """The module's user, in a directory of the test's own. Afterwards the queue is empty."""
    shared.work = tmp_path
    yield shared
    cluster.empty()


@pytest.fixture(scope="module")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A user, with a running daemon, of a cluster of two nodes, of which one has two GPUs."""
    with started("--gpus=2", nodes=2) as running:
        made = _user(running, tmp_path_factory.mktemp("gpus"))
        made.start_daemon()
        yield made
        made.close()


def _user(cluster: Cluster, directory: Path) -> System:
    user = System(directory)
    user.environ |= {**cluster.environ, "TORCD_SLURM_POLL": "0.5"}
    return user
