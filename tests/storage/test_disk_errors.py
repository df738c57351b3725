"""What becomes of commits on a disk that fails: what was said stays true, also after a kill."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_disk import FaultyDisk

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("file_system", ["ext4", "nfs"])
def test_a_commit_that_failed_is_not_made_later_and_the_next_one_succeeds(tmp_path: Path, file_system: str) -> None:
    """Also when the process is killed then: a log can hold all of a commit that this process knows to have failed."""
    disk = FaultyDisk(tmp_path)
    (tmp_path / "state").mkdir()
    program = TESTS / "storage" / "disk_program.py"
    done = subprocess.run(
        [sys.executable, program, tmp_path / "state" / "torc.db", file_system],
        env={**os.environ, **disk.environ, "PYTHONPATH": f"{TESTS}:{TESTS / 'storage'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *commits, reads = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(commits) == 11
    outcomes = {}
    for found in commits:
        outcomes[json.dumps(found["fault"])] = found["outcome"]
        assert found["next"] == "made", found
        assert found["same"], f"a kill would have changed what was read: {found}"
        if found["outcome"] == "Unavailable":
            assert not found["seen"], found
        if found["outcome"] == "made":
            assert found["seen"], found
    assert {outcome for fault, outcome in outcomes.items() if "writes" in fault} <= {"Unavailable", "made"}
    assert outcomes['{"syncs": 1}'] == ("Unavailable" if file_system == "ext4" else "InDoubt")
    assert outcomes['{"syncs": 255}'] == "InDoubt"
    if file_system == "nfs":  # the journal is gone, that this is on disk is not sure, and it was made
        assert commits[7]["fault"] == {"syncs": 1, "which": 2, "after": 2}
        assert (commits[7]["outcome"], commits[7]["seen"]) == ("InDoubt", True)
    assert reads == {"read": "Damaged", "refused": "Damaged", "mended": "made"}
