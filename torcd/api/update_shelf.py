"""Differences that are being read: they are nowhere else, and too many for one message."""

from collections import OrderedDict

import msgspec

from torcd.protocol.errors import NotFound

PAGE_BYTES = 512 * 1024
MOST_BYTES = 256 * 1024 * 1024
"""Of all that is kept for its further pages; the oldest is dropped."""


class UpdateShelf:
    """The differences of updates and their dry runs, a page at a time."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, list[bytes]] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._last = 0

    def keep(self, entries: list[bytes]) -> str:
        """Keeps the differences of one update; the answer names them."""
        self._last += 1
        token = f"update {self._last}"
        self._entries[token] = entries
        self._sizes[token] = sum(map(len, entries))
        while len(self._entries) > 1 and sum(self._sizes.values()) > MOST_BYTES:
            oldest, _ = self._entries.popitem(last=False)
            del self._sizes[oldest]
        return token

    def show(self, token: str, cursor: int) -> tuple[list[msgspec.Raw], int | None]:
        """A page of differences, and the cursor of the next (None: there is no more); raises NotFound."""
        entries = self._entries.get(token)
        if entries is None:
            raise NotFound(f"there is no update {token!r} (any more): ask for it again", noun="update", id=token)
        size, end = 0, cursor
        while end < len(entries) and (end == cursor or size + len(entries[end]) <= PAGE_BYTES):
            size += len(entries[end])
            end += 1
        page = [msgspec.Raw(entry) for entry in entries[cursor:end]]
        if end < len(entries):
            return page, end
        self._forget(token)
        return page, None

    def _forget(self, token: str) -> None:
        del self._entries[token]
        del self._sizes[token]
