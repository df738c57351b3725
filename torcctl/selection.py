"""Which object a command is about: the workflow it may leave out, a job by its name or its id."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from torcctl import output
from torcctl.exits import UsageError
from torcctl.parameters import Filters, parse_filters
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.model import Job, Workflow
from torcd.protocol.requests import GetJob, ListJobs, ListRequest, ListWorkflows

if TYPE_CHECKING:
    from torcctl.context import Context

MOST = 2**62
"""The greatest number of a request."""

Listing = TypeVar("Listing", bound=ListRequest)


def choose_workflow(context: "Context", given: int | None = None) -> int:
    """The id of the workflow: the argument, `-k`, TORC_WORKFLOW_ID, the only one there is, or a prompt.

    Archived workflows do not count as the only one. Raises NotFound when there is none, and Refused (exit 7),
    with the candidates, when there are several and nobody can be asked.
    """
    if given is not None:
        return check_id(given, "workflow")
    named = workflow_of_option(context)
    if named is not None:
        return check_id(named, "workflow")
    text = context.environ.get("TORC_WORKFLOW_ID")
    if text:
        return check_id(_number(text, "TORC_WORKFLOW_ID"), "workflow")
    workflows = context.rows(ListWorkflows(), "workflows", Workflow)
    candidates = [workflow for workflow in workflows if not workflow.is_archived]
    if not candidates:
        if workflows:
            raise NotFound("every workflow is archived; say which one: torcctl -k ID …", noun="workflow")
        raise NotFound("there is no workflow; create one: torcctl workflows create SPEC", noun="workflow")
    if len(candidates) == 1:
        return candidates[0].id
    return _prompt(context, candidates)


def list_request(
    context: "Context",
    kind: type[Listing],
    workflow: int | None,
    filters: Filters,
    columns: Mapping[str, str],
    **more: Any,
) -> Listing:
    """The request for a list of a workflow. A wrong filter is told before the daemon is asked anything."""
    pairs = parse_filters(filters, columns)
    return kind(workflow_id=choose_workflow(context, workflow), filters=pairs, **more)


def workflow_of_option(context: "Context") -> int | None:
    """The workflow of `-k`, if that was given."""
    text = context.options.workflow_key
    return None if text is None else _number(text, "-k")


def check_workflow(context: "Context", workflow_id: int, noun: str, object_id: int) -> None:
    """Raises NotFound when `-k` names another workflow than the one an object is in."""
    given = workflow_of_option(context)
    if given is not None and given != workflow_id:
        raise NotFound(
            f"{noun} {object_id} is in workflow {workflow_id}, not in workflow {given} as -k says",
            noun=noun,
            id=object_id,
            workflow_id=workflow_id,
        )


def check_id(number: int, noun: str) -> int:
    """An id as a request may name it. Raises NotFound for a number that is too large for one."""
    if not -MOST <= number <= MOST:
        raise NotFound(f"there is no {noun} {number}", noun=noun, id=number)
    return number


def is_id(key: str) -> bool:
    """Whether a key is an id, and not a name: digits are."""
    return key.isascii() and key.isdecimal()


def find_job(context: "Context", key: str) -> Job:
    """The job with this id or, in the selected workflow, with this name. Raises NotFound.

    Digits are an id, unless -k names a workflow that has no such id and a job of that name.
    """
    if not is_id(key):
        workflow_id = choose_workflow(context)
        job = _find_named(context, workflow_id, key)
        if job is None:
            raise NotFound(f"workflow {workflow_id} has no job named {key!r}", noun="job", id=key)
        return job
    try:
        return get_job(context, int(key))
    except NotFound:
        named = workflow_of_option(context)
        job = None if named is None else _find_named(context, named, key)
        if job is None:
            raise
        return job


def _find_named(context: "Context", workflow_id: int, name: str) -> Job | None:
    jobs = context.rows(ListJobs(workflow_id=workflow_id, filters=[("name", name)]), "jobs", Job)
    return jobs[0] if jobs else None


def get_job(context: "Context", job_id: int) -> Job:
    """The job with this id. Raises NotFound, also when `-k` names another workflow than the job's."""
    job = context.get(GetJob(job_id=check_id(job_id, "job")), Job)
    check_workflow(context, job.workflow_id, "job", job_id)
    return job


def _prompt(context: "Context", candidates: list[Workflow]) -> int:
    lines = "".join(f"\n  {workflow.id}  {output.cell(workflow.name)}" for workflow in candidates)
    count = len(candidates)
    if not context.may_prompt:
        raise Refused(
            f"there are {count} workflows; say which one (torcctl -k ID …):{lines}",
            candidates=[workflow.id for workflow in candidates],
        )
    ids = {str(workflow.id): workflow.id for workflow in candidates}
    while True:
        answer = context.ask(f"There are {count} workflows:{lines}\nWorkflow id: ")
        if answer in ids:
            return ids[answer]


def _number(text: str, source: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{source}: {text!r} is not the id of a workflow (a number)", value=text) from None
