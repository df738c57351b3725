"""One user's day: jobs fail by bad data and by something that no file shows, and every command line of the contract is
used as it stands there, with its text and its documents (INTERFACE 2 and 3)."""

import json
import re
import time
from typing import Any

import pytest
from contract import JOB, PLAN, RESULT, TASK, has_fields
from real_system import System

SPEC: dict[str, Any] = {
    "name": "study",
    "files": [
        {"name": "input_{i}", "path": "input_{i}.txt", "parameters": {"i": "1:3"}},
        {"name": "part_{i}", "path": "part_{i}.txt", "parameters": {"i": "1:3"}},
    ],
    "jobs": [
        {
            "name": "work_{i}",
            "command": "grep good ${files.input.input_{i}} > ${files.output.part_{i}}",
            "parameters": {"i": "1:3"},
        },
        {"name": "licensed", "command": "test -e license"},
        {"name": "merge", "command": "cat part_*.txt > all.txt", "input_file_regexes": ["part_.*"]},
        {"name": "report", "command": "wc -l all.txt", "depends_on": ["merge", "licensed"]},
    ],
}
DONE = dict.fromkeys(("work_1", "work_2", "work_3", "licensed", "merge", "report"), "completed")
LICENSED = "torcctl -F json results list -f return_code=1 | jq -r '.results | .[] | .job_key'"


