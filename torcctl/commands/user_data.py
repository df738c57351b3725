"""`torcctl user-data …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from torcctl import output
from torcctl.selection import check_id, check_workflow, choose_workflow, is_id, list_request, workflow_of_option
from torcd.protocol.errors import Refused
from torcd.protocol.lookups import ListUserDataHistory
from torcd.protocol.model import UserData, UserDataVersion
from torcd.protocol.requests import GetUserData, ListUserData, UpdateUserData

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId

COLUMNS = {"id": "id", "name": "name", "set": "is_set", "version": "version", "data": "data"}

HISTORY = {"version": "version", "set": "is_set", "data": "data"}


def list_user_data(workflow: WorkflowId = None, /, *, filters: Filters = (), context: Context) -> None:
    """List the user data of a workflow."""
    request = list_request(context, ListUserData, workflow, filters, COLUMNS)
    context.show_rows(request, "user_data", UserData, COLUMNS)


def get(user_data: str, /, *, context: Context) -> None:
    """Show a user data with its value.

    Args:
        user_data: Its name in the selected workflow, or its id.
    """
    request = GetUserData(**_key(context, user_data))
    context.show(context.call(request), UserData, output.write_struct)


def history(user_data: str, /, *, context: Context) -> None:
    """List the values that a user data has had, the newest first.

    A version is a number of the workflow's counter, from which on the value was in force; 0: since the workflow was
    created. One that was never written has none.

    Args:
        user_data: Its name in the selected workflow, or its id.
    """
    found = context.get(GetUserData(**_key(context, user_data)), UserData)
    request = ListUserDataHistory(workflow_id=found.workflow_id, user_data_id=found.id)
    context.show_rows(request, "history", UserDataVersion, HISTORY)


def update(user_data: str, /, *, data: str, context: Context) -> None:
    """Write a value. In a job it is that job's own write.

    Args:
        user_data: Its name in the selected workflow, or its id.
        data: The value as JSON.
    """
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise Refused(f"--data is not JSON ({error}): {data!r}; a text needs its own quotes") from error
    request = UpdateUserData(data=value, **_key(context, user_data), **_attempt(context))
    context.show(context.call(request), UserData, output.write_struct)


def _key(context: Context, user_data: str) -> dict[str, Any]:
    """The request's fields that say which user data is meant. Digits are an id."""
    if not is_id(user_data):
        return {"workflow_id": choose_workflow(context), "name": user_data}
    user_data_id = check_id(int(user_data), "user data")
    if workflow_of_option(context) is not None:
        found = context.get(GetUserData(user_data_id=user_data_id), UserData)
        check_workflow(context, found.workflow_id, "user data", found.id)
    return {"user_data_id": user_data_id}


def _attempt(context: Context) -> dict[str, Any]:
    """The attempt on whose behalf this runs, when a worker started it."""
    job_id, attempt_id = (context.environ.get(name, "") for name in ("TORC_JOB_ID", "TORC_ATTEMPT_ID"))
    if not (job_id.isdecimal() and attempt_id.isdecimal()):
        return {}
    return {"job_id": int(job_id), "attempt_id": int(attempt_id)}


VERBS: dict[str, Command] = {"list": list_user_data, "get": get, "update": update, "history": history}
