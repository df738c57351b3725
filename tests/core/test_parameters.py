"""Values, combinations and templates of parameters (SEMANTICS 3.2)."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core import parameters
from torcd.core.parameters import MAX_COMBINATIONS, Combinations, TooMuchText, parse_parameter
from torcd.protocol.errors import Refused


def values(text: Any) -> list[Any]:
    return list(parse_parameter("p", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:5", [1, 2, 3, 4, 5]),
        ("0:100:25", [0, 25, 50, 75, 100]),
        ("0:9:4", [0, 4, 8]),
        ("3:1:-1", [3, 2, 1]),
        ("-1:1", [-1, 0, 1]),
        (" 7 : 8 ", [7, 8]),
        ("0.0:1.0:0.25", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("0:1:0.5", [0.0, 0.5, 1.0]),
        ("1e-3:3e-3:1e-3", [0.001, 0.002, 0.003]),
    ],
)
def test_a_range_includes_both_ends(text: str, expected: list[float]) -> None:
    """SEMANTICS 3.2"""
    assert values(text) == expected


def test_a_float_range_does_not_drift() -> None:
    """SEMANTICS 3.2"""
    assert [str(value) for value in values("0.1:1.0:0.1")] == [
        "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0",
    ]  # fmt: skip
    assert values("0.0:1000.0:0.1")[-1] == 1000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a,b]", ["a", "b"]),
        ("[ 16, 32 ]", [16, 32]),
        ("['adam', \"sgd\"]", ["adam", "sgd"]),
        ("[0.1,1e-4]", [0.1, 0.0001]),
        ("['1', 2]", ["1", 2]),
        ("['a,b', '[c]']", ["a,b", "[c]"]),
        ("['']", [""]),
        ("[007, -3, +3]", ["007", -3, "+3"]),
        ("[train set]", ["train set"]),
    ],
)
def test_a_list_in_a_text_is_split_and_its_numbers_are_numbers(text: str, expected: list[Any]) -> None:
    """SEMANTICS 3.2"""
    assert values(text) == expected
    assert [type(value) for value in values(text)] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("adam", ["adam"]), ("5", [5]), (5, [5]), (0.5, [0.5]), (True, [True]), (["x", 1, "2"], ["x", 1, "2"]),
        ("http://host:80/x", ["http://host:80/x"]), ("", [""]),
    ],
)  # fmt: skip
def test_anything_else_is_one_value_and_a_real_list_stays_as_it_is(value: Any, expected: list[Any]) -> None:
    """SEMANTICS 3.2"""
    assert values(value) == expected


@pytest.mark.parametrize(
    "value", ["1:", ":5", "1:2:3:4", "5:1", "1:5:0", "1:5:-1", "0.0:1.0", "0.0:1.0:0.0", "[a", "a]", "[]", "[a,,b]",
              "[a,]", "[it's]", []],
)  # fmt: skip
def test_a_bad_parameter_is_refused(value: Any) -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused, match="parameter p"):
        parse_parameter("p", value)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "{i}"])
def test_a_name_that_no_template_could_hold_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="no name for a parameter"):
        parse_parameter(name, 1)


@pytest.mark.parametrize("text", ["0:999999999999", "0.0:1e30:1e-30", "0:1e99:0.5"])
def test_a_huge_range_is_refused_before_it_takes_memory(text: str) -> None:
    with pytest.raises(Refused, match=str(MAX_COMBINATIONS)):
        parse_parameter("p", text)


@pytest.mark.parametrize("text", ["{i:999d}", "{i:999d}" * 100, "x" * 2000 + "{i}", "{long}" * 100])
def test_texts_without_end_are_refused_before_they_take_memory(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEMANTICS 3.5. Few characters stand for many."""
    monkeypatch.setattr(parameters, "MAX_CHARACTERS", 10_000_000)
    combinations = Combinations({"i": range(1_000_000), "long": ["a" * 1000]}, "product")
    with pytest.raises(TooMuchText):
        combinations.render(text)


