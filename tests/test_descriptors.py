"""The daemon takes as many descriptors as it may have, and says how many connections that makes."""

import logging
import resource

import pytest

from torcd.api.limits import Limits
from torcd.descriptors import RESERVED, fit


def test_as_many_connections_are_served_as_there_are_descriptors_for(caplog: pytest.LogCaptureFixture) -> None:
    """INTERFACE 4: limits with clear errors."""
    with caplog.at_level(logging.WARNING):
        assert fit(Limits(connections=100), 100 + RESERVED) == Limits(connections=100)
        assert fit(Limits(connections=100), resource.RLIM_INFINITY) == Limits(connections=100)
        assert caplog.text == ""
        assert fit(Limits(connections=100), 80 + RESERVED) == Limits(connections=80)
    assert "at most 80 connections are served, not 100" in caplog.text
    assert "ulimit -Hn" in caplog.text
    assert fit(Limits(), 3).connections == 1
