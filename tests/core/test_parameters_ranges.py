"""Texts that look like ranges and are none."""

import pytest

from torcd.core.parameters import parse_parameter
from torcd.protocol.errors import Refused


@pytest.mark.parametrize("text", ["1:x", "x:1", "1:2:x", "1:", ":", "12:30:00:1"])
def test_a_malformed_range_is_refused(text: str) -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused, match="is not a range"):
        parse_parameter("i", text)


def test_what_is_meant_as_it_stands_is_put_in_brackets() -> None:
    """SEMANTICS 3.2"""
    assert parse_parameter("i", "[1:x]") == ["1:x"]
    assert parse_parameter("i", "a:b") == ["a:b"]
