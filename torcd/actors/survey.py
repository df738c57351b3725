"""How actors are, seen from outside: what `daemon.health` tells of them."""

import trio

from torcd.actors.workflow import WorkflowActor
from torcd.core.health import state_of
from torcd.protocol.health import TaskHealth, WorkflowHealth


def survey_actor(actor: WorkflowActor, crashes: int) -> WorkflowHealth:
    """How an actor is that runs; it is not asked, since it may not answer."""
    now = trio.current_time()
    since_progress_s = now - actor.activity.progress_at
    task = _survey_task(actor, now)
    waiting = actor.mailbox.count
    workers, away = actor.roster.count_workers()
    return WorkflowHealth(
        workflow_id=actor.workflow_id,
        state=state_of(
            at=actor.activity.at,
            is_loaded=actor.published is not None,
            since_progress_s=since_progress_s,
            waiting=waiting,
            task=task,
        ),
        at=actor.activity.at,
        since_progress_s=round(since_progress_s, 3),
        waiting=waiting,
        task=task,
        workers=workers,
        workers_away=away,
        crashes=crashes,
    )


def survey_faulted(workflow_id: int, fault: str, crashes: int) -> WorkflowHealth:
    """A workflow whose actor was given up."""
    return WorkflowHealth(
        workflow_id=workflow_id,
        state="faulted",
        at=None,
        since_progress_s=None,
        waiting=0,
        task=None,
        workers=0,
        workers_away=0,
        crashes=crashes,
        fault=fault,
    )


def _survey_task(actor: WorkflowActor, now: float) -> TaskHealth | None:
    task = actor.tasks.active
    if task is None:
        return None
    return TaskHealth(
        task_id=task.task_id,
        operation=task.operation,
        phase=task.phase,
        done=task.done,
        total=task.total,
        since_progress_s=round(now - task.progress_at, 3),
    )
