"""What measurements mean: who is stuck, what to do about it, and when only a new daemon can help.

Pure: numbers in, words out. Who measures is `torcd.pulse`, `actors.supervisor` and `storage.vitals`.
"""

from collections.abc import Sequence

from torcd.protocol.health import DatabaseHealth, LoopHealth, Problem, SlurmHealth, TaskHealth, WorkflowHealth

STUCK_S = 10.0
"""For an actor with one group of messages: most take milliseconds, a plan for a million jobs some seconds."""

LOADING_S = 60.0
"""For a load: a million jobs take seconds from a local disk."""

STALLED_S = 60.0
"""For a task between signs of progress: a scan gives a file system up that says nothing for half of that."""

SILENT_S = 10.0
"""For the SQL thread without using its processor: the slowest disk answers sooner, unless it is gone."""

LAG_MS = 2000.0
"""A turn of the event loop that long is felt by everybody."""

SILENT_TOO_LONG_S = 120.0
"""After that nothing is expected of the SQL thread any more. Nobody can commit anything meanwhile."""

NOBODY_SERVED_S = 900.0
"""After that nothing is expected of actors: longer than the longest read that may hold one up (`LOAD_TIMEOUT_S`)."""

FEW_DESCRIPTORS = 64
"""Descriptors left: a scan with helpers and a few clients take so many."""


def state_of(*, at: str | None, is_loaded: bool, since_progress_s: float, waiting: int, task: TaskHealth | None) -> str:
    """The state of an actor, as `WorkflowHealth.state` has it."""
    if not is_loaded:
        return "stuck" if since_progress_s > LOADING_S else "loading"
    if (at is not None or waiting) and since_progress_s > STUCK_S:
        return "stuck"
    if task is not None and min(task.since_progress_s, since_progress_s) > STALLED_S:
        return "stalled"
    return "busy" if at is not None or waiting or task is not None else "idle"


def why_restart(database_silent_s: float, workflows: Sequence[WorkflowHealth]) -> str | None:
    """Why the service manager should start the daemon anew; None as long as it is of use to somebody.

    One stuck workflow is no reason as long as another gets on, which would be interrupted for it again and again.
    That the event loop turns is shown by asking.
    """
    if database_silent_s > SILENT_TOO_LONG_S:
        return f"the SQL thread has got nowhere for {database_silent_s:.0f} s"
    loaded = [each.since_progress_s for each in workflows if each.since_progress_s is not None]
    if any(each.state == "stuck" for each in workflows) and min(loaded) > NOBODY_SERVED_S:
        return f"no workflow has got on for {min(loaded):.0f} s, and messages wait"
    return None


def find_problems(
    loop: LoopHealth,
    database: DatabaseHealth,
    workflows: Sequence[WorkflowHealth],
    descriptors_left: int,
    slurm: SlurmHealth | None = None,
) -> list[Problem]:
    """What asks for help, the most far-reaching first."""
    found = [*_problems_of_database(database)]
    if loop.lag_ms > LAG_MS:
        found.append(
            Problem(
                subject="event loop",
                problem=f"it stood still for {loop.lag_ms / 1000:.1f} s, {loop.lag_ago_s:.0f} s ago",
                advice="see whether this machine is out of processor or memory, or whether the daemon was suspended",
            )
        )
    if descriptors_left < FEW_DESCRIPTORS:
        found.append(
            Problem(
                subject="open files",
                problem=f"only {descriptors_left} descriptors are left",
                advice="raise `ulimit -n` (LimitNOFILE= of the service) and restart the daemon",
            )
        )
    if slurm is not None and slurm.unknown_since is not None:
        found.append(
            Problem(
                subject="slurm",
                problem=f"it has not answered since {slurm.unknown_since}: {slurm.error}",
                advice=f"see `sinfo` and ask the administrators; {_count(slurm.open_allocations, 'allocation')} may go "
                "on, and nothing is submitted twice",
            )
        )
    for workflow in workflows:
        found += _problems_of_workflow(workflow)
    return found


def _problems_of_database(database: DatabaseHealth) -> list[Problem]:
    if database.silent_s > SILENT_S:
        return [
            Problem(
                subject="database",
                problem=f"its disk ({database.file_system}) has not answered for {database.silent_s:.0f} s",
                advice="see whether the file system still answers (df, dmesg); if it is a dead mount, mount it anew",
            )
        ]
    if database.state == "failing":
        return [
            Problem(
                subject="database",
                problem=f"the last commit failed at {database.last_error_at}: {database.last_error}",
                advice="mend that; the next commit that succeeds ends this, without a restart",
            )
        ]
    return []


def _problems_of_workflow(workflow: WorkflowHealth) -> list[Problem]:
    subject = f"workflow {workflow.workflow_id}"
    match workflow.state:
        case "faulted":
            problem = f"it is faulted: its actor crashed again and again ({workflow.fault})"
            advice = "see `torcctl daemon logs`; `torcctl daemon stop` and a new start try again. Please report the bug"
        case "stuck":
            doing = "is loading" if workflow.at == LOAD else f"is at {workflow.at}"
            problem = (
                f"its actor {doing} and has got nowhere for {workflow.since_progress_s:.0f} s; "
                f"{_count(workflow.waiting, 'message')} in its mailbox"
            )
            advice = (
                "wait if the machine or its disk is slow; else see `torcctl daemon logs` and restart the daemon: "
                "running jobs go on"
            )
        case "stalled":
            assert workflow.task is not None
            task = workflow.task
            at = "" if task.phase is None else f" in its {task.phase} at {task.done} of {task.total} files"
            problem = f"task {task.task_id} ({task.operation}) has got nowhere for {task.since_progress_s:.0f} s{at}"
            advice = (
                f"see whether the file system of its files answers; `torcctl tasks cancel {task.task_id}` gives the "
                "task up. Claims and results are served meanwhile"
            )
        case _ if workflow.crashes:
            problem = f"its actor crashed {_count(workflow.crashes, 'time')} in the last minute and was started anew"
            advice = "see `torcctl daemon logs`, and report the bug"
        case _:
            return []
    return [Problem(subject=subject, problem=problem, advice=advice)]


LOAD = "load"
"""What an actor is at before it has its state."""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
