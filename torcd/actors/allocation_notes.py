"""What a workflow's actor writes of its allocations: rows and log entries in its own transaction, as for all else.

The allocator, which talks to Slurm, decides; what it sends may come twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from torcd.actors.turn import Turn
from torcd.core.allocations import Change
from torcd.core.ranges import format_ranges
from torcd.core.refusals import check_not_archived
from torcd.storage.allocations import NewAllocations, insert_allocations, set_cancel_reason, update_allocations


class AllocationMessage:
    """Base of what the allocator tells an actor."""


@dataclass(frozen=True, slots=True)
class AddAllocations(AllocationMessage):
    """Rows for allocations that are about to be submitted; answered with their ids and job names."""

    new: NewAllocations


@dataclass(frozen=True, slots=True)
class NoteAllocations(AllocationMessage):
    """What has become of allocations."""

    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class MarkCanceled(AllocationMessage):
    """Allocations that are to be canceled, and why; answered with those that are."""

    ids: Sequence[int]
    reason: str
    only_if_over: bool = False
    """Not when the workflow has got something to do meanwhile: whoever made it so counts on them."""


def on_allocation_message(turn: Turn, message: AllocationMessage) -> Callable[[], object]:
    """Writes it with the turn; what makes the answer."""
    match message:
        case AddAllocations(new):
            check_not_archived(turn.state)
            added = turn.query(lambda db: insert_allocations(db, turn.state.workflow_id, new, turn.now_ms))
            turn.draft.notify(
                "nodes_scheduled",
                {"count": new.count, "scheduler": new.scheduler, "num_nodes": new.num_nodes, "by": new.requested_by},
            )
            return lambda: added.value
        case NoteAllocations(changes):
            turn.query(lambda db: update_allocations(db, changes, turn.now_ms))
            turn.draft.notify("allocations_changed", {"changes": _describe(changes)})
        case MarkCanceled(ids, reason, only_if_over):
            if only_if_over and not (turn.state.is_complete or turn.state.is_archived):
                return tuple
            turn.query(lambda db: set_cancel_reason(db, ids, reason))
            turn.draft.notify(
                "allocations_canceled", {"count": len(ids), "allocations": _ranges(ids), "reason": reason}
            )
            return lambda: tuple(ids)
    return lambda: None


def _describe(changes: Sequence[Change]) -> list[dict[str, object]]:
    """The changes, one entry for all allocations that changed alike."""
    alike: dict[tuple[str, str | None, str | None, str | None], list[int]] = {}
    for change in changes:
        alike.setdefault((change.status, change.state, change.reason, change.error), []).append(change.id)
    return [
        {
            "status": status,
            "slurm_state": state,
            "slurm_reason": reason,
            "error": error,
            "count": len(ids),
            "allocations": _ranges(ids),
        }
        for (status, state, reason, error), ids in alike.items()
    ]


def _ranges(ids: Sequence[int]) -> str:
    return format_ranges(np.array(sorted(ids), dtype=np.int64))
