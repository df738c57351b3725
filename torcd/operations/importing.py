"""Imports a workflow from a document: read and check it, write it at once, tell what came of it."""

import posixpath
import sqlite3

import msgspec

from torcd.core.document import Document, read_document
from torcd.core.draft import Draft
from torcd.core.expansion import Expansion
from torcd.core.problems import Problems
from torcd.core.refusals import count_jobs
from torcd.core.requirements import check_env
from torcd.core.restoration import Restoration, Restorer
from torcd.core.specification import expand
from torcd.operations.fire import arm_new
from torcd.protocol.document import Head
from torcd.protocol.errors import Refused
from torcd.protocol.specification import FileSpec, Header, JobSpec, Piece, UserDataSpec
from torcd.protocol.transfer_requests import ImportWorkflow
from torcd.storage.create import NewWorkflow, find_created, insert_workflow
from torcd.storage.load import load_state
from torcd.storage.restore import count_contents, load_origin, restore_state
from torcd.storage.save import keys_of, save_delta


class Import(msgspec.Struct, frozen=True):
    """Everything to write."""

    new: NewWorkflow
    restoration: Restoration


def prepare_import(request: ImportWorkflow, pieces: list[str], now_ms: int) -> Import:
    """What a document stands for; raises Refused with every error that was found. Runs in a thread.

    The pieces are taken out of their list, to need no memory beside what they hold.
    """
    document = read_document(pieces)
    pieces.clear()
    head = document.head
    directory = request.directory or head.directory
    if not posixpath.isabs(directory) or "\0" in directory:
        raise Refused(
            f"the submission directory must be an absolute path, not {directory!r}; give one with --directory",
            field="directory",
            value=directory,
        )
    expansion = _expand(document, directory)
    problems = Problems("document")
    restorer = Restorer(document, expansion, directory, problems)
    scripts = restorer.scripts_of_jobs()
    restoration = restorer.restore()
    problems.raise_any()
    new = NewWorkflow(
        header=_header(head),
        expansion=expansion,
        scripts=scripts,
        user=request.user,
        directory=directory,
        request_key=request.request_key,
        created_at_ms=now_ms,
        origin={"imported": True, "was_live": restoration.live, "was_archived": head.state.is_archived},
    )
    return Import(new, restoration)


def _header(head: Head) -> Header:
    return Header(**{name: getattr(head, name) for name in Header.__struct_fields__})


def _expand(document: Document, directory: str) -> Expansion:
    """The definition, checked as that of a specification in which nothing is left to expand.

    The environment of each job is whole, so the workflow's is not added to it.
    """
    problems = Problems("document")
    header = _header(document.head)
    check_env(header.env, "env", problems)
    piece = Piece(
        jobs=[
            JobSpec(
                name=job.name,
                command=job.command,
                invocation_script=job.invocation_script,
                depends_on=job.depends_on,
                input_files=job.input_files,
                output_files=job.output_files,
                input_user_data=job.input_user_data,
                output_user_data=job.output_user_data,
                resource_requirements=job.resource_requirements,
                scheduler=job.scheduler,
                failure_handler=job.failure_handler,
                cancel_on_blocking_job_failure=job.cancel_on_blocking_job_failure,
                supports_termination=job.supports_termination,
                priority=job.priority,
                env=job.env,
            )
            for job in document.jobs
        ],
        files=[FileSpec(name=file.name, path=file.path, on_missing=file.on_missing) for file in document.files],
        user_data=[UserDataSpec(name=value.name, is_ephemeral=value.is_ephemeral) for value in document.user_data],
    )
    return expand(msgspec.structs.replace(header, env={}), [piece], directory, problems, is_literal=True)


def write_import(db: sqlite3.Connection, wanted: Import) -> int:
    """Creates the workflow, unless a request with this key did before; its id."""
    created = find_created(db, wanted.new.request_key)
    if created is not None:
        return created
    workflow_id = insert_workflow(db, wanted.new)
    restore_state(db, workflow_id, wanted.restoration)
    if wanted.new.header.actions:
        draft = Draft(load_state(db, workflow_id), wanted.new.created_at_ms)
        arm_new(draft)
        save_delta(db, keys_of(draft.state), draft.finish())
    return workflow_id


def describe_import(db: sqlite3.Connection, workflow_id: int) -> tuple[dict[str, int], list[str]]:
    """What an imported workflow holds, and what is not as it was exported: all of it from the database."""
    origin = load_origin(db, workflow_id)
    warnings = []
    live = origin.get("was_live", 0)
    if isinstance(live, int) and live:
        who, they = (f"{count_jobs(live)} were", "they are") if live > 1 else ("1 job was", "it is")
        warnings.append(f"{who} pending or running; no worker holds them here, so {they} uninitialized now")
    if origin.get("was_archived"):
        warnings.append("the exported workflow was archived; this one is not")
    return count_contents(db, workflow_id), warnings
