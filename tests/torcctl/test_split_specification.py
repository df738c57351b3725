"""Cutting specifications into pieces."""

import msgspec
import pytest

from torcctl.specification import split
from torcd.protocol.errors import TooLarge
from torcd.protocol.specification import FileSpec, Header, JobSpec, Piece, UserDataSpec, WorkflowSpec

SPEC = WorkflowSpec(
    name="w",
    description="text",
    env={"A": "1"},
    jobs=[JobSpec(name=f"j{index}", command="ü" * (index % 50)) for index in range(1000)],
    files=[FileSpec(name=f"f{index}", path="p") for index in range(1000)],
    user_data=[UserDataSpec(name=f"u{index}", data=[index] * 10) for index in range(100)],
)


@pytest.mark.parametrize("limit", [300, 1000, 10_000, 1_000_000])
def test_pieces_stay_below_the_limit_and_together_are_the_specification(limit: int) -> None:
    header, iterator = split(SPEC, limit)
    pieces = list(iterator)
    assert all(len(msgspec.json.encode(piece)) <= limit for piece in pieces)
    assert [job for piece in pieces for job in piece.jobs] == SPEC.jobs
    assert [file for piece in pieces for file in piece.files] == SPEC.files
    assert [data for piece in pieces for data in piece.user_data] == SPEC.user_data
    assert header == Header(name="w", description="text", env={"A": "1"})


def test_pieces_are_filled_before_a_new_one_starts() -> None:
    _, iterator = split(SPEC, 10_000)
    sizes = [len(msgspec.json.encode(piece)) for piece in iterator if piece.jobs]
    assert min(sizes[:-1]) > 9_500


def test_what_is_above_the_limit_gets_a_piece_of_its_own() -> None:
    jobs = [JobSpec(name=name, command="x" * size) for name, size in (("a", 5), ("b", 500), ("c", 5))]
    _, iterator = split(WorkflowSpec(name="w", jobs=jobs), 200)
    assert [piece.jobs for piece in iterator] == [[jobs[0]], [jobs[1]], [jobs[2]]]


def test_a_specification_without_jobs_has_no_pieces() -> None:
    _, iterator = split(WorkflowSpec(name="w", jobs=[]))
    assert list(iterator) == []


def test_what_fits_into_no_message_is_refused_by_name() -> None:
    huge = "x" * 2**20
    _, iterator = split(WorkflowSpec(name="w", jobs=[JobSpec(name="big", command=huge)]))
    with pytest.raises(TooLarge, match=r"jobs\[0\], 'big'"):
        next(iterator)
    with pytest.raises(TooLarge, match="everything but jobs"):
        split(WorkflowSpec(name="w", description=huge, jobs=[]))


def test_an_empty_piece_is_the_smallest_message() -> None:
    assert msgspec.json.encode(Piece()) == b"{}"
