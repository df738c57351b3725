"""recover for real: jobs that fail by a bug, by memory and by a signal, brought home on one machine."""

from real_system import System

ALLOCATE = "import sys; data = bytearray(400 << 20); open(sys.argv[1], 'w').write('done')"
PEAKS = "data = bytearray(60 << 20); import os; os.kill(os.getpid(), 9)"
NEEDS = [
    {"name": "tight", "memory": "200m", "runtime": "PT10M"},
    {"name": "small", "memory": "60m", "runtime": "PT10M"},
]


def limited(job: str) -> str:
    """A command that is held to the memory that its job asked for, as a cluster does it."""
    return (
        f"limit=$(torcctl -f json jobs get $TORC_JOB_ID | python3 -c 'import json, sys; print(json.load(sys.stdin)"
        f'["resource_requirements"])\'); test $limit = tight && ulimit -v 300000; '
        f'exec python3 -c "{ALLOCATE}" {job}.out'
    )


SPEC = {
    "name": "study",
    "resource_requirements": NEEDS,
    "jobs": [
        {"name": "large", "command": limited("large"), "output_files": ["large.out"], "resource_requirements": "tight"},
        {"name": "after", "command": "cat large.out", "input_files": ["large.out"]},
        {"name": "killed", "command": f'test -e tried || {{ touch tried; exec python3 -c "{PEAKS}"; }}',
         "resource_requirements": "small"},
        {"name": "bug", "command": "test -e mended"},
        {"name": "fine", "command": "true", "resource_requirements": "tight"},
    ],
    "files": [{"name": "large.out", "path": "large.out"}],
}  # fmt: skip


def test_memory_and_bugs_are_told_apart_and_the_workflow_comes_home(alone: System) -> None:
    """SEMANTICS 5.8"""
    alone.spec(SPEC)
    alone.torcctl("run", "spec.json", check=False)
    ran = alone.torcctl("recover", "1", "--dry-run")
    assert "Dry run: 3 jobs would be recovered of 3 that failed or were terminated" in ran.out
    plan = alone.torcctl("recover", "1", "--dry-run", json=True)
    found = {each["name"]: each for each in plan["diagnoses"]}
    assert {name: each["kind"] for name, each in found.items()} == {
        "large": "out_of_memory", "killed": "out_of_memory", "bug": "failed",
    }  # fmt: skip
    assert "MemoryError" in found["large"]["evidence"]["stderr"]
    assert found["killed"]["evidence"]["signal"] == 9
    assert not found["bug"]["recoverable"]
    assert found["large"]["adjustments"]["memory_bytes"]["from"] == 200 << 20

    task = alone.torcctl("recover", "1", json=True)
    assert (task["status"], task["result"]["operation"]) == ("succeeded", "recover")
    status = {job["name"]: job["status"] for job in alone.torcctl("jobs", "list", json=True)["jobs"]}
    assert status == {"large": "ready", "after": "blocked", "killed": "ready", "bug": "failed", "fine": "completed"}
    needs = {job["name"]: job["resource_requirements"] for job in alone.torcctl("jobs", "list", json=True)["jobs"]}
    assert (needs["large"], needs["killed"], needs["fine"]) == ("tight_r1", "small_r1", "tight")

    assert alone.torcctl("run", "1", check=False).out == "Workflow 1: 4 completed, 1 failed\n"
    refused = alone.torcctl("recover", "1", check=False)
    assert (refused.code, "none of the 1 job" in refused.err) == (7, True)
    assert alone.torcctl("workflows", "reinit", "1", "--dry-run").out.startswith("Dry run: 0 jobs")

    alone.write("mended", "")
    alone.torcctl("recover", "1", "--retry-unknown")
    assert alone.torcctl("run", "1").out == "Workflow 1: 5 completed\n"


def test_a_recovery_is_taken_back(alone: System) -> None:
    """SEMANTICS 5.6"""
    alone.spec({"name": "one", "jobs": [{"name": "a", "command": "echo MemoryError >&2; exit 1",
                                          "resource_requirements": "small"}], "resource_requirements": NEEDS})  # fmt: skip
    alone.torcctl("run", "spec.json", check=False)
    alone.torcctl("recover")
    assert alone.torcctl("jobs", "list", json=True)["jobs"][0]["resource_requirements"] == "small_r1"
    alone.torcctl("workflows", "undo")
    (job,) = alone.torcctl("jobs", "list", json=True)["jobs"]
    assert (job["status"], job["resource_requirements"]) == ("failed", "small")
    kinds = [event["kind"] for event in alone.torcctl("events", "list", json=True)["events"]]
    assert kinds.count("requirements_adjusted") == 2
