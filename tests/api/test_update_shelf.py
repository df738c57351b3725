"""Differences that are read page by page."""

import msgspec
import pytest

from torcd.api import update_shelf
from torcd.api.update_shelf import UpdateShelf
from torcd.protocol.errors import NotFound


def read(shelf: UpdateShelf, token: str) -> list[list[int]]:
    """All pages."""
    pages, cursor = [], 0
    while cursor is not None:
        page, cursor = shelf.show(token, cursor)
        pages.append([msgspec.json.decode(entry) for entry in page])
    return pages


def test_pages_have_a_bounded_size_and_at_least_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_shelf, "PAGE_BYTES", 5)
    shelf = UpdateShelf()
    assert read(shelf, shelf.keep([b"11", b"12", b"13", b"1234567", b"14"])) == [[11, 12], [13], [1234567], [14]]


def test_no_differences_are_one_empty_page() -> None:
    shelf = UpdateShelf()
    assert read(shelf, shelf.keep([])) == [[]]


def test_what_was_read_to_its_end_is_dropped() -> None:
    shelf = UpdateShelf()
    token = shelf.keep([b"1"])
    read(shelf, token)
    with pytest.raises(NotFound, match="ask for it again"):
        shelf.show(token, 0)


def test_the_oldest_is_dropped_when_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_shelf, "MOST_BYTES", 5)
    shelf = UpdateShelf()
    first, second = shelf.keep([b"11", b"12"]), shelf.keep([b"13", b"14"])
    with pytest.raises(NotFound):
        shelf.show(first, 0)
    assert read(shelf, second) == [[13, 14]]
    large = shelf.keep([b"123", b"456"])
    assert read(shelf, large) == [[123, 456]], "one is kept, whatever its size"
