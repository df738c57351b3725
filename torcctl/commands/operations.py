"""The verbs of `workflows` that are operations: what a workflow does one at a time, with a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl.parameters import OPERATION_DEFAULTS, PLAN_DEFAULTS
from torcctl.perform import perform
from torcctl.selection import choose_workflow
from torcd.protocol.requests import Initialize, Reinit, ResetStatus, Restart, Undo

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Detect, OperationOptions, PlanOptions, Reinitialize, WorkflowId


def initialize(
    workflow: WorkflowId = None, /, *, options: OperationOptions = OPERATION_DEFAULTS, context: Context
) -> int:
    """Make the jobs ready or blocked for the first time; with --force all over again."""
    return perform(context, Initialize, options, workflow_id=choose_workflow(context, workflow))


def reinit(
    workflow: WorkflowId = None,
    /,
    *,
    detect: Detect = None,
    options: OperationOptions = OPERATION_DEFAULTS,
    context: Context,
) -> int:
    """Find out what changed and reset the jobs that this affects, with everything downstream of them."""
    return perform(context, Reinit, options, workflow_id=choose_workflow(context, workflow), detect=detect)


def restart(
    workflow: WorkflowId = None,
    /,
    *,
    only_uninitialized: bool = False,
    detect: Detect = None,
    options: OperationOptions = OPERATION_DEFAULTS,
    context: Context,
) -> int:
    """Make the jobs that did not finish ready again, and those that a change affects.

    Args:
        only_uninitialized: Make uninitialized jobs ready or blocked and touch nothing else.
    """
    return perform(
        context,
        Restart,
        options,
        workflow_id=choose_workflow(context, workflow),
        only_uninitialized=only_uninitialized,
        detect=detect,
    )


def undo(workflow: WorkflowId = None, /, *, options: PlanOptions = PLAN_DEFAULTS, context: Context) -> int:
    """Take back the last reset, reinit, restart, recover or accept, while nothing it made runnable is claimed."""
    return perform(context, Undo, options, workflow_id=choose_workflow(context, workflow))


def reset_status(
    workflow: WorkflowId = None,
    /,
    *,
    failed_only: bool = False,
    reinitialize: Reinitialize = False,
    detect: Detect = None,
    options: OperationOptions = OPERATION_DEFAULTS,
    context: Context,
) -> int:
    """Set all jobs to uninitialized. Results stay in the history.

    Args:
        failed_only: Only jobs that failed or were terminated, and everything downstream of them.
        reinitialize: Go on with reinit at once, so that the jobs become ready or blocked.
    """
    return perform(
        context,
        ResetStatus,
        options,
        workflow_id=choose_workflow(context, workflow),
        failed_only=failed_only,
        reinitialize=reinitialize,
        detect=detect,
    )
