"""Answers of a daemon, made from the vocabulary's own structs."""

from typing import Any

import msgspec

from torcd.protocol import model


def workflow(number: int, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "id": number,
        "workflow_id": number,
        "key": number,
        "name": f"flow-{number}",
        "user": "ann",
        "description": None,
        "project": None,
        "submission_directory": "/data",
        "run_id": 1,
        "status": "ready",
        "is_canceled": False,
        "is_archived": False,
        "created_at": "2026-01-02T03:04:05Z",
    }
    return msgspec.to_builtins(model.Workflow(**{**fields, **changes}))


def workflows(*found: Any) -> dict[str, Any]:
    return {"workflows": list(found), "next_cursor": None}


def job(number: int, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "id": number,
        "job_key": number,
        "workflow_id": 7,
        "name": f"job-{number}",
        "command": f"echo {number}",
        "status": "completed",
        "status_reason": None,
        "run_id": 1,
        "attempt_id": 1,
        "return_code": 0,
        "worker_id": None,
    }
    return msgspec.to_builtins(model.Job(**{**fields, **changes}))


def result(number: int, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "id": number,
        "job_id": 1,
        "job_key": 1,
        "job_name": "job-1",
        "workflow_id": 7,
        "run_id": 1,
        "attempt_id": 1,
        "return_code": 0,
        "status": "completed",
        "status_reason": None,
        "exec_time_minutes": 0.5,
        "started_at": None,
        "completion_time": "2026-01-02T03:04:05Z",
        "peak_memory_bytes": None,
        "cpu_seconds": None,
        "hostname": "node",
        "stdout_path": None,
        "stderr_path": None,
    }
    return msgspec.to_builtins(model.Result(**{**fields, **changes}))


def plan_job(number: int, **changes: Any) -> dict[str, Any]:
    job = {"id": number, "name": f"job-{number}", "from": "completed", "to": "ready", "reasons": []}
    return {**job, **changes}


def plan(*jobs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {
        "workflow_id": 7,
        "operation": "reinit",
        "dry_run": False,
        "count": len(jobs),
        "plan_digest": "abc",
        "run_id": 2,
        "jobs": list(jobs),
        "warnings": [],
        "cause": "due to changed inputs",
        "spared": 0,
    }
    return {**fields, **changes}


def task(number: int = 12, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": number,
        "task_id": number,
        "workflow_id": 7,
        "operation": "reinit",
        "params": {},
        "status": "succeeded",
        "existing": False,
        "requested_by": "ann@node",
        "error": None,
        "error_code": None,
        "error_data": None,
        "result": None,
        "created_at_ms": 1,
        "started_at_ms": 2,
        "finished_at_ms": 3,
    }
    return {**fields, **changes}


def event(seq: int, **changes: Any) -> dict[str, Any]:
    fields = {"seq": seq, "workflow_id": 7, "timestamp": "2026-01-02T03:04:05Z", "kind": "job", "data": {}}
    return {**fields, **changes}
