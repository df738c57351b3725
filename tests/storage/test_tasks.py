"""Rows of tasks: at most one active, found again by key, ended by a restart."""

import sqlite3
from collections.abc import Iterator

import pytest
from builders import chained, insert, new_workflow, open_memory

from torcd.core.delta import TaskBegin, TaskEnd
from torcd.protocol.errors import NotFound
from torcd.storage.save import ABANDONED, INTERRUPTED, begin_task, end_task, fail_active_tasks, load_event_seq
from torcd.storage.tasks import begin_or_find, find_active, find_by_key, load_plan, load_task


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """Two workflows, 1 and 2."""
    connection = open_memory()
    insert(connection, new_workflow(chained("a")))
    insert(connection, new_workflow(chained("a")))
    yield connection
    connection.close()


def begin(key: str | None = None, operation: str = "reinit") -> TaskBegin:
    return TaskBegin(operation=operation, params='{"force":false}', requested_by="me", request_key=key, at_ms=5)


def test_a_workflow_has_at_most_one_active_task(db: sqlite3.Connection) -> None:
    """SEMANTICS 6.1: also by a partial unique index"""
    first = begin_task(db, 1, begin())
    begin_task(db, 2, begin())
    with pytest.raises(sqlite3.IntegrityError):
        begin_task(db, 1, begin())
    end_task(db, TaskEnd(task_id=first, status="failed", at_ms=6))
    assert begin_task(db, 1, begin()) > first


def test_a_task_is_shown_from_its_beginning_to_its_end(db: sqlite3.Connection) -> None:
    """INTERFACE §3"""
    task_id = begin_task(db, 1, begin())
    task = load_task(db, task_id)
    assert (task.id, task.task_id, task.workflow_id, task.operation) == (task_id, task_id, 1, "reinit")
    assert (task.status, task.params, task.requested_by, task.existing) == ("running", {"force": False}, "me", False)
    assert (task.created_at_ms, task.finished_at_ms, task.result) == (5, None, None)
    assert find_active(db, 1) == task
    error = TaskEnd(task_id=task_id, status="failed", at_ms=9, error="no", error_code=422, error_data='{"paths":["x"]}')
    end_task(db, error)
    task = load_task(db, task_id)
    assert (task.status, task.error, task.error_code, task.error_data) == ("failed", "no", 422, {"paths": ["x"]})
    assert task.finished_at_ms == 9
    assert find_active(db, 1) is None
    with pytest.raises(NotFound, match="has no plan"):
        load_plan(db, task_id)


def test_a_succeeded_task_has_its_plan_as_result(db: sqlite3.Connection) -> None:
    """INTERFACE §3: result = the plan, dry_run false"""
    task_id = begin_task(db, 1, begin())
    summary = (
        '{"workflow_id":1,"operation":"reinit","count":2,"listed":2,"plan_digest":"d","run_id":3,"warnings":[],'
        '"cause":"c","spared":0}'
    )
    end_task(db, TaskEnd(task_id=task_id, status="succeeded", at_ms=9, summary=summary, jobs=b"packed"))
    task = load_task(db, task_id)
    assert task.result is not None
    assert (task.result["count"], task.result["plan_digest"], task.result["dry_run"]) == (2, "d", False)
    found, packed = load_plan(db, task_id)
    assert (found.run_id, packed) == (3, b"packed")


def test_a_request_key_finds_its_task_also_after_the_end(db: sqlite3.Connection) -> None:
    """SEMANTICS 6.4"""
    assert begin_or_find(db, 1, begin("key")) == (1, False)
    end_task(db, TaskEnd(task_id=1, status="canceled", at_ms=6))
    assert begin_or_find(db, 1, begin("key")) == (1, True)
    assert begin_or_find(db, 1, begin()) == (2, False)
    found = find_by_key(db, "key")
    assert found is not None
    assert (found.task_id, found.status, found.existing) == (1, "canceled", True)
    assert find_by_key(db, "other") is None


def test_tasks_that_a_restart_finds_active_have_failed(db: sqlite3.Connection) -> None:
    """SEMANTICS 6.6"""
    ended = begin_task(db, 1, begin())
    end_task(db, TaskEnd(task_id=ended, status="succeeded", at_ms=6))
    active, other = begin_task(db, 1, begin()), begin_task(db, 2, begin())
    assert fail_active_tasks(db, 10, 1) == [(1, active)]
    assert load_task(db, other).status == "running"
    assert fail_active_tasks(db, 11) == [(2, other)]
    assert fail_active_tasks(db, 12) == []
    for workflow_id, task_id, error, at_ms in ((1, active, ABANDONED, 10), (2, other, INTERRUPTED, 11)):
        task = load_task(db, task_id)
        assert (task.status, task.error, task.error_code, task.finished_at_ms) == ("failed", error, 503, at_ms)
        event = db.execute("SELECT * FROM event WHERE workflow_id = ? ORDER BY seq DESC", (workflow_id,)).fetchone()
        data = f'{{"task_id":{task_id},"status":"failed"}}'
        assert event == (workflow_id, load_event_seq(db, workflow_id), at_ms, "task_ended", data)
    assert load_task(db, ended).status == "succeeded"
    assert INTERRUPTED == "daemon restarted while the task was in progress; nothing was changed"


def test_an_unknown_task_is_named(db: sqlite3.Connection) -> None:
    with pytest.raises(NotFound, match="no task 5"):
        load_task(db, 5)
