"""`torcctl actions …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torcctl.selection import list_request
from torcd.protocol.actions import Action, FiringShown, ListActions, ListFirings

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId

COLUMNS = {
    "id": "id",
    "number": "number",
    "when": "trigger_type",
    "what": "action_type",
    "jobs": "num_jobs",
    "armed": "is_armed",
    "fired": "fired",
    "status": "status",
    "ended": "ended_at",
    "error": "error",
}

FIRING_COLUMNS = {
    "id": "id",
    "number": "number",
    "when": "trigger_type",
    "what": "action_type",
    "firing": "firing",
    "run": "run_id",
    "status": "status",
    "fired": "fired_at",
    "ended": "ended_at",
    "return code": "return_code",
    "error": "error",
}


def list_actions(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the actions of a workflow: whether they are armed, and what came of their latest firing."""
    request = list_request(context, ListActions, workflow, filters, COLUMNS)
    context.show_rows(request, "actions", Action, COLUMNS)


def firings(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List every firing of the actions of a workflow, oldest first."""
    request = list_request(context, ListFirings, workflow, filters, FIRING_COLUMNS)
    context.show_rows(request, "firings", FiringShown, FIRING_COLUMNS)


VERBS: dict[str, Command] = {"list": list_actions, "firings": firings}
