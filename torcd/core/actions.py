"""When actions fire, and which operations arm them again.

An action fires when it is armed and its moment is there, and is armed no more by that: so it fires once, whatever
comes later, until an operation changes a job that it is about. All of it follows from statuses: a turn in which nobody
looked would only have the next one fire it.
"""

import numpy as np
from numpy.typing import NDArray

from torcd.core.state import IS_SETTLED, Action, State
from torcd.core.status import LIVE, Status, mask_of

Int64 = NDArray[np.int64]

WAITS = mask_of(frozenset({Status.UNINITIALIZED, Status.BLOCKED}))
CAN_RUN = mask_of(LIVE | {Status.READY})
IS_OPEN = ~IS_SETTLED

BLOCK = 4096
"""Jobs looked at together."""


def find_due(state: State) -> list[Action]:
    """The armed actions whose moment it is, in their order.

    None fires before the workflow was initialized. In one that was canceled nothing is left to run on nodes.
    """
    if state.run_id == 0:
        return []
    return [action for action in state.actions if action.is_armed and is_due(state, action)]


def is_due(state: State, action: Action) -> bool:
    """Whether an action's moment is there, armed or not.

    That of an action about jobs is when none waits for another one any more and one at least can run or does; those
    that ran before the last one became ready, or that a failure has canceled, do not keep the others waiting.
    """
    if action.spec.action_type == "schedule_nodes" and state.is_canceled:
        return False
    match action.spec.trigger_type:
        case "on_workflow_start":
            return has_started(state)
        case "on_workflow_complete":
            return state.is_complete and state.count > 0
        case "on_jobs_ready":
            return _is_none(action, WAITS, state) and bool(CAN_RUN[state.jobs.status[action.jobs]].any())
        case "on_jobs_complete":
            return _is_none(action, IS_OPEN, state)


def has_started(state: State) -> bool:
    """Whether the workflow is under way: no job waits for an operation any more, and one can still run.

    An operation that only resets leaves uninitialized jobs: the start is that of the run that follows.
    """
    return not state.counts[Status.UNINITIALIZED] and not state.is_complete


def _is_none(action: Action, mask: NDArray[np.bool_], state: State) -> bool:
    """Whether no job of an action has a status of the mask.

    This is asked after each change of any job, so it must not look at a million jobs for that: the one that was seen
    to have such a status last mostly has it still, and those before it have it no more.
    """
    jobs, first = action.jobs, action.witness
    for start, end in ((first, first + 1), (first, len(jobs)), (0, first)):
        for block in range(start, end, BLOCK):
            found = mask[state.jobs.status[jobs[block : min(block + BLOCK, end)]]]
            place = int(found.argmax()) if len(found) else 0
            if place < len(found) and found[place]:
                action.witness = block + place
                return False
    return True


def find_rearmed(state: State, changed: Int64) -> list[Action]:
    """The actions that an operation arms again by changing the status of these jobs."""
    if not len(changed):
        return []
    return [
        action
        for action in state.actions
        if not action.is_armed and (action.is_of_workflow or bool(np.isin(action.jobs, changed).any()))
    ]


def find_disarmed(state: State, armed: list[int]) -> list[Action]:
    """The actions that an undo disarms: an operation had armed them, `armed` are those that were so before it.

    One that has fired since stays as it is: what it did cannot be taken back.
    """
    return [action for action in state.actions if action.is_armed and action.id not in armed]
