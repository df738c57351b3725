"""Uploads: pieces in order, bounded, gone with their session."""

from pathlib import Path

import pytest
from api_rig import Refusal, running_server

from torcd.api.limits import Limits
from torcd.api.session import Session
from torcd.api.uploads import Uploads
from torcd.protocol.errors import Busy, NotFound, Refused, TooLarge
from torcd.protocol.requests import AppendUpload, CreateWorkflow
from torcd.protocol.specification import JobSpec, Piece
from torcd.protocol.transfer_requests import AppendDocument


def _append(upload: str, name: str = "j") -> AppendUpload:
    return AppendUpload(upload=upload, piece=Piece(jobs=[JobSpec(name=name, command="true")]))


def test_pieces_are_taken_once_and_in_order() -> None:
    uploads = Uploads(Limits())
    for name in "abc":
        answer = uploads.append(_append("u", name), 10)
    assert answer == {"upload": "u", "pieces": 3, "bytes": 30}
    assert [piece.jobs[0].name for piece in uploads.take("u", Piece)] == ["a", "b", "c"]
    with pytest.raises(NotFound) as caught:
        uploads.take("u", Piece)
    assert caught.value.data == {"noun": "upload", "id": "u"}


def test_the_number_of_uploads_is_limited() -> None:
    uploads = Uploads(Limits(uploads=2))
    uploads.append(_append("a"), 1)
    uploads.append(_append("b"), 1)
    with pytest.raises(Busy):
        uploads.append(_append("c"), 1)
    uploads.append(_append("b"), 1)
    uploads.take("a", Piece)
    uploads.append(_append("c"), 1)


def test_the_bytes_of_all_uploads_are_limited() -> None:
    uploads = Uploads(Limits(upload_bytes=100))
    uploads.append(_append("a"), 60)
    uploads.append(_append("b"), 40)
    with pytest.raises(TooLarge) as caught:
        uploads.append(_append("b"), 1)
    assert caught.value.data == {"limit": 100}
    uploads.take("a", Piece)
    uploads.append(_append("b"), 60)


def test_pieces_of_two_kinds_do_not_mix() -> None:
    """What would have been a specification is no document, whatever it is called."""
    uploads = Uploads(Limits())
    uploads.append(AppendDocument(upload="u", piece="text"), 4)
    with pytest.raises(Refused):
        uploads.append(_append("u"), 1)
    with pytest.raises(NotFound):
        uploads.take("u", Piece)
    assert uploads.take("u", str) == ["text"]


async def test_pieces_sent_without_waiting_keep_their_order_and_their_session(tmp_path: Path) -> None:
    async def on_create(session: Session, request: CreateWorkflow) -> object:
        assert request.upload is not None
        return [job.name for piece in session.uploads.take(request.upload, Piece) for job in piece.jobs]

    async with running_server(tmp_path, {CreateWorkflow: on_create}) as rig, rig.greeted() as client:
        create = {"header": {"name": "w"}, "upload": "u", "directory": "/", "user": "me"}
        for number in range(50):
            piece = {"jobs": [{"name": str(number), "command": "true"}]}
            await client.request("uploads.append", upload="u", piece=piece)
        async with rig.greeted() as other:
            with pytest.raises(Refusal) as caught:
                await other.call("workflows.create", **create)
            assert caught.value.code == 404
        for number in range(50):
            assert (await client.receive())["result"]["pieces"] == number + 1
        assert await client.call("workflows.create", **create) == [str(number) for number in range(50)]
