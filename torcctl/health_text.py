"""What a daemon's health looks like to people."""

from collections.abc import Iterator

from torcctl import output
from torcd.protocol.health import DatabaseHealth, Health, SlurmHealth, WorkflowHealth

COLUMNS = ("workflow", "state", "at", "progress", "waiting", "workers")


def write_health(health: Health) -> None:
    """Prints lines, a table of the workflows that are loaded, and the problems."""
    output.write_fields(_fields(health))
    if health.workflows:
        output.write_table(COLUMNS, [_row(each) for each in health.workflows])
    for problem in health.problems:
        print(f"problem: {problem.subject}: {problem.problem}. What to do: {problem.advice}")


def _fields(health: Health) -> Iterator[tuple[str, str]]:
    loop = health.event_loop
    yield "up", duration(health.uptime_s)
    yield "memory", output.format_size(health.memory_bytes)
    yield "open_files", f"{health.open_files} of {health.open_files_limit}"
    workers = output.count_of(health.workers, "worker")
    subscriptions = output.count_of(health.subscriptions, "subscription")
    yield "connections", f"{health.connections}, with {workers} and {subscriptions}"
    yield "event_loop", f"longest turn of the last minute {loop.lag_ms:.1f} ms, {duration(loop.lag_ago_s)} ago"
    yield "database_state", _database(health.database)
    if health.slurm is not None:
        yield "slurm", _slurm(health.slurm)
    yield "workflows_loaded", str(sum(each.state != "faulted" for each in health.workflows))


def _slurm(slurm: SlurmHealth) -> str:
    count = "1 open allocation" if slurm.open_allocations == 1 else f"{slurm.open_allocations} open allocations"
    return f"{count}, " + ("it answers" if slurm.unknown_since is None else f"no answer since {slurm.unknown_since}")


def _database(database: DatabaseHealth) -> str:
    place = f"{database.file_system}, {'local' if database.is_local else 'not local'}"
    room = "its size is not told"
    if database.size_bytes is not None and database.free_bytes is not None:
        room = f"{output.format_size(database.size_bytes)}, {output.format_size(database.free_bytes)} free"
    commit = f"last commit {database.last_commit_at}" if database.last_commit_at else "no commit yet"
    return f"{database.state} ({place}; {room}; {commit})"


def _row(workflow: WorkflowHealth) -> tuple[object, ...]:
    task = workflow.task
    at = workflow.at
    since = workflow.since_progress_s
    if task is not None:
        at = f"{task.operation} (task {task.task_id})"
        if task.phase is not None:
            at += f" {task.phase} {task.done}/{task.total}"
        since = min(task.since_progress_s, task.since_progress_s if since is None else since)
    away = f" ({workflow.workers_away} away)" if workflow.workers_away else ""
    ago = None if since is None else f"{duration(since)} ago"
    return workflow.workflow_id, workflow.state, at, ago, workflow.waiting, f"{workflow.workers}{away}"


def duration(seconds: float) -> str:
    """A time span in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"
