"""`workflows sync-status`, from the command line to the exit code (INTERFACE §2)."""

from typing import Any

import pytest
from cli_outcome import Cli
from cli_server import FakeDaemon

REASON = {"kind": "worker_gone", "worker_id": 3, "hostname": "node1", "pid": 77}
JOBS = [
    {"id": 1, "name": "a", "from": "running", "to": "terminated", "reasons": [REASON]},
    {"id": 2, "name": "b", "from": "pending", "to": "ready", "reasons": [REASON]},
]


def synced(dry_run: bool = False, jobs: Any = JOBS, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    worker = {"id": 3, "hostname": "node1", "pid": 77, "status": "away", "process": "gone", "is_released": True}
    return {
        "workflow_id": 7, "operation": "sync-status", "dry_run": dry_run, "count": len(jobs), "run_id": 2, "jobs": jobs,
        "workers": [worker], "warnings": list(warnings),
    }  # fmt: skip


def test_it_says_how_many_jobs_were_released(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.sync_status", synced())
    outcome = cli("workflows", "sync-status", "7")
    assert (outcome.code, outcome.out, outcome.err) == (0, "Released 2 jobs of workers that are gone\n", "")
    assert daemon.requests("workflows.sync_status") == [{"workflow_id": 7, "dry_run": False}]


def test_a_dry_run_names_them(daemon: FakeDaemon, cli: Cli) -> None:
    daemon.on("workflows.sync_status", synced(dry_run=True))
    outcome = cli("workflows", "sync-status", "7", "--dry-run")
    assert outcome.out == "Dry run: 2 jobs of workers that are gone would be released\n  - a\n  - b\n"
    assert daemon.requests("workflows.sync_status") == [{"workflow_id": 7, "dry_run": True}]


@pytest.mark.parametrize(("jobs", "code"), [(JOBS, 10), ([], 0)])
def test_exit_code_tells_whether_there_is_anything_to_release(
    daemon: FakeDaemon, cli: Cli, jobs: Any, code: int
) -> None:
    daemon.on("workflows.sync_status", synced(dry_run=True, jobs=jobs))
    assert cli("workflows", "sync-status", "7", "--dry-run", "--exit-code").code == code


def test_json_is_the_daemons_answer_and_warnings_go_to_stderr(daemon: FakeDaemon, cli: Cli) -> None:
    answer = synced(warnings=("worker 4 (pid 5 on node2) has lost its connection",))
    daemon.on("workflows.sync_status", answer)
    outcome = cli("-f", "json", "workflows", "sync-status", "7")
    assert outcome.json == answer
    assert outcome.err == "warning: worker 4 (pid 5 on node2) has lost its connection\n"
