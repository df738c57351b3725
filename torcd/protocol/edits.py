"""Edits: what users change at once, without a task. None of them goes on beside an operation (SEMANTICS 6.3)."""

from torcd.protocol.requests import WorkflowRequest


class ArchiveWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Makes a workflow read only; one with live jobs is refused. Answers the workflow."""

    METHOD = "workflows.archive"


class UnarchiveWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Takes `workflows.archive` back. Answers the workflow."""

    METHOD = "workflows.unarchive"
