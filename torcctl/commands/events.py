"""`torcctl events …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from torcctl import output
from torcctl.exits import UsageError
from torcctl.selection import choose_workflow, list_request
from torcd.protocol.model import Event
from torcd.protocol.requests import ListEvents, Subscribe

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, WorkflowId

COLUMNS = {"seq": "seq", "time": "timestamp", "kind": "kind", "data": "data"}


class _EventParams(msgspec.Struct, frozen=True):
    """The params of an `event` notification."""

    event: msgspec.Raw


def list_events(
    workflow: WorkflowId = None,
    /,
    *,
    from_seq: int = 1,
    filters: Filters = (),
    context: Context,
) -> None:
    """List the log of a workflow.

    Args:
        from_seq: Number of the first event to show.
    """
    request = list_request(context, ListEvents, workflow, filters, COLUMNS, cursor=_before(from_seq))
    context.show_rows(request, "events", Event, COLUMNS)


def watch(workflow: WorkflowId = None, /, *, from_seq: int | None = None, context: Context) -> None:
    """Print the events of a workflow as they come, until Ctrl-C. With -f json one document a line.

    Args:
        from_seq: Number of the first event to show; left out: only what comes from now on.
    """
    workflow_id = choose_workflow(context, workflow)
    last_seq = None if from_seq is None else _before(from_seq)

    def watch_session() -> None:
        nonlocal last_seq  # a new session goes on where the lost one ended
        context.connection.call(Subscribe(workflow_id=workflow_id, from_seq=last_seq, progress=False))
        for notification in context.connection.notifications():
            if notification.method == "ended":
                return
            if notification.method == "event":
                raw = msgspec.json.decode(notification.params, type=_EventParams).event
                event = msgspec.json.decode(raw, type=Event)
                last_seq = event.seq
                _write(context, raw, event)

    context.persistently(watch_session)
    context.note("info", f"workflow {workflow_id} was deleted")


def _write(context: Context, raw: msgspec.Raw, event: Event) -> None:
    if context.options.json:
        output.write_json_line(raw)
    else:
        print(event.seq, event.timestamp, event.kind, output.cell(event.data), flush=True)


def _before(from_seq: int) -> int:
    """The daemon is told the last event that is not wanted."""
    if from_seq < 1:
        raise UsageError(f"--from-seq: {from_seq} is no number of an event; the first one is 1")
    return from_seq - 1


VERBS: dict[str, Command] = {"list": list_events, "watch": watch}
