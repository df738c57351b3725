"""What measurements mean: states, problems, and when a daemon is to be started anew (docs/service.md)."""

import msgspec
import pytest

from torcd.core.health import LOAD, find_problems, state_of, why_restart
from torcd.protocol.health import DatabaseHealth, LoopHealth, TaskHealth, WorkflowHealth

DATABASE = DatabaseHealth(
    state="ok",
    file_system="ext4",
    is_local=True,
    size_bytes=None,
    free_bytes=None,
    last_commit_at=None,
    last_error=None,
    last_error_at=None,
    silent_s=0.0,
)
CALM = LoopHealth(lag_ms=1.0, lag_ago_s=2.0)


def task(since_progress_s: float) -> TaskHealth:
    return TaskHealth(task_id=3, operation="reinit", phase="scan", done=5, total=9, since_progress_s=since_progress_s)


def workflow(workflow_id: int, state: str, since_progress_s: float | None = 0.0, **more: object) -> WorkflowHealth:
    plain = WorkflowHealth(
        workflow_id=workflow_id,
        state=state,
        at=None,
        since_progress_s=since_progress_s,
        waiting=0,
        task=None,
        workers=0,
        workers_away=0,
        crashes=0,
    )
    return msgspec.structs.replace(plain, **more)


@pytest.mark.parametrize(
    ("at", "since_progress_s", "waiting", "task_since_s", "state"),
    [
        (None, 5000.0, 0, None, "idle"),
        ("Apply", 1.0, 0, None, "busy"),
        ("Apply", 11.0, 0, None, "stuck"),
        (None, 11.0, 1, None, "stuck"),
        (None, 1.0, 1, None, "busy"),
        (None, 5.0, 0, 1.0, "busy"),
        (None, 61.0, 0, 30.0, "busy"),
        (None, 30.0, 0, 61.0, "busy"),
        (None, 61.0, 0, 61.0, "stalled"),
    ],
)
def test_an_actor_is_stuck_when_messages_wait_and_stalled_when_only_its_task_does(
    at: str | None, since_progress_s: float, waiting: int, task_since_s: float | None, state: str
) -> None:
    active = None if task_since_s is None else task(task_since_s)
    found = state_of(at=at, is_loaded=True, since_progress_s=since_progress_s, waiting=waiting, task=active)
    assert found == state


def test_a_load_may_take_longer_than_a_message() -> None:
    assert [
        state_of(at=LOAD, is_loaded=False, since_progress_s=since, waiting=4, task=None) for since in (1.0, 59.0, 61.0)
    ] == ["loading", "loading", "stuck"]


# ---- the watchdog ----


def test_one_stuck_workflow_is_no_reason_to_restart_as_long_as_another_gets_on() -> None:
    stuck = workflow(1, "stuck", 5000.0)
    assert why_restart(0.0, [stuck, workflow(2, "busy", 3.0)]) is None
    assert "no workflow has got on for 1000 s" in (why_restart(0.0, [stuck, workflow(2, "idle", 1000.0)]) or "")


def test_a_stuck_workflow_is_given_more_time_than_any_read_may_take() -> None:
    assert why_restart(0.0, [workflow(1, "stuck", 600.0)]) is None


def test_idle_and_faulted_workflows_are_no_reason_to_restart() -> None:
    assert why_restart(0.0, []) is None
    assert why_restart(0.0, [workflow(1, "idle", 50_000.0), workflow(2, "faulted", None)]) is None


def test_an_sql_thread_that_gets_nowhere_is_a_reason_to_restart() -> None:
    assert why_restart(100.0, []) is None
    assert "SQL thread" in (why_restart(121.0, [workflow(1, "busy", 0.1)]) or "")


# ---- problems ----


def test_nothing_is_wrong_with_a_daemon_at_work() -> None:
    assert find_problems(CALM, DATABASE, [workflow(1, "busy"), workflow(2, "idle"), workflow(3, "loading")], 900) == []


def test_a_stuck_a_stalled_a_crashed_and_a_faulted_workflow_are_named_with_what_to_do() -> None:
    found = find_problems(
        CALM,
        DATABASE,
        [
            workflow(1, "stuck", 12.0, at="Apply", waiting=1),
            workflow(2, "stalled", 70.0, task=task(70.0)),
            workflow(3, "faulted", None, fault="ValueError: x"),
            workflow(4, "busy", 0.0, crashes=2),
        ],
        900,
    )
    assert [each.subject for each in found] == [f"workflow {number}" for number in (1, 2, 3, 4)]
    assert "is at Apply and has got nowhere for 12 s; 1 message in its mailbox" in found[0].problem
    assert "task 3 (reinit) has got nowhere for 70 s in its scan at 5 of 9 files" in found[1].problem
    assert "tasks cancel 3" in found[1].advice
    assert "ValueError: x" in found[2].problem
    assert "crashed 2 times" in found[3].problem
    assert all(each.advice for each in found)


def test_a_failing_and_a_silent_database_a_slow_loop_and_few_descriptors_are_problems() -> None:
    failing = msgspec.structs.replace(DATABASE, state="failing", last_error="the disk is full", last_error_at="T")
    silent = msgspec.structs.replace(DATABASE, silent_s=30.0)
    assert "the disk is full" in find_problems(CALM, failing, [], 900)[0].problem
    assert "has not answered for 30 s" in find_problems(CALM, silent, [], 900)[0].problem
    (slow,) = find_problems(LoopHealth(lag_ms=2500.0, lag_ago_s=4.0), DATABASE, [], 900)
    assert "2.5 s, 4 s ago" in slow.problem
    assert [each.subject for each in find_problems(CALM, DATABASE, [], 10)] == ["open files"]
