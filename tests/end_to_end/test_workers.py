"""`torcctl worker` and what it leaves behind, with real processes."""

import json
import re

import pytest
from real_system import System

SPEC = {
    "name": "shared",
    "resource_requirements": [
        {"name": "hour", "runtime": "PT1H"},
        {"name": "second", "runtime": "PT1S", "memory": "512m"},
    ],
    "jobs": [
        {"name": "first", "command": "echo $TORC_JOB_NAME", "resource_requirements": "second"},
        {"name": "long", "command": "true", "resource_requirements": "hour"},
    ],
}


def test_a_worker_leaves_what_has_no_time_to_another_one(system: System) -> None:
    """SEMANTICS 8.1"""
    at = system.create(SPEC)
    system.torcctl("workflows", "init", at)
    ended = system.torcctl("worker", at, "--time-limit", "00:10:00", json=True)
    assert ended == {"workflow_id": at, "ended": "nothing_fits", "counts": {"completed": 1, "ready": 1}}
    ended = system.torcctl("worker", at, json=True)
    assert ended == {"workflow_id": at, "ended": "complete", "counts": {"completed": 2}}


@pytest.mark.parametrize(("limit", "left_s"), [(["--time-limit=00:10:00"], 600), ([], None)])
def test_while_a_worker_runs_its_time_left_is_listed(system: System, limit: list[str], left_s: float | None) -> None:
    command = "torcctl -f json workers list > listed.json; torcctl workers list > listed.txt"
    at = system.create({"name": "told", "jobs": [{"name": "asks", "command": command}]})
    system.torcctl("workflows", "init", at)
    system.torcctl("worker", at, *limit)
    (worker,) = json.loads(system.read("listed.json"))["workers"]
    assert worker["time_left_s"] == (left_s and pytest.approx(left_s, abs=60))
    heading, line = system.read("listed.txt").splitlines()
    assert "time left" in heading
    assert (re.search(r" (10:00|9:\d\d) ", line) is not None) == bool(limit)
    now = system.torcctl("workers", "get", worker["id"], json=True)
    assert (now["status"], now["time_left_s"]) == ("gone", None)


def test_a_worker_makes_nothing_ready(system: System) -> None:
    at = system.create(SPEC)
    assert system.torcctl("worker", at, json=True)["ended"] == "nothing_fits"
    assert system.torcctl("workflows", "status", at, json=True)["counts"] == {"uninitialized": 2}


def test_what_was_used_is_compared_with_what_was_asked_for(system: System) -> None:
    """SEMANTICS 8.5"""
    at = system.create(SPEC)
    system.torcctl("workflows", "init", at)
    system.torcctl("worker", at)
    hour, second = system.torcctl("reports", "resources", at, json=True)["requirements"]
    assert (hour["name"], second["name"], second["jobs"], second["attempts"]) == ("hour", "second", 1, 1)
    assert second["requested"]["memory_bytes"] == 512 * 2**20
    assert second["used"]["runtime_s"]["max"] > 0
    assert second["proposed"]["runtime_s"] >= 60
    jobs = system.torcctl("reports", "resources", at, "--jobs", json=True)["jobs"]
    assert [job["name"] for job in jobs] == ["first", "long"]
    refused = system.torcctl("reports", "resources", at + 1, check=False)
    assert refused.code == 3
