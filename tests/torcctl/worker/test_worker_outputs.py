"""The worker's own look at outputs (SEMANTICS 4.8, 8.3)."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from torcctl.worker import outputs as worker_outputs
from torcctl.worker.outputs import observe_outputs
from torcd.protocol import content
from torcd.protocol.content import Unsettled, read_content
from torcd.protocol.worker_requests import JobOutput, OutputSeen


def observe(path: str, *, reads_content: bool = False) -> OutputSeen:
    [seen] = observe_outputs([JobOutput(file_id=3, path=path)], reads_content=reads_content)
    assert seen.file_id == 3
    return seen


def test_a_present_output_is_seen_with_its_time_and_size(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"12345")
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    seen = observe(str(path))
    assert (seen.mtime_ns, seen.size, seen.error) == (1_234_567_890_123_456_789, 5, None)


def test_only_a_missing_name_counts_as_absent(tmp_path: Path) -> None:
    """SEMANTICS 4.8"""
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "nothing" / "deep", tmp_path / "file" / "deep"):
        seen = observe(str(path))
        assert (seen.mtime_ns, seen.size, seen.error) == (None, None, None)


def test_any_other_error_is_told(tmp_path: Path) -> None:
    """SEMANTICS 4.8"""
    os.symlink("loop", tmp_path / "loop")
    for path in (str(tmp_path / "loop"), str(tmp_path / ("x" * 300)), "null\0byte"):
        seen = observe(path)
        assert seen.mtime_ns is None
        assert seen.error


def test_observations_keep_the_order_of_the_outputs(tmp_path: Path) -> None:
    outputs = [JobOutput(file_id=number, path=str(tmp_path / str(number))) for number in (5, 2, 9)]
    assert [seen.file_id for seen in observe_outputs(outputs)] == [5, 2, 9]


# ---- contents (4.9) ----


def test_the_digest_is_reported_with_time_and_size(tmp_path: Path) -> None:
    """SEMANTICS 4.9"""
    path = tmp_path / "out"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    seen = observe(str(path), reads_content=True)
    assert seen == OutputSeen(
        file_id=3, mtime_ns=1_234_567_890_123_456_789, size=3, digest="6437b3ac38465133ffb63b75273a8db5"
    )
    assert observe(str(path)).digest == ""


def test_what_is_reported_passes_the_protocol(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"abc")
    for path in (tmp_path / "out", tmp_path, tmp_path / "missing"):
        seen = observe(str(path), reads_content=True)
        assert msgspec.json.decode(msgspec.json.encode(seen), type=OutputSeen) == seen


def test_where_no_content_is_wanted_nothing_is_said_of_it(tmp_path: Path) -> None:
    """A daemon from before contents were compared refuses fields that it does not know."""
    (tmp_path / "out").write_bytes(b"abc")
    for path, fields in ((tmp_path / "out", {"file_id", "mtime_ns", "size"}), (tmp_path / "missing", {"file_id"})):
        assert set(msgspec.json.decode(msgspec.json.encode(observe(str(path))))) == fields


@pytest.mark.parametrize("digest", ["A" * 32, "0" * 31, "0" * 33, "g" * 32, "0x" + "0" * 30])
def test_what_is_no_digest_does_not_pass_the_protocol(digest: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({"file_id": 1, "digest": digest}), type=OutputSeen)


def test_absent_and_unknown_are_the_same_when_contents_are_read(tmp_path: Path) -> None:
    """SEMANTICS 4.8"""
    (tmp_path / "file").touch()
    os.symlink("loop", tmp_path / "loop")
    for path in (tmp_path / "nothing", tmp_path / "file" / "deep"):
        assert observe(str(path), reads_content=True) == OutputSeen(file_id=3)
    assert observe(str(tmp_path / "loop"), reads_content=True).error
    assert observe("null\0byte", reads_content=True).error


def test_an_output_that_cannot_be_read_is_told_by_time_and_size(tmp_path: Path) -> None:
    """It is there, so it does not fail the job."""
    (tmp_path / "out").symlink_to("/proc/self/mem")
    seen = observe(str(tmp_path / "out"), reads_content=True)
    assert (seen.size, seen.digest, seen.error) == (0, "", None)
    assert seen.mtime_ns is not None


def test_a_directory_and_a_pipe_are_told_by_time_and_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        seen = observe(str(path), reads_content=True)
        assert (seen.mtime_ns, seen.size) == (path.stat().st_mtime_ns, path.stat().st_size)
        assert (seen.digest, seen.error) == ("", None)


def test_an_output_that_vanishes_before_it_is_read_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEMANTICS 4.8"""
    path = tmp_path / "out"
    path.touch()

    def read(name: str) -> content.Content:
        path.unlink()
        return read_content(name)

    monkeypatch.setattr(worker_outputs, "read_content", read)
    assert observe(str(path), reads_content=True) == OutputSeen(file_id=3)


def test_an_output_that_is_still_written_is_told_by_time_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.touch()

    def read(name: str) -> content.Content:
        raise Unsettled("it changed")

    monkeypatch.setattr(worker_outputs, "read_content", read)
    seen = observe(str(path), reads_content=True)
    assert (seen.digest, seen.size, seen.error) == ("", 0, None)


def test_a_large_output_is_read_when_it_is_not_racy_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the daemon would have to read it once more."""
    monkeypatch.setattr(worker_outputs, "LARGE_BYTES", 1000)
    waits: list[float] = []
    monkeypatch.setattr(worker_outputs.time, "sleep", waits.append)
    small, large, old = (tmp_path / name for name in ("small", "large", "old"))
    small.write_bytes(bytes(999))
    old.write_bytes(bytes(1000))
    os.utime(old, ns=(1, 1_234_567_890_123_456_789))
    for path in (small, old):
        observe(str(path), reads_content=True)
    assert waits == []
    large.write_bytes(bytes(1000))
    now = time.time_ns()
    os.utime(large, ns=(now, now | 1))
    observe(str(large), reads_content=True)
    assert waits == [content.FINE_GRAIN_NS / 1e9]


def test_the_order_is_kept_when_contents_are_read(tmp_path: Path) -> None:
    for number in (5, 2, 9):
        (tmp_path / str(number)).write_text(str(number))
    outputs = [JobOutput(file_id=number, path=str(tmp_path / str(number))) for number in (5, 2, 9)]
    seen = observe_outputs(outputs, reads_content=True)
    assert [(each.file_id, each.digest) for each in seen] == [
        (number, read_content(tmp_path / str(number)).digest.hex()) for number in (5, 2, 9)
    ]
