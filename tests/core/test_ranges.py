"""Sets of ids as ranges."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.ranges import find_ranges, format_ranges

sets = st.sets(st.integers(1, 60), max_size=40).map(sorted)


@given(sets)
def test_ranges_hold_exactly_the_ids_and_do_not_touch(ids: list[int]) -> None:
    runs = find_ranges(np.array(ids, dtype=np.int64))
    assert [number for low, high in runs for number in range(low, high + 1)] == ids
    assert all(low > before + 1 for (_, before), (low, _) in itertools.pairwise(runs))


@given(sets)
def test_the_text_names_every_id_once(ids: list[int]) -> None:
    text = format_ranges(np.array(ids, dtype=np.int64))
    named = []
    for part in text.split(",") if text else []:
        low, _, high = part.partition("-")
        named += range(int(low), int(high or low) + 1)
    assert named == ids


def test_a_long_text_ends_in_an_ellipsis() -> None:
    odd = np.arange(1, 11, 2, dtype=np.int64)
    assert format_ranges(odd, most=3) == "1,3,5,…"
    assert format_ranges(odd, most=5) == "1,3,5,7,9"
