"""Documents on the shelf: each piece in its turn, and nothing after the last."""

import pytest

from torcd.api import export_shelf
from torcd.api.export_shelf import ExportShelf
from torcd.protocol.errors import NotFound


def test_pieces_are_shown_until_the_last_one_was() -> None:
    shelf = ExportShelf()
    export = shelf.keep(["a", "b", "c"])
    assert shelf.show(export, 0) == {"export": export, "text": "a", "next_cursor": 1}
    assert shelf.show(export, 1) == shelf.show(export, 1), "an answer that was lost may be asked for again"
    assert shelf.show(export, 2)["next_cursor"] is None
    with pytest.raises(NotFound, match="export anew"):
        shelf.show(export, 2)


def test_exports_do_not_meet() -> None:
    shelf = ExportShelf()
    first, second = shelf.keep(["a", "b"]), shelf.keep(["c", "d"])
    shelf.drop(first)
    shelf.drop(first)
    assert shelf.show(second, 1)["text"] == "d"
    for gone, cursor in ((first, 0), (second, 0), ("export 9", 0)):
        with pytest.raises(NotFound):
            shelf.show(gone, cursor)


def test_when_there_are_too_many_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_shelf, "MOST_CHARACTERS", 10)
    shelf = ExportShelf()
    old, new = shelf.keep(["x" * 4] * 2), shelf.keep(["y" * 4] * 2)
    with pytest.raises(NotFound):
        shelf.show(old, 0)
    assert shelf.show(new, 0)["text"] == "yyyy"
    large = shelf.keep(["z" * 100] * 2)
    assert shelf.show(large, 0)["next_cursor"] == 1, "one is kept, however large"
