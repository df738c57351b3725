"""A real daemon for the tests of a module."""

from collections.abc import Iterator

import pytest
from real_system import System


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A user with a running daemon, for all tests of a module, whose log must show no bug in the end."""
    made = System(tmp_path_factory.mktemp("shared"))
    made.start_daemon()
    yield made
    log = made.log.read_text()
    made.close()
    for bad in ("Traceback", "because of a bug", "failed unexpectedly", "crashed"):
        assert bad not in log, log[-4000:]