class Shell:
    """A shell in which the user types."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.err = ""
        """What the last line printed on stderr."""

    def __call__(self, line: str, code: int = 0) -> str:
        """What a line prints on stdout."""
        done = self.system.bash(f"set -o pipefail; {line}")
        assert done.returncode == code, done
        self.err = done.stderr
        return done.stdout

    def json(self, line: str, code: int = 0) -> Any:
        """The document of a line that begins with `torcctl`."""
        return json.loads(self(line.replace("torcctl", "torcctl -f json", 1), code))


@pytest.fixture
def shell(alone: System) -> Shell:
    """The study has run: work_2 met bad data, and there was no license."""
    for number, text in enumerate(("good", "bad", "good"), 1):
        alone.write(f"input_{number}.txt", f"{text}\n")
    alone.spec(SPEC, "study.json")
    shell = Shell(alone)
    assert shell("torcctl run study.json", 1) == "Workflow 1: 2 completed, 2 failed, 2 canceled\n"
    assert re.search(r"work_2 +failed +1 ", shell.err)
    assert re.search(r"licensed +failed +1 ", shell.err)
    return shell


def test_a_bug_in_the_data_is_mended_and_the_workflow_restarted(shell: Shell) -> None:
    """The lines for jobs that define dependencies on their data"""
    system = shell.system
    assert shell("torcctl workflows restart --dry-run").startswith("Dry run: 0 jobs would be restarted")
    assert "unknown cause" in shell("torcctl recover 1", 7)
    assert "none of the 2 jobs of workflow 1 that failed" in shell.err
    assert shell("torcctl hpc slurm schedule-nodes -n3") == ""
    assert shell.err == "warning: workflow 1 has no job to run: nothing was scheduled\n"

    system.write("input_2.txt", "good now\n")
    assert shell("torcctl workflows restart --dry-run") == (
        "Dry run: 3 jobs would be restarted due to unfinished jobs or changed inputs\n"
        "  - work_2\n  - merge\n  - report\n"
    )
    plan = shell.json("torcctl workflows restart --dry-run")
    assert has_fields(plan, PLAN)
    assert [(job["name"], job["from"], job["to"]) for job in plan["jobs"]] == [
        ("work_2", "failed", "ready"),
        ("merge", "canceled", "blocked"),
        ("report", "canceled", "blocked"),
    ]
    kinds = [[reason["kind"] for reason in job["reasons"]] for job in plan["jobs"]]
    assert kinds == [["input_changed"], *[["not_completed", "upstream_stale"]] * 2]
    assert shell("torcctl workflows restart") == "Restarted 3 jobs due to unfinished jobs or changed inputs\n"

    listed = shell("torcctl jobs list -f status=ready").splitlines()
    assert len(listed) == 2
    assert listed[0].split() == ["id", "name", "status", "reason", "run", "attempt", "return", "code", "command"]
    assert listed[1].split()[1:3] == ["work_2", "ready"]
    (job,) = shell.json("torcctl jobs list -f status=ready")["jobs"]
    assert has_fields(job, JOB)
    assert (job["id"], job["run_id"]) == (job["job_key"], 1)
    assert "the workflow says nothing of Slurm" in (shell("torcctl hpc slurm schedule-nodes -n3", 7) or shell.err)
    assert shell.json("torcctl hpc slurm schedule-nodes -n3", 7)["error"]["code"] == 422

    assert shell("torcctl run 1", 1) == "Workflow 1: 4 completed, 1 failed, 1 canceled\n"
    assert shell.json("torcctl workflows get")["run_id"] == 2


def test_what_no_file_shows_is_reset_by_hand_and_only_that_is_run(shell: Shell) -> None:
    """The lines for jobs that define no dependencies"""
    system = shell.system
    system.write("input_2.txt", "good now\n")
    system.write("license", "")
    results = shell.json("torcctl results list -f return_code=1")["results"]
    assert all(has_fields(result, RESULT) for result in results)
    assert sorted(result["job_name"] for result in results) == ["licensed", "work_2"]
    keys = " ".join(str(result["job_key"]) for result in results)

    assert shell(f"torcctl jobs reset-status $({LICENSED}) --dry-run").startswith("Dry run: 4 jobs would be reset")
    assert shell(f"torcctl jobs reset-status $({LICENSED})") == "Reset 4 jobs on request\n"
    assert shell(f"torcctl jobs reset-status $({LICENSED})") == "", "there is no such result any more"
    assert shell.err == "warning: no job was named: nothing was changed\n"
    assert shell(f"torcctl jobs reset-status {keys}") == "Reset 0 jobs on request\n"
    assert shell("torcctl workflows restart --only-uninitialized").startswith("Restarted 4 jobs ")
    assert shell("torcctl run 1") == "Workflow 1: 6 completed\n"
    assert shell("torcctl recover 1") == ("Workflow 1: no job failed or was terminated; there is nothing to recover\n")
    assert system.attempts(1) == {"work_1": 1, "work_2": 2, "work_3": 1, "licensed": 2, "merge": 1, "report": 1}
    history = shell.json("torcctl results list --all-runs -f return_code=1")["results"]
    assert [result["id"] for result in history] == [result["id"] for result in results]


def test_all_that_failed_is_reset_at_once(shell: Shell) -> None:
    """The lines of reset-status, also under its older name"""
    system = shell.system
    system.write("license", "")
    assert shell("torcctl workflows reset-job-status --failed-only 1") == "Reset 4 jobs due to failures\n"
    assert shell("torcctl workflows reset-status 1 --failed-only") == "Reset 0 jobs due to failures\n"
    assert shell("torcctl run 1", 1) == "Workflow 1: 3 completed, 1 failed, 2 canceled\n"
    system.write("input_2.txt", "good now\n")
    assert shell("torcctl workflows reset-status 1 --failed-only --reinitialize") == "Reset 3 jobs due to failures\n"
    assert shell("torcctl run 1") == "Workflow 1: 6 completed\n"
    assert system.statuses(1) == DONE


def test_inputs_that_change_later_rerun_what_they_affect(shell: Shell) -> None:
    """The lines of reinit, in the foreground and in the background"""
    system = shell.system
    system.write("input_2.txt", "good now\n")
    system.write("license", "")
    shell("torcctl workflows reset-status 1 --failed-only --reinitialize && torcctl run 1")
    assert shell("torcctl workflows reinit 1 --dry-run") == ("Dry run: 0 jobs would be reset due to changed inputs\n")
    system.write("input_1.txt", "good and longer\n")
    sentence = "3 jobs would be reset due to changed inputs\n  - work_1\n  - merge\n  - report\n"
    assert shell("torcctl workflows reinit 1 --dry-run") == f"Dry run: {sentence}"
    assert shell("torcctl workflows reinit 1 --dry-run --force") == f"Dry run: {sentence}"
    told = shell(
        "task_id=$(torcctl -f json workflows reinit 1 --async | jq -r .task_id)\n"
        'torcctl tasks wait --timeout 300 "$task_id"'
    )
    assert "status: succeeded\n" in told
    assert told.endswith("result: Reset 3 jobs due to changed inputs\n")
    task = shell.json("torcctl tasks list -f operation=reinit")["tasks"][-1]
    assert has_fields(task, TASK)
    began = time.monotonic()
    assert shell.json(f"torcctl tasks wait --timeout 300 {task['task_id']}")["result"]["count"] == 3
    assert time.monotonic() - began < 60, "a task that has ended is not waited for"
    assert shell("torcctl run 1") == "Workflow 1: 6 completed\n"

    (system.work / "input_3.txt").unlink()
    assert "input_3.txt" in (shell("torcctl workflows reinit 1", 7) or shell.err)
    assert shell("torcctl workflows reinit 1 --force") == "Reset 3 jobs due to changed inputs\n"
    assert shell.err.startswith("warning: ")
