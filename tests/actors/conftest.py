"""A house of actors on a real database, closed after the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from actor_rig import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "torc.db") as opened:
        yield opened
