"""The pieces of specifications and documents that a session sent and has not used yet. They live and end with it."""

from typing import Any, TypeVar

from torcd.api.limits import Limits
from torcd.protocol.errors import Busy, NotFound, Refused, TooLarge
from torcd.protocol.requests import AppendUpload
from torcd.protocol.transfer_requests import AppendDocument

PieceT = TypeVar("PieceT")


class Uploads:
    """One session's uploads: lists of decoded pieces, all of one type, in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pieces: dict[str, list[Any]] = {}
        self._bytes: dict[str, int] = {}

    def append(self, request: AppendUpload | AppendDocument, size_bytes: int) -> dict[str, Any]:
        """Adds a piece and answers how much there is; raises Busy, TooLarge, or Refused for another type's upload.

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
        pieces = self._pieces.setdefault(upload, [])
        if pieces and type(pieces[0]) is not type(request.piece):
            raise Refused(f"upload {upload!r} holds pieces of another kind: choose another name", upload=upload)
        pieces.append(request.piece)
        self._bytes[upload] = self._bytes.get(upload, 0) + size_bytes
        return {"upload": upload, "pieces": len(self._pieces[upload]), "bytes": self._bytes[upload]}

    def take(self, upload: str, kind: type[PieceT]) -> list[PieceT]:
        """Ends an upload of this type and hands out its pieces; raises NotFound."""
        pieces = self._pieces.get(upload)
        if pieces is None or type(pieces[0]) is not kind:
            raise NotFound(
                f"this session has no upload {upload!r}: send its pieces on the same connection first",
                noun="upload",
                id=upload,
            )
        del self._pieces[upload], self._bytes[upload]
        return pieces

    def clear(self) -> None:
        """Drops everything."""
        self._pieces.clear()
        self._bytes.clear()
