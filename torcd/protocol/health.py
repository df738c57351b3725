"""How the daemon is: what it has measured of itself, and what of that asks for somebody's help."""

from torcd.protocol.model import Answer
from torcd.protocol.requests import Request


class GetHealth(Request, frozen=True, kw_only=True):
    """How the daemon is, as measured now: answers `Health`, without asking the database, which may hang."""

    METHOD = "daemon.health"


class LoopHealth(Answer, frozen=True, kw_only=True):
    """How long the event loop kept everybody waiting: its longest turn in the last minute, and how long ago."""

    lag_ms: float
    lag_ago_s: float


class DatabaseHealth(Answer, frozen=True, kw_only=True):
    """The database. Sizes are None when its file system did not tell in time."""

    state: str
    """`ok`, `failing` (the last commit failed) or `silent` (the SQL thread is at something and gets nowhere)."""
    file_system: str
    is_local: bool
    size_bytes: int | None
    free_bytes: int | None
    last_commit_at: str | None
    last_error: str | None
    last_error_at: str | None
    silent_s: float
    """For how long the SQL thread has been at something without using its processor."""


class TaskHealth(Answer, frozen=True, kw_only=True):
    """The task that a workflow is at. `done` of `total` files are looked at, or read, in this `phase`."""

    task_id: int
    operation: str
    phase: str | None
    done: int | None
    total: int | None
    since_progress_s: float


class WorkflowHealth(Answer, frozen=True, kw_only=True):
    """The actor of a workflow that is loaded, or was and is faulted."""

    workflow_id: int
    state: str
    """`idle`, `busy`, `loading`, `stuck`, `stalled` (only its task gets nowhere) or `faulted`."""
    at: str | None
    """The message that it handles now."""
    since_progress_s: float | None
    """Since it took up or finished a message."""
    waiting: int
    """Messages in its mailbox."""
    task: TaskHealth | None
    workers: int
    workers_away: int
    """Workers without a connection whose lease has not ended."""
    crashes: int
    """In the last minute."""
    fault: str | None = None


class Problem(Answer, frozen=True, kw_only=True):
    """Something that asks for help: what it is about, what is wrong, what to do."""

    subject: str
    problem: str
    advice: str


class SlurmHealth(Answer, frozen=True, kw_only=True):
    """What the daemon knows of Slurm, as long as it has something to ask of it."""

    open_allocations: int
    """Allocations that have not ended."""
    unknown_since: str | None
    """Since when it has not answered; null: it does."""
    error: str | None


class Health(Answer, frozen=True, kw_only=True):
    """What the daemon has measured of itself. `workflows` are those that are loaded or faulted."""

    uptime_s: float
    memory_bytes: int
    open_files: int
    open_files_limit: int
    connections: int
    subscriptions: int
    workers: int
    event_loop: LoopHealth
    database: DatabaseHealth
    workflows: list[WorkflowHealth]
    problems: list[Problem]
    slurm: SlurmHealth | None = None
