"""What the tests of the contract share: a workflow in which a job failed, its documents, and how errors look."""

import re
from typing import Any

from real_system import System

BROKEN: dict[str, Any] = {
    "name": "broken",
    "user_data": [{"name": "limit", "data": {"most": 3}}],
    "files": [{"name": "out", "path": "out.txt"}],
    "jobs": [
        {"name": "bad", "command": "exit 1", "priority": 5},
        {"name": "after", "command": "true", "depends_on": ["bad"]},
        {"name": "good", "command": "echo x > out.txt", "output_files": ["out"], "input_user_data": ["limit"]},
    ],
}

NOW = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Ran:
    """The one workflow that most tests look at: it has run, one job failed."""

    def __init__(self, system: System) -> None:
        self.workflow_id = system.create(BROKEN)
        system.torcctl("run", self.workflow_id, check=False)
        self.jobs = system.jobs(self.workflow_id)


def error_of(system: System, *args: object, code: int, name: str) -> dict[str, Any]:
    """The JSON error of a command that must fail, after a look at both streams."""
    failed = system.torcctl("-f", "json", *args, check=False)
    assert failed.code == code, failed
    document = failed.json
    assert list(document) == ["error"]
    error: dict[str, Any] = document["error"]
    assert list(error) == ["code", "name", "message", "data"]
    assert error["name"] == name
    assert failed.err == f"error: {error['message']}\n"

    plain = system.torcctl(*args, check=False)
    assert (plain.code, plain.out) == (code, "")
    assert plain.err.startswith("error: ")
    return error


WORKFLOW = (
    "id workflow_id key name user description project submission_directory run_id status is_canceled is_archived"
    " created_at"
)
STATUS = "workflow_id run_id total counts complete active_task"
JOB = "id job_key workflow_id name command status status_reason run_id attempt_id return_code worker_id"
RESULT = (
    "id job_id job_key job_name workflow_id run_id attempt_id return_code status exec_time_minutes started_at"
    " completion_time peak_memory_bytes cpu_seconds hostname stdout_path stderr_path"
)
TASK = (
    "id task_id workflow_id operation params status existing requested_by error result created_at_ms started_at_ms"
    " finished_at_ms"
)
PLAN = "workflow_id operation dry_run count plan_digest run_id jobs warnings"
EVENT = "seq workflow_id timestamp kind"


def has_fields(document: dict[str, Any], fields: str) -> bool:
    missing = set(fields.split()) - set(document)
    assert not missing, missing
    return True
