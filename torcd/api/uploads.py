"""The pieces of specifications that a session sent and has not used yet. They live and end with it."""

from typing import Any

from torcd.api.limits import Limits
from torcd.protocol.errors import Busy, NotFound, TooLarge
from torcd.protocol.requests import AppendUpload
from torcd.protocol.specification import Piece


class Uploads:
    """One session's uploads: lists of decoded pieces, in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pieces: dict[str, list[Piece]] = {}
        self._bytes: dict[str, int] = {}

    def append(self, request: AppendUpload, size_bytes: int) -> dict[str, Any]:
        """Adds a piece and answers how much there is; raises Busy or TooLarge.

        `size_bytes` is the piece's size as JSON, the measure of the limit.
        """
        upload = request.upload
        if upload not in self._pieces and len(self._pieces) >= self._limits.uploads:
            raise Busy(
                f"this session has {len(self._pieces)} unfinished uploads already: "
                "create a workflow from one, or connect again",
                limit=self._limits.uploads,
            )
        if sum(self._bytes.values()) + size_bytes > self._limits.upload_bytes:
            raise TooLarge(
                f"upload {upload!r} exceeds what a session may hold, {self._limits.upload_bytes} bytes",
                limit=self._limits.upload_bytes,
            )
        self._pieces.setdefault(upload, []).append(request.piece)
        self._bytes[upload] = self._bytes.get(upload, 0) + size_bytes
        return {"upload": upload, "pieces": len(self._pieces[upload]), "bytes": self._bytes[upload]}

    def take(self, upload: str) -> list[Piece]:
        """Ends an upload and hands out its pieces; raises NotFound."""
        pieces = self._pieces.pop(upload, None)
        if pieces is None:
            raise NotFound(
                f"this session has no upload {upload!r}: send its pieces on the same connection first",
                noun="upload",
                id=upload,
            )
        del self._bytes[upload]
        return pieces

    def clear(self) -> None:
        """Drops everything."""
        self._pieces.clear()
        self._bytes.clear()
