"""Edits: what users change at once, without a task. None of them goes on beside an operation (SEMANTICS 6.3)."""

from msgspec import field

from torcd.protocol.requests import Integer, WorkflowRequest


class ArchiveWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Makes a workflow read only; one with live jobs is refused. Answers the workflow."""

    METHOD = "workflows.archive"


class UnarchiveWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Takes `workflows.archive` back. Answers the workflow."""

    METHOD = "workflows.unarchive"


class DisableJobs(WorkflowRequest, frozen=True, kw_only=True):
    """Disables jobs that are not live, and evaluates anew what is downstream: all of them, or none.

    Answers {workflow_id, disabled, unchanged, jobs}: how many were disabled, how many of those named were so already,
    and the ids of the former.
    """

    METHOD = "jobs.disable"
    jobs: list[Integer] = field(default_factory=list)


class EnableJobs(WorkflowRequest, frozen=True, kw_only=True):
    """Makes disabled jobs uninitialized, and evaluates anew what is downstream: all of them, or none.

    Answers {workflow_id, enabled, unchanged, jobs}, as `jobs.disable` does.
    """

    METHOD = "jobs.enable"
    jobs: list[Integer] = field(default_factory=list)
