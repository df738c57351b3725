"""Archived workflows with the real programs: what is refused, what can still be read (SEMANTICS 5.5)."""

from real_system import PATIENCE_S, System

SPEC = {
    "name": "study",
    "user_data": [{"name": "limit", "data": 1}],
    "jobs": [{"name": "a", "command": "true", "input_user_data": ["limit"]}, {"name": "b", "command": "false"}],
}


def test_an_archived_workflow_refuses_to_change_and_can_be_read(alone: System) -> None:
    """SEMANTICS 5.5"""
    system = alone
    system.create(SPEC)
    system.torcctl("run", 1, check=False)
    job_id = system.jobs(1)["a"]["id"]
    archived = system.torcctl("workflows", "archive", json=True)
    assert (archived["id"], archived["is_archived"], archived["status"]) == (1, True, "archived")
    assert system.torcctl("workflows", "archive", 1).out == "Archived workflow 1\n"

    before = system.sql("SELECT event_seq, run_id FROM workflow")
    for words in (
        ["run", 1],
        ["workflows", "run", 1],
        ["workflows", "cancel", 1],
        ["jobs", "update", job_id, "--command", "echo"],
        ["-k", 1, "user-data", "update", "limit", "--data", "2"],
        ["jobs", "reset-status", job_id],
        *(["workflows", verb, 1] for verb in ("init", "reinit", "restart", "reset-status")),
        *(["workflows", verb, 1, "--dry-run", "--force"] for verb in ("init", "reinit", "restart", "reset-status")),
    ):
        refused = system.torcctl("-f", "json", *words, check=False)
        assert refused.code == 7, words
        assert refused.json["error"]["code"] == 422
        assert "workflow 1 is archived" in refused.err
        assert "workflows unarchive 1" in refused.err
    assert system.sql("SELECT event_seq, run_id FROM workflow") == before
    assert system.sql("SELECT count(*) FROM task") == [(1,)]

    assert len(system.torcctl("-k", 1, "jobs", "list", json=True)["jobs"]) == 2
    assert len(system.torcctl("results", "list", 1, json=True)["results"]) == 2
    assert "state: archived\n" in system.torcctl("workflows", "status", 1).out
    listed = system.torcctl("workflows", "list", "-f", "status=archived", json=True)["workflows"]
    assert [workflow["id"] for workflow in listed] == [1]


def test_an_archived_workflow_is_not_the_only_one_and_can_be_unarchived_or_deleted(alone: System) -> None:
    """SEMANTICS 5.5; INTERFACE 2 (<workflow>)"""
    system = alone
    system.create(SPEC)
    system.torcctl("workflows", "archive")
    nobody = system.torcctl("jobs", "list", check=False)
    assert nobody.code == 3
    assert "archived" in nobody.err
    system.create(SPEC)
    assert {job["workflow_id"] for job in system.torcctl("jobs", "list", json=True)["jobs"]} == {2}

    assert system.torcctl("workflows", "unarchive", 1).out == "Unarchived workflow 1\n"
    assert system.torcctl("workflows", "unarchive", 1, json=True)["is_archived"] is False
    assert system.torcctl("run", 1, check=False).code == 1
    kinds = [event["kind"] for event in system.torcctl("events", "list", 1, json=True)["events"]]
    assert [kind for kind in kinds if "archived" in kind] == ["workflow_archived", "workflow_unarchived"]

    system.torcctl("workflows", "archive", 2)
    assert system.torcctl("workflows", "delete", 2).out == "Deleted workflow 2\n"


def test_a_workflow_with_a_running_job_is_not_archived(system: System) -> None:
    """SEMANTICS 5.5"""
    begun, go = system.pipe("begun"), system.pipe("go")
    workflow_id = system.create({"name": "w", "jobs": [{"name": "a", "command": "echo > begun; read line < go"}]})
    run = system.spawn("run", workflow_id)
    begun.read_line()
    refused = system.torcctl("-f", "json", "workflows", "archive", workflow_id, check=False)
    assert refused.code == 4
    assert refused.json["error"]["data"]["jobs"] == [system.jobs(workflow_id)["a"]["id"]]
    go.write_line()
    assert run.wait(PATIENCE_S) == 0
    system.torcctl("workflows", "archive", workflow_id)
