"""A real daemon and client: one for all tests of a module, or one for a test alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import BROKEN, Ran
from real_system import System


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[System]:
    """A user with nothing yet: no state, no daemon."""
    made = System(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A user with a running daemon, for all tests of a module."""
    made = System(tmp_path_factory.mktemp("shared"))
    made.start_daemon()
    yield made
    made.close()


@pytest.fixture
def system(shared: System, tmp_path: Path) -> System:
    """The module's user and daemon, in a directory of the test's own.

    Other tests have workflows there, too: name the workflow in every command.
    """
    shared.work = tmp_path
    return shared


@pytest.fixture(scope="module")
def ran(shared: System) -> Ran:
    """The one workflow that most tests of the contract look at: it has run, one job failed."""
    return Ran(shared)


@pytest.fixture
def broken(alone: System) -> System:
    """A user whose only workflow has run; one of its jobs failed."""
    alone.create(BROKEN)
    alone.torcctl("run", 1, check=False)
    return alone
