"""The worker's own look at outputs (SEMANTICS 4.8, 8.3)."""

import os
from pathlib import Path

from torcctl.worker.outputs import observe_outputs
from torcd.protocol.worker_requests import JobOutput, OutputSeen


def observe(path: str) -> OutputSeen:
    [seen] = observe_outputs([JobOutput(file_id=3, path=path)])
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