def test_what_is_the_same_in_every_combination_counts_too() -> None:
    combinations = Combinations({"i": range(1_000_000)}, "product")
    combinations.allow(10)
    with pytest.raises(TooMuchText):
        combinations.allow(1000)


def test_the_last_parameter_of_a_product_varies_fastest() -> None:
    """SEMANTICS 3.2"""
    combinations = Combinations({"a": [1, 2], "b": ["x", "y", "z"]}, "product")
    assert combinations.count == 6
    assert combinations.render("{a}{b}") == ["1x", "1y", "1z", "2x", "2y", "2z"]


def test_zip_pairs_values_in_order() -> None:
    """SEMANTICS 3.2"""
    combinations = Combinations({"a": [1, 2], "b": ["x", "y"]}, "zip")
    assert combinations.render("{a}{b}") == ["1x", "2y"]


def test_zip_of_unequal_lengths_is_refused_with_both_lengths() -> None:
    """SEMANTICS 3.2"""
    with pytest.raises(Refused, match="a has 3, b has 2"):
        Combinations({"a": [1, 2, 3], "b": [1, 2]}, "zip")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("job_{i}", "job_7"),
        ("{i:03d}", "007"),
        ("{lr:.4f}", "0.0010"),
        ("{i}{i:>3}{s}", "7  7x"),
        ("{flag}", "true"),
        ("100% of {i}", "100% of 7"),
        ("{{i}}", "{7}"),
    ],
)
def test_templates_are_replaced_with_and_without_a_format(template: str, expected: str) -> None:
    """SEMANTICS 3.2"""
    combinations = Combinations({"i": [7], "lr": [0.001], "s": ["x"], "flag": [True]}, "product")
    assert combinations.render(template) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "${i}",
        "${i:2}",
        "{j}",
        "{}",
        "{ i }",
        '{"i": 1}',
        "{i: 1}",
        "awk '{print $1}'",
        "${files.input.x}",
        "{i",
        "i}",
        "%s",
    ],
)
def test_every_other_brace_stays_literal(text: str) -> None:
    """SEMANTICS 3.2"""
    combinations = Combinations({"i": [7, 8]}, "product")
    assert combinations.render(text) is None
    assert combinations.render(text + "{i}") == [text + "7", text + "8"]


@given(st.text(alphabet=string.printable.replace("{", ""), max_size=40))
def test_a_text_without_opening_braces_holds_no_parameter(text: str) -> None:
    """SEMANTICS 3.2"""
    assert Combinations({"i": [1]}, "product").render(text) is None


@given(st.text(alphabet="{}$ij:%d0 ", max_size=20))
def test_replacing_a_parameter_by_its_own_template_changes_nothing(text: str) -> None:
    """SEMANTICS 3.2: only `{i}` is replaced, all around it stays."""
    rendered = Combinations({"i": ["{i}"]}, "product").render(text.replace(":", ""))
    assert rendered in (None, [text.replace(":", "")])


def test_a_value_is_not_expanded_again() -> None:
    assert Combinations({"a": ["{b}"], "b": ["x"]}, "product").render("{a}{b}") == ["{b}x"]


@pytest.mark.parametrize("template", ["{s:03d}", "{i:foo}", "{lr:d}", "{i:99999d}"])
def test_a_format_that_does_not_fit_is_refused(template: str) -> None:
    """SEMANTICS 3.5"""
    combinations = Combinations({"i": [7], "lr": [0.5], "s": ["x"]}, "product")
    with pytest.raises(Refused, match="format"):
        combinations.render(template)


def test_values_in_a_regular_expression_stand_for_themselves() -> None:
    assert Combinations({"v": [0.5]}, "product").render(r"x_{v}_\d{3}", escape=True) == [r"x_0\.5_\d{3}"]
