"""A small version of `make load`: many workers and subscribers at once, some slow, some dead (SEMANTICS 7.2, 8.1)."""

from typing import Any

import pytest
from real_system import PATIENCE_S

from benchmarks.load import Options, measure

SMALL = Options(
    workers=60, subscribers=60, slow=4, dead=4, seconds=PATIENCE_S, job_s=(0.05, 0.5), storm_s=1.5, stages=4
)


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return measure(SMALL)


def test_work_goes_on_and_nobody_is_told_of_an_error(seen: dict[str, Any]) -> None:
    """SEMANTICS 8.1, 8.4: through connections that are lost, every job is run once."""
    assert seen["errors"] == []
    assert seen["log_errors"] == []
    assert SMALL.stages is not None
    assert seen["counts"] == {"completed": SMALL.stages * (SMALL.workers + 1)}
    assert seen["milliseconds"]["claim, in a herd"]["count"] == (SMALL.stages - 1) * SMALL.workers


def test_events_reach_subscribers_in_spite_of_slow_and_dead_ones(seen: dict[str, Any]) -> None:
    """SEMANTICS 7.1, 7.2: each event once and in order, also across reconnects, else there would be an error."""
    assert seen["events"] > 0
    assert seen["milliseconds"]["event"]["count"] > SMALL.subscribers


def test_descriptors_come_back(seen: dict[str, Any]) -> None:
    """Connections that were lost are closed: there is one for each peer, and those about to close."""
    peers = SMALL.workers + SMALL.subscribers
    assert seen["descriptors"]["most"] <= 2 * peers + 100
