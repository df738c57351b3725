"""`torcctl workflows …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from torcctl import output
from torcctl.commands.operations import initialize, reinit, reset_status, restart, undo
from torcctl.exits import CHANGES, DONE
from torcctl.parameters import RUN_DEFAULTS, check_exit_code, parse_filters
from torcctl.selection import choose_workflow
from torcd.protocol.edits import ArchiveWorkflow, UnarchiveWorkflow
from torcd.protocol.model import STATUSES, Workflow, WorkflowStatus
from torcd.protocol.requests import CancelWorkflow, DeleteWorkflow, GetStatus, GetWorkflow, ListWorkflows

if TYPE_CHECKING:
    from pathlib import Path

    from torcctl.context import Context
    from torcctl.parameters import Command, Filters, RunOptions, Source, WorkflowId

COLUMNS = {
    "id": "id",
    "name": "name",
    "user": "user",
    "status": "status",
    "run": "run_id",
    "created": "created_at",
    "directory": "submission_directory",
}


def create(spec: Source, /, *, dry_run: bool = False, directory: Path | None = None, context: Context) -> None:
    """Create a workflow from a specification: all of it, or nothing.

    Args:
        spec: A YAML, JSON, JSON5 or TOML file; - is standard input.
        dry_run: Check the specification and count what it holds; create nothing.
        directory: What relative paths are relative to; the current directory by default.
    """
    from torcctl.create import create_workflow, write_created

    answer = create_workflow(context, spec, directory=directory, dry_run=dry_run)
    if context.options.json:
        output.write_json(answer)
    else:
        write_created(answer)


def update(
    workflow: WorkflowId = None,
    /,
    *,
    spec: Path,
    dry_run: bool = False,
    expect: str | None = None,
    exit_code: bool = False,
    context: Context,
) -> int:
    """Make a workflow what a changed specification says: all of it, or nothing. Jobs are matched by name.

    Args:
        spec: A YAML, JSON, JSON5 or TOML file.
        dry_run: Show what would change and change nothing.
        expect: Apply only if what changes still has this digest.
        exit_code: With --dry-run: exit 10 when there are changes.
    """
    from torcctl.update import update_workflow, write_update

    check_exit_code(exit_code, dry_run)
    answer = update_workflow(context, choose_workflow(context, workflow), spec, dry_run=dry_run, expect=expect)
    if context.options.json:
        output.write_json(answer)
    else:
        write_update(answer)
    return CHANGES if exit_code and answer["count"] else DONE


def list_workflows(*, filters: Filters = (), context: Context) -> None:
    """List the workflows."""
    context.show_rows(ListWorkflows(filters=parse_filters(filters, COLUMNS)), "workflows", Workflow, COLUMNS)


def get(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Show a workflow."""
    request = GetWorkflow(workflow_id=choose_workflow(context, workflow))
    context.show(context.call(request), Workflow, output.write_struct)


