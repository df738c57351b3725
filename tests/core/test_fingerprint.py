"""Digests of definitions and user data (SEMANTICS 4.2, 4.3)."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.fingerprint import (
    Definition,
    DefinitionChange,
    definition_digest,
    find_definition_changes,
    user_data_digest,
)

DEFINITION = Definition(
    command="run a.txt",
    invocation_script="wrap.sh",
    env={"A": "1", "B": "ü"},
    input_files=["a", "b"],
    output_files=["c"],
    input_user_data=["d"],
    output_user_data=["e"],
    depends_on=["f", "g"],
)


def test_digests_never_change() -> None:
    """They are kept in databases: golden samples."""
    assert definition_digest(DEFINITION).hex() == GOLDEN_DEFINITION
    assert user_data_digest({"b": [1.0, 2.5, 1e300, "ä1.0"], "a": None}).hex() == GOLDEN_USER_DATA


GOLDEN_DEFINITION = "f791009cae0180d5176094fb7d42dea506fa34f654b4746781a059744c0e03a4"
GOLDEN_USER_DATA = "d193913f3926a10bd04e94eaf2cb3c54e829047cf5b156ce0eb22ec6da9ae1c5"


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "run b.txt"}, {"invocation_script": None}, {"env": {"A": "1"}}, {"input_files": ["a"]},
        {"output_files": ["x"]}, {"input_user_data": []}, {"output_user_data": ["d"]}, {"depends_on": ["f"]},
    ],
)  # fmt: skip
def test_each_critical_attribute_changes_the_digest_and_is_named(changes: dict[str, Any]) -> None:
    """SEMANTICS 4.2"""
    changed = msgspec.structs.replace(DEFINITION, **changes)
    assert definition_digest(changed) != definition_digest(DEFINITION)
    ((field, new),) = changes.items()
    old = getattr(DEFINITION, field)
    assert find_definition_changes(DEFINITION, changed) == [DefinitionChange(field, old, new)]


def test_the_order_of_names_and_variables_and_repetitions_do_not_matter() -> None:
    """SEMANTICS 4.2"""
    same = msgspec.structs.replace(
        DEFINITION, input_files=["b", "a", "b"], depends_on=["g", "f"], env={"B": "ü", "A": "1"}
    )
    assert definition_digest(same) == definition_digest(DEFINITION)
    assert find_definition_changes(DEFINITION, same) == []


def test_names_cannot_move_between_lists_or_join_unnoticed() -> None:
    digests = {
        definition_digest(Definition(command="x", **fields))
        for fields in (
            {"input_files": ["a", "b"]},
            {"input_files": ["ab"]},
            {"input_files": ["a,b"]},
            {"output_files": ["a", "b"]},
            {"input_user_data": ["a", "b"]},
            {"output_user_data": ["a", "b"]},
            {"depends_on": ["a", "b"]},
        )
    }
    assert len(digests) == 7


def test_a_definition_survives_being_stored_as_json() -> None:
    stored = msgspec.json.encode(DEFINITION)
    assert msgspec.json.decode(stored, type=Definition) == DEFINITION


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_key_order_and_white_space_do_not_change_the_digest_of_user_data(value: Any) -> None:
    """SEMANTICS 4.3"""
    digest = user_data_digest(value)
    assert user_data_digest(shuffled(value)) == digest
    assert user_data_digest(msgspec.json.decode(json.dumps(value, indent=3).encode())) == digest


@given(JSON, JSON)
def test_different_user_data_have_different_digests(one: Any, other: Any) -> None:
    """SEMANTICS 4.3"""

    def canonical(value: Any) -> str:
        def number(item: Any) -> Any:
            if isinstance(item, float) and item.is_integer():
                return int(item)
            if isinstance(item, list):
                return [number(part) for part in item]
            return {key: number(part) for key, part in item.items()} if isinstance(item, dict) else item

        return json.dumps(number(value), sort_keys=True)

    assert (user_data_digest(one) == user_data_digest(other)) == (canonical(one) == canonical(other))


@pytest.mark.parametrize("same", [(1, 1.0), (0, -0.0), (10**22, 1e22), ([100], [1e2])])
def test_equal_numbers_are_equal_however_written(same: tuple[Any, Any]) -> None:
    assert user_data_digest(same[0]) == user_data_digest(same[1])


@pytest.mark.parametrize(
    "different", [(1, "1"), (1, True), (0, False), (None, "null"), ("1.0", "1"), ([], {}), (1, 1.5)]
)
def test_values_of_different_kinds_are_different(different: tuple[Any, Any]) -> None:
    assert user_data_digest(different[0]) != user_data_digest(different[1])
