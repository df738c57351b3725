"""What an actor is told besides the requests of clients: by its own helpers and by sessions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import trio
from numpy.typing import NDArray

from torcd.actors.mailbox import Reply
from torcd.actors.turn import Turn
from torcd.core.explanation import Explained
from torcd.core.planning import Known
from torcd.core.state import State
from torcd.operations.operate import Planned
from torcd.protocol.actions import Firing
from torcd.protocol.edits import DisableJobs, EnableJobs
from torcd.protocol.errors import TorcError
from torcd.protocol.requests import DeleteWorkflow, Operation, Undo
from torcd.protocol.worker_requests import RegisterWorker
from torcd.storage.update import Specification


class Deleted(Exception):
    """The workflow is gone, and its actor with it."""


@dataclass(slots=True)
class Preparation:
    """What an operation needs to know before it can be planned."""

    request: Operation
    counter: int
    """The version counter when it began: what was recorded later is newer than what was seen."""
    state: State
    """What it was looked up for: indexes are those of this state."""
    mtime_ns: NDArray[np.int64]
    """The recorded times of all files then."""
    known: Known = field(default_factory=Known)
    error: TorcError | None = None
    """Why it could not be found out."""


@dataclass(slots=True, eq=False)
class ActiveTask:
    """The one task under way."""

    task_id: int
    operation: str
    effect: dict[str, Any]
    requested_by: str
    created_at_ms: int
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    outlived_cancel: bool = False
    """Whether the workflow was canceled while it was active."""
    phase: str | None = None
    done: int | None = None
    total: int | None = None
    progress_at: float = field(default_factory=trio.current_time)

    def note_progress(self, phase: str, done: int, total: int) -> None:
        """It has looked at `done` of `total` files."""
        self.phase, self.done, self.total = phase, done, total
        self.progress_at = trio.current_time()


@dataclass(frozen=True, slots=True)
class Apply:
    """A task's preparation is done: plan and commit."""

    task: ActiveTask
    preparation: Preparation


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """A dry run; `reply` gets the `Planned`."""

    request: Operation
    reply: Reply[Planned] = field(default_factory=Reply)


@dataclass(frozen=True, slots=True)
class PreviewReady:
    """A dry run's preparation is done: plan."""

    preview: Preview
    preparation: Preparation


class Explanation(msgspec.Struct, frozen=True):
    """What is known of a job; jobs are given by id. `plan`: that of a reinit, packed."""

    explained: Explained
    plan: bytes
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Explain:
    """Asks why a job is where it is; `reply` gets the `Explanation`."""

    job_id: int
    reply: Reply[Explanation] = field(default_factory=Reply)


@dataclass(frozen=True, slots=True)
class ExplainReady:
    """What an explanation needs to know is there: answer."""

    explain: Explain
    state: State
    counter: int
    """The version counter when the look began."""
    mtime_ns: NDArray[np.int64]
    """The recorded times of all files then."""
    known: Known | TorcError


@dataclass(frozen=True, slots=True)
class CommitEdit:
    """An edit of a job whose look-ups are done; `decide` notes it and returns what makes the answer."""

    decide: Callable[[Turn], Callable[[], object]]
    changes_files: bool = False
    """Whether it adds or removes scripts, and so files and edges: the state has to be loaded anew."""


@dataclass(frozen=True, slots=True, eq=False)
class MakeUpdate:
    """A changed specification is to be applied; answered with the `Update` and, if anything differed, `Updated`."""

    specification: Specification
    expect: str | None


@dataclass(frozen=True, slots=True)
class Register:
    """A worker's registration, with the connection it speaks on."""

    request: RegisterWorker
    session: object
    closed: trio.Event
    """Set when that connection is gone."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection ended on which a worker may have spoken."""

    session: object


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """A worker stayed away too long."""

    worker_id: int
    lease: trio.CancelScope


@dataclass(frozen=True, slots=True)
class StrayEnded:
    """A worker that was given up has ended, with its jobs."""

    worker_id: int
    stray: object


@dataclass(frozen=True, slots=True)
class SyncWorkers:
    """Which workers are there is to be looked at; answered with `Synced`.

    `ended`: the allocations that have ended, with how, in Slurm's words.
    """

    dry_run: bool
    ended: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WaitEnded:
    """A waiting report has waited as long as it wanted to."""

    worker_id: int
    waiting: object


@dataclass(frozen=True, slots=True)
class Nudge:
    """Nothing but a reason to look again at the reports that wait."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of carrying out an action."""

    status: Literal["succeeded", "failed"]
    return_code: int | None = None
    error: str | None = None
    allocations: list[int] | None = None

    def columns(self) -> dict[str, Any]:
        """As they are stored."""
        allocations = None if self.allocations is None else msgspec.json.encode(self.allocations).decode()
        return {"return_code": self.return_code, "error": self.error, "allocations": allocations}


@dataclass(frozen=True, slots=True)
class FiringBegins:
    """An action is to be carried out now."""

    firing: Firing


@dataclass(frozen=True, slots=True)
class FiringEnded:
    """An action has been carried out."""

    firing: Firing
    outcome: Outcome


OwnMessage = Disconnected | LeaseEnded | WaitEnded | Nudge | FiringBegins | FiringEnded
"""What sessions and timers tell, once: nobody waits for an answer and repeats it."""

Unattended = (
    Operation | Apply | Preview | PreviewReady | Explain | ExplainReady | DeleteWorkflow | CommitEdit | DisableJobs
    | EnableJobs | MakeUpdate
)  # fmt: skip
"""What an actor handles alone, not in a group with other messages."""


def needs_loading(body: object) -> bool:
    """Whether a message leaves more to know than the state in memory holds.

    That is so after an edit that adds or removes files, and after an undo: what a job has run with may be a definition
    again that was not loaded because it was of no use.
    """
    match body:
        case CommitEdit():
            return body.changes_files
        case Apply():
            return isinstance(body.preparation.request, Undo)
        case _:
            return False
