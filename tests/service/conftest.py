"""One service manager for all tests of a module."""

from collections.abc import Iterator

import pytest
from service_rig import User


@pytest.fixture(scope="module")
def session() -> Iterator[User]:
    made = User()
    yield made
    made.close()


@pytest.fixture
def user(session: User) -> Iterator[User]:
    """A user of torcctl without a daemon, a database or a service."""
    yield session
    session.reset()
