"""What the scheduler says of allocations, and what follows from it. Pure.

"Unknown" is never "failed": only an answer of the scheduler changes an allocation, and what it does not list has to be
missing from two answers before anybody believes it.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

SUBMITTING, PENDING, ACTIVE, COMPLETE, REFUSED = "submitting", "pending", "active", "complete", "refused"
OPEN = (SUBMITTING, PENDING, ACTIVE)
"""The statuses of allocations that may still run something."""

QUEUED = (SUBMITTING, PENDING)

_PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
# fmt: off
_ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
})
# fmt: on
_REQUEUED_AFTER = frozenset({"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"})
"""After these Slurm may queue the same job again, under its id, a moment later."""

MISSES = 2
"""Answers in a row that do not list an allocation before it is looked for elsewhere."""

NOT_THERE, UNANSWERED = "Slurm does not have it", "got no answer"
"""How the errors of allocations end that were not submitted, though Slurm has not refused them."""

UNKNOWN = "UNKNOWN"
"""The state of an allocation of which the scheduler knows nothing any more."""


def find_log(output_dir: str, allocation_id: int) -> str:
    """The path of an allocation's logs, without `.o` and `.e`."""
    return f"{output_dir}/slurm_{allocation_id}"


class Seen(NamedTuple):
    """One job as the scheduler tells of it."""

    job_id: int
    state: str
    reason: str | None


class Row(NamedTuple):
    """An allocation as it is kept, as far as decisions need it."""

    id: int
    workflow_id: int
    status: str
    job_name: str
    job_id: int | None
    state: str | None
    reason: str | None
    cancel_reason: str | None
    created_at_ms: int
    error: str | None


class Change(NamedTuple):
    """What is to be written of an allocation."""

    id: int
    workflow_id: int
    status: str
    job_id: int | None
    state: str | None
    reason: str | None
    error: str | None = None


@dataclass(slots=True)
class Memory:
    """What is remembered between two answers of the scheduler; nothing of it has to survive a restart."""

    misses: dict[int, int] = field(default_factory=dict)
    """Of each allocation, in how many answers in a row it was not listed, or had ended in a way that may be followed
    by a requeue."""


def status_of(state: str, before: str) -> str:
    """The status that a state of Slurm's stands for; `before` where it is one of a newer Slurm."""
    if state in _PENDING:
        return PENDING
    if state in _ENDED:
        return COMPLETE
    known = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
    if state in known:
        return ACTIVE
    return PENDING if before == SUBMITTING else before


def compare(rows: list[Row], queue: dict[str, Seen], memory: Memory) -> tuple[list[Change], list[Row]]:
    """What an answer of the scheduler changes, and the allocations to look for elsewhere, since it lacks them."""
    changes, missing = [], []
    known = {row.id for row in rows}
    memory.misses = {each: count for each, count in memory.misses.items() if each in known}
    for row in rows:
        seen = queue.get(row.job_name)
        if seen is None or (seen.state in _REQUEUED_AFTER and row.status != COMPLETE):
            count = memory.misses[row.id] = memory.misses.get(row.id, 0) + 1
            if seen is None:
                if count >= MISSES:
                    missing.append(row)
                continue
            if count < MISSES:
                continue
        else:
            memory.misses.pop(row.id, None)
        change = follow(row, seen)
        if change is not None:
            changes.append(change)
    return changes, missing


def follow(row: Row, seen: Seen) -> Change | None:
    """What is to be written when the scheduler has told of an allocation; None: nothing has changed."""
    status = status_of(seen.state, row.status)
    if (status, seen.job_id, seen.state, seen.reason) == (row.status, row.job_id, row.state, row.reason):
        return None
    return Change(row.id, row.workflow_id, status, seen.job_id, seen.state, seen.reason)


def give_up(row: Row, *, is_settled: bool, had_workers: bool) -> Change | None:
    """What becomes of an allocation that the scheduler does not know; None: it is too early to say.

    `is_settled`: whoever submitted it has had all its time. One that workers have come from was there.
    """
    if row.status != SUBMITTING or had_workers:
        return Change(row.id, row.workflow_id, COMPLETE, row.job_id, UNKNOWN, None)
    if not is_settled:
        return None
    error = row.error or "torcd ended while it was being submitted"
    return Change(row.id, row.workflow_id, REFUSED, None, None, None, f"{error}; {NOT_THERE}")


def is_lost(row: Row) -> bool:
    """Whether it was never submitted, though Slurm has not refused it: another may be in its place."""
    return row.status == REFUSED and (row.error or "").endswith((NOT_THERE, UNANSWERED))


class Backlog(NamedTuple):
    """A workflow that has open allocations: what it has to do."""

    is_over: bool
    """No job can run any more unless a user does something: it is complete or archived, and no task is active."""
    is_canceled: bool


CANCELED_GRACE_S = 60.0
"""For the workers of a canceled workflow to end by themselves before their allocations are canceled."""


def find_superfluous(
    rows: list[Row], backlogs: dict[int, Backlog], canceled_for_s: dict[int, float]
) -> list[tuple[Row, str]]:
    """The allocations that nobody needs any more, and why.

    `canceled_for_s`: of each canceled workflow, for how long that is known.
    """
    found = []
    for row in rows:
        backlog = backlogs.get(row.workflow_id)
        if row.cancel_reason is not None or backlog is None or not backlog.is_over or row.status not in OPEN:
            continue
        if row.status in QUEUED:
            found.append((row, "its workflow has nothing left to run"))
        elif backlog.is_canceled and canceled_for_s.get(row.workflow_id, 0.0) >= CANCELED_GRACE_S:
            found.append((row, "its workflow is canceled"))
    return found
