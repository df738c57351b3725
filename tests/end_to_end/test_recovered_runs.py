"""recover for real: jobs that fail by a bug, by memory and by a signal, brought home on one machine."""

from real_system import PATIENCE_S, System

ALLOCATE = "import sys; data = bytearray(400 << 20); open(sys.argv[1], 'w').write('done')"
PEAKS = "data = bytearray(150 << 20); import os; os.kill(os.getpid(), 9)"
NEEDS = [
    {"name": "tight", "memory": "200m", "runtime": "PT10M"},
    {"name": "small", "memory": "150m", "runtime": "PT10M"},
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
    """SEMANTICS 5.9"""
    alone.spec(SPEC)
    alone.torcctl("run", "spec.json", check=False)
    ran = alone.torcctl("recover", "1", "--dry-run")
    assert "Dry run: 3 jobs would be recovered of 3 that failed or were terminated" in ran.out
    plan = alone.torcctl("recover", "1", "--dry-run", json=True)
    found = {each["name"]: each for each in plan["diagnoses"]}
    assert {name: each["kind"] for name, each in found.items()} == {
        "large": "out_of_memory", "killed": "out_of_memory", "bug": "failed",
    }  # fmt: skip
    assert plan["slurm_jobs"]["suggestions"] == []
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
    job = {"name": "a", "command": "echo MemoryError >&2; exit 1", "resource_requirements": "small"}
    alone.spec({"name": "one", "jobs": [job], "resource_requirements": NEEDS})
    alone.torcctl("run", "spec.json", check=False)
    alone.torcctl("recover")
    assert alone.torcctl("jobs", "list", json=True)["jobs"][0]["resource_requirements"] == "small_r1"
    alone.torcctl("workflows", "undo")
    (found,) = alone.torcctl("jobs", "list", json=True)["jobs"]
    assert (found["status"], found["resource_requirements"]) == ("failed", "small")
    kinds = [event["kind"] for event in alone.torcctl("events", "list", json=True)["events"]]
    assert kinds.count("requirements_adjusted") == 2


def test_watch_recovers_until_all_is_done(alone: System) -> None:
    """Somebody runs the jobs; it says when nobody does"""
    alone.spec(SPEC)
    alone.write("mended", "")
    alone.torcctl("run", "spec.json", check=False)
    watch = alone.spawn("watch", "1", "--recover")
    assert watch.stderr is not None
    lines = [watch.stderr.readline(), watch.stderr.readline()]
    assert lines == [
        "recovered 2 jobs of 2 that failed; 3 jobs will run again\n",
        "3 jobs to run: nobody runs any; to run them here: torcctl run 1\n",
    ]
    alone.torcctl("run", "1")
    out, _ = watch.communicate(timeout=PATIENCE_S)
    assert watch.returncode == 0
    assert out.splitlines()[-1] == "Workflow 1: 5 completed"


def test_watch_stops_when_a_recovery_would_change_nothing(alone: System) -> None:
    alone.spec({"name": "one", "jobs": [{"name": "a", "command": "exit 1"}]})
    alone.torcctl("run", "spec.json", check=False)
    ran = alone.torcctl("watch", "--recover", check=False)
    assert ran.code == 1
    assert "none of the 1 job of workflow 1" in ran.err
    assert ran.out.splitlines()[-1] == "Workflow 1: 1 failed"
