"""One operation of the command line, from its options to its exit code: a dry run, a handle or a task."""

import os
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl import output
from torcctl.context import user_name
from torcctl.exits import CHANGES, DONE
from torcctl.follow import add_plan_jobs, begin, finish, new_request_key, submit
from torcctl.parameters import OperationOptions, check_options
from torcctl.plans import write_plan
from torcd.protocol.client import NoAnswer
from torcd.protocol.errors import TimedOut
from torcd.protocol.model import Plan
from torcd.protocol.requests import GetPreview, Operation

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import PlanOptions


def requester(context: "Context") -> str:
    """Who asks, for whoever meets the task: user@host."""
    return f"{user_name(context.environ)}@{os.uname().nodename}"


def perform(context: "Context", kind: type[Operation], options: "PlanOptions", **parameters: Any) -> int:
    """Carries an operation out as its options say, prints what came of it and returns the exit code.

    `parameters` are the fields that only this operation has.
    """
    check_options(options)
    request = kind(
        requested_by=requester(context),
        dry_run=options.dry_run,
        force=options.force,
        stop_live=isinstance(options, OperationOptions) and options.stop_live,
        expect=options.expect,
        request_key=None if options.dry_run else new_request_key(),
        **parameters,
    )
    if options.dry_run:
        return _preview(context, request, options)
    if options.async_:
        return _hand_over(context, request)
    handle = begin(context, request)
    if handle is None:
        context.note("info", "there was nothing to do")
        if context.options.json:
            output.write_json({"task": None})
        return DONE
    _show_task(context, finish(context, handle, request.NAME, options.wait_timeout), options)
    return DONE


def show_nothing(context: "Context", kind: type[Operation], options: "PlanOptions") -> int:
    """For programs: an operation that no job was named to has no task and, as a dry run, an empty plan."""
    check_options(options)
    if context.options.json:
        nothing: dict[str, Any] = {"workflow_id": None, "operation": kind.NAME, "dry_run": True, "count": 0}
        plan = {**nothing, "plan_digest": None, "run_id": None, "jobs": [], "warnings": []}
        output.write_json(plan if options.dry_run else {"task": None})
    return DONE


def _show_task(context: "Context", task: dict[str, Any], options: "PlanOptions") -> None:
    if context.options.json or options.explain:
        add_plan_jobs(context, task)
    if task["result"] is not None:
        for warning in task["result"]["warnings"]:
            context.warn(warning)
    if context.options.json:
        output.write_json(task)
    elif task["result"] is not None:
        plan = msgspec.convert({"jobs": [], **task["result"]}, Plan)
        write_plan(plan, explain=options.explain)


def _preview(context: "Context", request: Operation, options: "PlanOptions") -> int:
    plan = context.persistently(lambda: fetch_plan(context, request, options.wait_timeout))
    for warning in plan["warnings"]:
        context.warn(warning)
    if context.options.json:
        output.write_json(plan)
    else:
        write_plan(msgspec.convert(plan, Plan), explain=options.explain)
        if options.explain:
            digest = plan["plan_digest"]
            context.note("info", f"to apply exactly this plan, repeat without --dry-run and with --expect {digest}")
    return CHANGES if options.exit_code and (plan["count"] or plan["jobs"]) else DONE


def fetch_plan(context: "Context", request: Operation, timeout_s: float | None) -> dict[str, Any]:
    """The plan of a dry run, put together from its pages. All of them come from one session."""
    session = context.connection
    try:
        page = msgspec.json.decode(session.call(request, timeout_s=timeout_s), type=dict[str, Any])
    except NoAnswer as error:
        raise TimedOut(f"the dry run did not end within {timeout_s:g} s; nothing was changed") from error
    plan: dict[str, Any] = page["plan"]
    preview, cursor = page.get("preview", ""), page["next_cursor"]
    while cursor is not None:
        page = msgspec.json.decode(session.call(GetPreview(preview=preview, cursor=cursor)), type=dict[str, Any])
        plan["jobs"] += page["plan"]["jobs"]
        cursor = page["next_cursor"]
    return plan


def _hand_over(context: "Context", request: Operation) -> int:
    """Starts the task and prints its handle without waiting."""
    raw = submit(context, request)
    if context.options.json:
        output.write_json(raw)
        return DONE
    handle = msgspec.json.decode(raw, type=dict[str, Any])
    existing = " already" if handle.get("existing") else ""
    print(f"Task {handle['task_id']} ({request.NAME}) is{existing} {handle['status']}")
    context.note("info", f"wait for it: torcctl tasks wait {handle['task_id']}")
    return DONE
