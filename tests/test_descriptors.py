"""The daemon takes as many descriptors as it may have, and says how many connections that makes."""

import logging
import resource

import pytest

from torcd.api.limits import Limits
from torcd.descriptors import RESERVED, fit


def test_as_many_connections_are_served_as_there_are_descriptors_for(caplog: pytest.LogCaptureFixture) -> None:
    """INTERFACE 4: limits with clear errors."""
    limits = Limits(connections=100, heard_strangers=4, strangers=10)
    with caplog.at_level(logging.WARNING):
        assert fit(limits, 100 + RESERVED + 14) == limits
        assert fit(limits, resource.RLIM_INFINITY) == limits
        assert caplog.text == ""
        assert fit(limits, 80 + RESERVED + 14).connections == 80
    assert "at most 80 connections are served, not 100" in caplog.text
    assert "ulimit -Hn" in caplog.text
    assert fit(Limits(), 3).connections == 1


def test_strangers_get_a_quarter_of_few_descriptors() -> None:
    fitted = fit(Limits(), 128)
    assert (fitted.heard_strangers, fitted.strangers) == (16, 16)
    assert fitted.connections == 128 - RESERVED - 32
