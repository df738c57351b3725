"""Long texts in pieces that fit into messages."""

from collections.abc import Iterable, Iterator

PIECE_BYTES = 400 * 1024
"""Of text in UTF-8. Each may take two bytes within a message, and that stays below rpc.SOFT_FRAME."""


def cut(texts: Iterable[bytes], limit: int = PIECE_BYTES) -> Iterator[str]:
    """Text in pieces of at most `limit` bytes, wherever its parts ended; none ends within a character."""
    waiting = bytearray()
    for text in texts:
        waiting += text
        while len(waiting) >= limit:
            end = limit
            while end < len(waiting) and waiting[end] & 0xC0 == 0x80:
                end -= 1
            yield waiting[:end].decode()
            del waiting[:end]
    if waiting:
        yield waiting.decode()