def status(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Show how many jobs are in which status."""
    request = GetStatus(workflow_id=choose_workflow(context, workflow))
    context.show(context.call(request), WorkflowStatus, write_status)


def write_status(status: WorkflowStatus) -> None:
    """Prints a status as text."""
    output.write_fields(
        [
            ("workflow", status.workflow_id),
            ("run", status.run_id),
            ("state", _state(status)),
            ("jobs", status.total),
            *((f"  {name}", status.counts[name]) for name in STATUSES if status.counts.get(name)),
        ]
    )
    if (task := status.active_task) is not None:
        output.write_fields([("task", f"{task.task_id} ({task.operation}) {task.status}")])


def _state(status: WorkflowStatus) -> str:
    if status.is_archived:
        return "archived"
    if status.is_canceled and (status.counts.get("canceled") or not status.complete):
        return "canceled"
    return "complete" if status.complete else "not complete"


def run(workflow: WorkflowId = None, /, *, options: RunOptions = RUN_DEFAULTS, context: Context) -> int:
    """Run a workflow's jobs on this machine."""
    from torcctl.commands.run import run_workflow

    return run_workflow(context, choose_workflow(context, workflow), options)


def cancel(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Cancel every job that has not ended; running ones are stopped."""
    workflow_id = choose_workflow(context, workflow)
    context.confirm(f"Cancel workflow {workflow_id}?")
    raw = context.call(CancelWorkflow(workflow_id=workflow_id))
    canceled = msgspec.json.decode(raw, type=dict[str, int]).get("canceled")
    nothing = f"Workflow {workflow_id}: no job was left to cancel"
    context.show_done(raw, f"Canceled workflow {workflow_id}" if canceled else nothing)


def archive(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Make a workflow read only: nothing can be run, reset or edited until it is unarchived."""
    workflow_id = choose_workflow(context, workflow)
    context.show_done(context.call(ArchiveWorkflow(workflow_id=workflow_id)), f"Archived workflow {workflow_id}")


def unarchive(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Take the archiving of a workflow back."""
    workflow_id = choose_workflow(context, workflow)
    context.show_done(context.call(UnarchiveWorkflow(workflow_id=workflow_id)), f"Unarchived workflow {workflow_id}")


def delete(workflow: WorkflowId = None, /, *, context: Context) -> None:
    """Delete a workflow with all its history. Files on disk stay."""
    workflow_id = choose_workflow(context, workflow)
    context.confirm(f"Delete workflow {workflow_id} with all its history?")
    context.show_done(context.call(DeleteWorkflow(workflow_id=workflow_id)), f"Deleted workflow {workflow_id}")


def export(
    workflow: WorkflowId = None,
    /,
    *,
    results: bool = False,
    output: Path | None = None,
    force: bool = False,
    context: Context,
) -> None:
    """Print a workflow and where everything stands as one JSON document, for `workflows import`.

    Args:
        results: Also what the attempts of jobs left behind.
        output: Write it to this file instead.
        force: Replace the file if it exists.
    """
    from torcctl.exporting import print_document, save_document
    from torcd.protocol.transfer_requests import ExportWorkflow

    request = ExportWorkflow(workflow_id=choose_workflow(context, workflow), results=results)
    if output is None:
        print_document(context, request)
    else:
        save_document(context, request, output, force=force)


def import_(file: Source, /, *, directory: Path | None = None, context: Context) -> None:
    """Create a workflow from an exported one, in the state in which that was: all of it, or nothing.

    Args:
        file: What `workflows export` wrote; - is standard input.
        directory: What relative paths are relative to; the directory of the exported workflow by default.
    """
    from torcctl.create import write_created
    from torcctl.importing import import_workflow

    answer = import_workflow(context, file, directory=directory)
    if context.options.json:
        output.write_json(answer)
    else:
        write_created(answer)


def sync_status(
    workflow: WorkflowId = None, /, *, dry_run: bool = False, exit_code: bool = False, context: Context
) -> int:
    """Let go of workers whose processes are gone, without waiting for the end of their leases.

    Their running jobs become terminated (worker_lost), what they had only claimed becomes ready.

    Args:
        dry_run: Show what would change and change nothing.
        exit_code: With --dry-run: exit 10 when there are changes.
    """
    import msgspec

    from torcctl.sync import write_synced
    from torcd.protocol.sync import Synced, SyncStatus

    raw = context.call(SyncStatus(workflow_id=choose_workflow(context, workflow), dry_run=dry_run))
    synced = msgspec.json.decode(raw, type=Synced)
    for warning in synced.warnings:
        context.warn(warning)
    context.show(raw, Synced, write_synced)
    return CHANGES if dry_run and exit_code and synced.count else DONE


VERBS: dict[str, Command] = {
    "create": create,
    "update": update,
    "list": list_workflows,
    "get": get,
    "status": status,
    "init": initialize,
    "initialize": initialize,
    "reinit": reinit,
    "reinitialize": reinit,
    "restart": restart,
    "reset-status": reset_status,
    "reset-job-status": reset_status,
    "undo": undo,
    "run": run,
    "cancel": cancel,
    "archive": archive,
    "unarchive": unarchive,
    "delete": delete,
    "export": export,
    "import": import_,
    "sync-status": sync_status,
}
