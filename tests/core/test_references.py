"""Regular expressions of specifications: whole names, and none that would hold up the daemon."""

import pytest

from torcd.core.references import Names
from torcd.protocol.errors import Refused


def test_an_expression_that_backtracks_without_end_is_refused() -> None:
    """SEMANTICS 3.4 and 3.5"""
    names = Names("job", ["a" * 40 + "b"])
    with pytest.raises(Refused, match="takes too long"):
        names.match("(a|aa)+$")


def test_an_expression_matches_whole_names() -> None:
    """SEMANTICS 3.4"""
    names = Names("job", ["work_1", "work_12", "rework_1"])
    assert names.match("work_\\d") == [0]
