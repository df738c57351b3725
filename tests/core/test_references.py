"""Regular expressions of specifications: whole names, and none that would hold up the daemon."""

import pytest

from torcd.core.references import LONGEST_PATTERN, LONGEST_SEARCH_S, Names, Patience, count_steps
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


@pytest.mark.parametrize(
    "pattern",
    [
        "(a{1000}){1000}",
        "((((a{999}){999}){999}){999}){999}",
        "(?x)(a{1000}) # taken \n {1000}",
        "((){1000}){1000}",
        "[(]{99999}",
        "(a{1000}){4000000000}",
    ],
)
def test_repetitions_that_would_take_all_memory_are_refused(pattern: str) -> None:
    """SEMANTICS 3.5. They are written out when the expression is compiled, which no time-out interrupts."""
    with pytest.raises(Refused, match="repetitions"):
        Names("job", ["a"]).match(pattern)


def test_what_people_write_is_short_enough() -> None:
    assert count_steps(r"work_\d{3}_[a-z]{2,8}(_x{2}){3}|(final|last)\{9{2}") < 60


def test_an_expression_that_takes_seconds_to_read_is_refused() -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused, match=f"at most {LONGEST_PATTERN} characters"):
        Names("job", ["a"]).match("a|" * LONGEST_PATTERN)


def test_all_expressions_together_have_a_limit_of_time() -> None:
    """SEMANTICS 3.5. Each name may be quick enough, and a million of them too slow."""
    now = [0.0]
    names = Names("job", [f"a{index}" for index in range(100)], Patience(lambda: now[0]))
    assert len(names.match("a.*")) == 100
    now[0] = LONGEST_SEARCH_S + 1
    with pytest.raises(Refused, match="take more than"):
        names.match("a+.*")
