"""What the daemon believes to be live, compared with what is."""

from typing import Literal

from torcd.protocol.model import Answer, PlanJob
from torcd.protocol.requests import WorkflowRequest


class SyncStatus(WorkflowRequest, frozen=True, kw_only=True):
    """Lets go of workers whose processes are gone at once, instead of when their leases end. Answers `Synced`.

    With `dry_run` nothing is written.
    """

    METHOD = "workflows.sync_status"
    dry_run: bool = False


class SyncedWorker(Answer, frozen=True, kw_only=True):
    """A worker that was looked at."""

    id: int
    hostname: str
    pid: int
    status: Literal["connected", "away", "given_up"]
    """What the daemon knows of it: its lease runs when it is away, and has ended when it was given up."""
    process: Literal["alive", "gone", "unknown"]
    """What there is. Unknown: it is on another host, or in another container."""
    is_released: bool
    """Whether it is let go of: it is gone. What is left of its jobs, if anything, is killed."""
    allocation_id: int | None = None
    """The allocation that started it; when that has ended, a worker that lost its connection is gone."""


class Synced(Answer, frozen=True, kw_only=True):
    """What was let go of, or would be."""

    workflow_id: int
    operation: str = "sync-status"
    dry_run: bool
    count: int
    """The jobs whose status changes; those downstream are not counted."""
    run_id: int
    jobs: list[PlanJob]
    workers: list[SyncedWorker]
    warnings: list[str]
