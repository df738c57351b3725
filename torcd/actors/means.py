"""What the daemon lends to actors for carrying out actions."""

from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Submits allocations for a workflow; answers their ids, and warnings. Raises TorcError.

    Repeated under its `request_key` it must not submit again.
    """

    async def __call__(
        self,
        workflow_id: int,
        *,
        count: int,
        scheduler: str | None,
        max_parallel_jobs: int | None,
        requested_by: str,
        request_key: str,
    ) -> tuple[list[int], list[str]]: ...


@dataclass(frozen=True, slots=True)
class Means:
    """How commands reach the daemon, which files they leave behind, and who submits allocations."""

    url: str = ""
    umask: int = 0o077
    schedule: Schedule | None = None
