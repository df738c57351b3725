"""How wide columns are on a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from torcctl.columns import GAP, LEAST_WIDTH, share_width

COLUMNS = st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=9)


def test_with_room_enough_every_column_has_what_it_wants() -> None:
    assert share_width([4, 10, 30], [False, True, True], 48) == [4, 10, 30]


def test_the_widest_columns_of_text_share_what_the_others_leave() -> None:
    assert share_width([4, 10, 30, 40], [False, True, True, True], 60) == [4, 10, 20, 20]


def test_where_there_is_no_room_text_keeps_a_little_and_the_rest_all_it_needs() -> None:
    assert share_width([19, 20, 5], [False, True, True], 10) == [19, LEAST_WIDTH, 5]


@given(COLUMNS, st.integers(1, 200))
def test_only_text_is_narrowed_and_no_more_than_needed(columns: list[tuple[int, bool]], room: int) -> None:
    wanted, may = [width for width, _ in columns], [shrinks for _, shrinks in columns]
    widths = share_width(wanted, may, room)
    narrowed = [width for width, full in zip(widths, wanted, strict=True) if width < full]
    assert [width for width, shrinks in zip(widths, may, strict=True) if not shrinks] == [
        width for width, shrinks in columns if not shrinks
    ]
    assert all(width >= LEAST_WIDTH for width in narrowed)
    spare = room - sum(widths) - GAP * (len(widths) - 1)
    assert spare >= 0 or all(width == min(full, LEAST_WIDTH) for width, full, shrinks in zip(
        widths, wanted, may, strict=True) if shrinks)  # fmt: skip
    assert not narrowed or spare < len(narrowed)
