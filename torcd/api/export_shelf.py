"""Documents that are being fetched: a snapshot cannot be made again, so its pieces wait here for their reader."""

from collections import OrderedDict

from torcd.protocol.errors import NotFound

MOST_CHARACTERS = 1024**3
"""Length of all documents that are kept; the oldest are dropped. One of a million jobs has about half of it."""


class ExportShelf:
    """The pieces of documents, each handed out until the last one was."""

    def __init__(self) -> None:
        self._exports: OrderedDict[str, list[str]] = OrderedDict()
        self._count = 0

    def keep(self, pieces: list[str]) -> str:
        """Keeps a document; the name by which its pieces are asked for."""
        self._count += 1
        export = f"export {self._count}"
        self._exports[export] = pieces
        while len(self._exports) > 1 and self._length() > MOST_CHARACTERS:
            self._exports.popitem(last=False)
        return export

    def _length(self) -> int:
        return sum(len(piece) for pieces in self._exports.values() for piece in pieces)

    def show(self, export: str, cursor: int) -> dict[str, object]:
        """One piece; the last one ends the document. Raises NotFound when it was dropped, or is at its end."""
        pieces = self._exports.get(export, [])
        if cursor >= len(pieces):
            raise NotFound(
                f"there is no piece {cursor} of {export!r} (any more): export anew", noun="export", id=export
            )
        is_last = cursor == len(pieces) - 1
        if is_last:
            self.drop(export)
        return {"export": export, "text": pieces[cursor], "next_cursor": None if is_last else cursor + 1}

    def drop(self, export: str) -> None:
        """Forgets a document, if it is still kept."""
        self._exports.pop(export, None)
