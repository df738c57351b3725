"""The documents that programs read (INTERFACE 3)."""

import json
from pathlib import Path

from contract import EVENT, JOB, NOW, PLAN, RESULT, STATUS, TASK, WORKFLOW, Ran, has_fields
from real_system import PATIENCE_S, System


def test_a_list_is_one_object_with_one_plural_key_and_empty_is_a_list_too(system: System) -> None:
    """INTERFACE 3"""
    workflow_id = system.create({"name": "empty", "jobs": []})
    assert system.torcctl("workflows", "list", "-f", "name=nobody", json=True) == {"workflows": []}
    assert system.torcctl("events", "list", workflow_id, "--from-seq", 2, json=True) == {"events": []}
    for noun in ("jobs", "files", "user-data", "results", "tasks", "workers"):
        assert system.torcctl(noun, "list", workflow_id, json=True) == {noun.replace("-", "_"): []}
        assert system.torcctl(noun, "list", workflow_id).code == 0


def test_the_documents_have_the_fields_of_the_contract(system: System, ran: Ran) -> None:
    """INTERFACE 3"""
    at = ran.workflow_id
    workflow = system.torcctl("workflows", "get", at, json=True)
    assert has_fields(workflow, WORKFLOW)
    assert workflow["id"] == workflow["workflow_id"] == workflow["key"] == at
    assert NOW.fullmatch(workflow["created_at"])

    status = system.torcctl("workflows", "status", at, json=True)
    assert has_fields(status, STATUS)
    assert status["counts"] == {"failed": 1, "canceled": 1, "completed": 1}
    assert (status["total"], status["complete"], status["active_task"]) == (3, True, None)

    jobs = system.torcctl("jobs", "list", at, json=True)["jobs"]
    assert all(has_fields(job, JOB) and job["id"] == job["job_key"] for job in jobs)
    assert system.torcctl("jobs", "get", jobs[0]["id"], json=True) == jobs[0]
    assert system.torcctl("-k", at, "jobs", "get", jobs[0]["name"], json=True) == jobs[0]

    results = system.torcctl("results", "list", at, json=True)["results"]
    assert len(results) == 2
    for result in results:
        assert has_fields(result, RESULT)
        assert system.torcctl("results", "get", result["id"], json=True) == result
        assert NOW.fullmatch(result["started_at"])
        assert NOW.fullmatch(result["completion_time"])
        assert isinstance(result["exec_time_minutes"], float)
        assert result["stdout_path"].startswith(f"{workflow['submission_directory']}/.torc/{at}/")
        assert Path(result["stderr_path"]).exists()

    task = system.torcctl("workflows", "reinit", at, json=True)
    assert has_fields(task, TASK)
    assert (task["operation"], task["status"], task["existing"]) == ("reinit", "succeeded", False)
    assert has_fields(task["result"], PLAN)
    assert task["result"]["dry_run"] is False
    assert isinstance(task["created_at_ms"], int)
    plan = system.torcctl("workflows", "reinit", at, "--dry-run", json=True)
    assert has_fields(plan, PLAN)
    assert plan["run_id"] == task["result"]["run_id"] + 1
    tasks = system.torcctl("tasks", "list", at, json=True)["tasks"]
    assert all(has_fields(each, TASK) for each in tasks)

    events = system.torcctl("events", "list", at, json=True)["events"]
    assert all(has_fields(event, EVENT) and event["workflow_id"] == at for event in events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert system.torcctl("events", "list", at, "--from-seq", 3, json=True)["events"] == events[2:]


def test_streams_print_one_document_a_line(system: System) -> None:
    """INTERFACE 2 (-f json: streams), SEMANTICS 7.1"""
    workflow_id = system.create({"name": "w", "jobs": [{"name": "a", "command": "true"}]})
    watch = system.spawn("-f", "json", "events", "watch", workflow_id, "--from-seq", 1)
    assert watch.stdout is not None
    assert json.loads(watch.stdout.readline())["kind"] == "workflow_created"
    system.torcctl("run", workflow_id)
    seen = [json.loads(watch.stdout.readline()) for _ in range(3)]
    assert [event["seq"] for event in seen] == [2, 3, 4]
    system.torcctl("workflows", "delete", workflow_id)
    assert watch.wait(PATIENCE_S) == 0


def test_the_reasons_of_a_restart_and_of_a_reset_are_told(system: System, ran: Ran) -> None:
    """INTERFACE 3 (reason kinds)"""
    plan = system.torcctl("workflows", "reset-status", ran.workflow_id, "--failed-only", "--dry-run", json=True)
    reasons = {job["name"]: (job["from"], job["to"], job["reasons"][0]["kind"]) for job in plan["jobs"]}
    assert reasons == {
        "bad": ("failed", "uninitialized", "requested"),
        "after": ("canceled", "uninitialized", "requested"),
    }
