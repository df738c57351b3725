"""Changes of one workflow, as data: the same object is written to the database and told to subscribers.

Jobs, files and user data are given by their index in the workflow's `State`; the arrays are never changed
after the delta was made.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torcd.core.placement import Requirement

Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Move:
    """Jobs that take one status, for one reason."""

    jobs: Indexes
    status: int
    reason: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs that a worker took; `attempts[i]` is the new attempt of `jobs[i]`."""

    jobs: Indexes
    attempts: NDArray[np.int32]
    run_id: int
    worker_id: int
    counter: int


@dataclass(frozen=True, slots=True)
class Start:
    """Claimed jobs whose process has started."""

    jobs: Indexes


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One ended attempt, ready to be stored."""

    job: int
    attempt_id: int
    run_id: int
    worker_id: int
    return_code: int | None
    status: int
    reason: int
    started_at_ms: int | None
    ended_at_ms: int
    exec_time_s: float
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    hostname: str = ""
    stdout_path: str | None = None
    stderr_path: str | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """File records that are replaced. `is_new`: by another version; the replaced ones go to the history.

    `is_restored`: by what they were before; whatever came after that leaves the history.
    """

    files: Indexes
    mtime_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    digest: NDArray[np.void]
    is_racy: NDArray[np.bool_]
    version: NDArray[np.int64]
    is_new: bool
    is_restored: bool = False


@dataclass(frozen=True, slots=True)
class UserDataWrite:
    """A new value of a user data; `data` is JSON, None: it is cleared."""

    user_data: int
    version: int
    data: str | None
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class UserDataRestored:
    """The newest version of a user data is taken back."""

    user_data: int
    version: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Jobs that may, or may not any more, return to completed (SEMANTICS 4.9)."""

    jobs: Indexes
    may_return: bool


@dataclass(frozen=True, slots=True)
class Retries:
    """How often jobs count as retried."""

    jobs: Indexes
    counts: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Rebase:
    """Jobs that count as last started when the version counter stood at `counters`, by `workers` (`Jobs.worker`)."""

    jobs: Indexes
    counters: NDArray[np.int64]
    workers: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Jobs that get other resource requirements; None: none any more. `is_new`: the workflow gets them with it."""

    jobs: Indexes
    need: Requirement | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class RequirementsDropped:
    """Names of resource requirements that go, unless a job has them."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobEdit:
    """New values of a job's columns; `before` is the first definition, unless the job is known to have been edited."""

    job: int
    columns: dict[str, Any]
    before: str | None
    definition: str | None
    digest: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Arm:
    """Actions that are to fire when their moment comes, or not to."""

    actions: list[int]
    """Ids."""
    is_armed: bool


@dataclass(frozen=True, slots=True)
class Fire:
    """A new firing of an action, which is disarmed by it."""

    action_id: int
    number: int
    run_id: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class FiringMove:
    """New values of a firing's columns."""

    action_id: int
    number: int
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskBegin:
    """A new active task."""

    operation: str
    params: str
    requested_by: str
    request_key: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """The end of a task; `summary` and `jobs` are its plan, when it succeeded.

    `before`: what is needed to take it back; None: it cannot be.
    """

    task_id: int
    status: str
    at_ms: int
    error: str | None = None
    error_code: int | None = None
    error_data: str | None = None
    summary: str | None = None
    jobs: bytes = b""
    before: bytes | None = None
    keeps_earlier: bool = False
    """Whether what came before can still be taken back."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An event for the log; `data` is JSON-encodable."""

    seq: int
    at_ms: int
    kind: str
    data: dict[str, Any]


Change = (
    Move | Claim | Start | Records | UserDataWrite | UserDataRestored | Mark | Retries | Rebase | Adjustment
    | RequirementsDropped | JobEdit | Arm | Fire | FiringMove | TaskEnd
)  # fmt: skip


@dataclass(slots=True)
class Delta:
    """Everything that one group of messages changes, in the order in which it happened."""

    changes: list[Change] = field(default_factory=list)
    results: list[ResultRow] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    workflow: dict[str, int] = field(default_factory=dict)
    """Columns of the workflow's own row that change."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.changes or self.results or self.notices or self.workflow)
