"""Job statuses, why a job is in one, and the one table of moves between them (SEMANTICS §2).

Numbers are stored in databases: they never change meaning.
"""

from collections.abc import Iterable
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray

from torcd.protocol.errors import Refused
from torcd.protocol.model import OLDER_STATUSES, STATUSES


class Status(IntEnum):
    """Where a job stands; the value is its place in `protocol.model.STATUSES`."""

    UNINITIALIZED = 0
    BLOCKED = 1
    READY = 2
    PENDING = 3
    RUNNING = 4
    COMPLETED = 5
    FAILED = 6
    CANCELED = 7
    TERMINATED = 8
    DISABLED = 9


class StatusReason(IntEnum):
    """Why a job has its status, where the status alone does not say it."""

    NONE = 0
    BY_USER = 1
    UPSTREAM_FAILED = 2
    WALLTIME = 3
    WORKER_LOST = 4
    SUPERSEDED = 5
    WORKER_SHUTDOWN = 6
    OUTPUT_MISSING = 7
    UNCHANGED_INPUTS = 8
    ACCEPTED = 9
    RETRY = 10
    RECOVERY_FAILED = 11


S = Status

LIVE = frozenset({S.PENDING, S.RUNNING})
SATISFIED = frozenset({S.COMPLETED, S.DISABLED})
SETTLED = frozenset({S.COMPLETED, S.FAILED, S.CANCELED, S.TERMINATED, S.DISABLED})
BAD = frozenset({S.FAILED, S.CANCELED, S.TERMINATED})
ENDED = frozenset({S.COMPLETED, S.FAILED, S.CANCELED, S.TERMINATED})
WAITING = frozenset({S.UNINITIALIZED, S.BLOCKED, S.READY})

MOVES: frozenset[tuple[Status, Status]] = frozenset(
    {
        (S.UNINITIALIZED, S.READY),
        (S.UNINITIALIZED, S.BLOCKED),
        (S.UNINITIALIZED, S.CANCELED),
        (S.BLOCKED, S.READY),
        (S.BLOCKED, S.CANCELED),
        (S.READY, S.BLOCKED),
        (S.READY, S.PENDING),
        (S.READY, S.CANCELED),
        (S.PENDING, S.RUNNING),
        (S.PENDING, S.READY),
        (S.PENDING, S.CANCELED),
        (S.RUNNING, S.COMPLETED),
        (S.RUNNING, S.FAILED),
        (S.RUNNING, S.TERMINATED),
        (S.RUNNING, S.CANCELED),
        (S.RUNNING, S.READY),
        (S.TERMINATED, S.RUNNING),
        (S.TERMINATED, S.FAILED),
        (S.DISABLED, S.UNINITIALIZED),
    }
    | {(a, S.COMPLETED) for a in S if a not in LIVE | {S.DISABLED}}
    | {(a, S.UNINITIALIZED) for a in S if a not in LIVE | {S.UNINITIALIZED}}
    | {(a, S.DISABLED) for a in S if a not in LIVE | {S.DISABLED}}
)
"""Every move there is. A reset followed by an evaluation is two moves, by way of uninitialized."""


class ImpossibleMove(Exception):
    """A bug: somebody asked for a move that the table does not have."""


def _table(pairs: Iterable[tuple[Status, Status]]) -> NDArray[np.bool_]:
    table = np.zeros((len(Status), len(Status)), dtype=np.bool_)
    for before, after in pairs:
        table[before, after] = True
    return table


class By(Enum):
    """What moves jobs."""

    ITSELF = "itself"
    """One move of the table."""
    RESET = "reset"
    """By way of uninitialized."""
    ACCEPTANCE = "acceptance"
    """By themselves, or by way of uninitialized where a failure does not stand any more."""
    UNDO = "undo"
    """Back from where an operation has put them (and an acceptance, or early cutoff)."""


_PLACED = (S.UNINITIALIZED, S.BLOCKED, S.READY, S.CANCELED)
_RESETS = {(a, b) for a in S for b in _PLACED if a == S.UNINITIALIZED or (a, S.UNINITIALIZED) in MOVES}
_ALLOWED = {
    By.ITSELF: _table(MOVES),
    By.RESET: _table(_RESETS),
    By.ACCEPTANCE: _table(MOVES | _RESETS),
    By.UNDO: _table((a, b) for a in (*_PLACED, S.COMPLETED) for b in S if b not in LIVE),
}


def check_moves(before: NDArray[np.uint8], after: NDArray[np.uint8], by: By = By.ITSELF) -> None:
    """Raises ImpossibleMove unless each `before[i]` → `after[i]` is allowed."""
    allowed = _ALLOWED[by][before, after]
    if not allowed.all():
        place = int(np.flatnonzero(~allowed)[0])
        raise ImpossibleMove(
            f"{Status(int(before[place])).name} -> {Status(int(after[place])).name} (job {place} of {len(before)})"
        )


def mask_of(statuses: frozenset[Status]) -> NDArray[np.bool_]:
    """A lookup table: `mask_of(X)[status_array]` is true where the status is one of X."""
    mask = np.zeros(len(Status), dtype=np.bool_)
    for status in statuses:
        mask[status] = True
    return mask


def ends_attempt(status: int, reason: int) -> bool:
    """Whether the latest attempt of a job that gets this status is history: the job waits, or was canceled waiting."""
    return status in WAITING or reason == StatusReason.UPSTREAM_FAILED


def revives_attempt(status: int, reason: int) -> bool:
    """Whether the job tells of its latest attempt again, which was history."""
    return status == Status.COMPLETED and reason == StatusReason.UNCHANGED_INPUTS


def status_name(status: int) -> str:
    """The name of a status as users see it."""
    return STATUSES[status]


def reason_name(reason: int) -> str | None:
    """The name of a status reason as users see it; None when there is none."""
    return StatusReason(reason).name.lower() if reason else None


def find_statuses(name: str) -> tuple[int, ...]:
    """The statuses that a name stands for, older names included. Raises Refused when there is none."""
    names = OLDER_STATUSES.get(name, (name,))
    found = tuple(STATUSES.index(each) for each in names if each in STATUSES)
    if not found:
        raise Refused(f"there is no status {name!r}: use one of {', '.join(STATUSES)}", field="status", value=name)
    return found
