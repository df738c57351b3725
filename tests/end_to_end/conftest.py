"""A real daemon and client for each test, or for all tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from real_system import System


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A user with nothing yet: no state, no daemon."""
    made = System(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A user with a running daemon, for the tests of a module that do not mind each other's workflows."""
    made = System(tmp_path_factory.mktemp("shared"))
    made.start_daemon()
    yield made
    made.close()
