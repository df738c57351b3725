"""Sets of ids as ranges."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.ranges import find_blocks, find_ranges, format_ranges

sets = st.sets(st.integers(1, 60), max_size=40).map(sorted)


@given(sets)
def test_ranges_hold_exactly_the_ids_and_do_not_touch(ids: list[int]) -> None:
    runs = find_ranges(np.array(ids, dtype=np.int64))
    assert [number for low, high in runs for number in range(low, high + 1)] == ids
    assert all(low > before + 1 for (_, before), (low, _) in itertools.pairwise(runs))


@given(sets, st.integers(1, 9), st.none() | st.integers(0, 9))
def test_blocks_hold_all_ids_and_neither_more_of_them_nor_longer_gaps_than_allowed(
    ids: list[int], most: int, gap: int | None
) -> None:
    blocks = find_blocks(np.array(ids, dtype=np.int64), most, gap)
    held = [[each for each in ids if low <= each <= high] for low, high in blocks]
    assert [each for block in held for each in block] == ids
    assert all(1 <= len(block) <= most for block in held)
    missing = [after - before - 1 for block in held for before, after in itertools.pairwise(block)]
    assert gap is None or all(each <= gap for each in missing)


def test_a_block_ends_only_where_it_has_to() -> None:
    ids = np.array([1, 2, 9, 10, 30], dtype=np.int64)
    assert find_blocks(ids, 10) == [(1, 30)]
    assert find_blocks(ids, 10, gap=6) == [(1, 10), (30, 30)]
    assert find_blocks(ids, 3, gap=6) == [(1, 9), (10, 10), (30, 30)]


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
