"""What the commands about Slurm have in common: the environment that jobs get, and how allocations are shown."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from torcctl import output
from torcctl.follow import new_request_key
from torcctl.perform import requester
from torcctl.selection import check_id, check_workflow, choose_workflow, is_id
from torcd.protocol.errors import NotFound
from torcd.protocol.slurm import Allocation, GetAllocation, Scheduled, ScheduleNodes, is_of_a_job

if TYPE_CHECKING:
    from torcctl.context import Context

SHOWN = {
    "id": "id",
    "status": "status",
    "slurm job": "slurm_job_id",
    "state": "slurm_state",
    "reason": "slurm_reason",
    "nodes": "num_nodes",
    "workers": "workers",
    "scheduler": "scheduler",
    "submitted": "submitted_at",
    "error": "error",
}
"""The columns of allocations."""

OWN_IDS = "allocations have their own ids, not Slurm's: see `torcctl allocations list`"


def user_environment(context: "Context") -> dict[str, str]:
    """The environment for Slurm's jobs; a variable that is no text is left out, with a warning."""
    kept = {}
    for name, value in context.environ.items():
        if is_of_a_job(name):
            continue
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            context.warn(f"the environment variable {name!r} is no UTF-8 and is left out")
        else:
            kept[name] = value
    return kept


def user_umask() -> int:
    """What this process takes from the modes of new files; it can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def find_cancelable(context: "Context", keys: Sequence[str]) -> tuple[int, list[int] | None]:
    """The workflow, and which of its allocations; None: all. Raises NotFound, also for allocations of two workflows."""
    if not keys:
        return choose_workflow(context), None
    for key in keys:
        if not is_id(key):
            raise NotFound(f"there is no allocation {key!r}: they are named by their ids", noun="allocation", id=key)
    ids = [check_id(int(key), "allocation") for key in keys]
    try:
        first = context.get(GetAllocation(allocation_id=ids[0]), Allocation)
    except NotFound as error:
        raise NotFound(f"{error.message}; {OWN_IDS}", **error.data) from None
    check_workflow(context, first.workflow_id, "allocation", ids[0])
    return first.workflow_id, ids


def submit_allocations(
    context: "Context",
    workflow_id: int,
    count: int,
    scheduler: str | None = None,
    max_parallel_jobs: int | None = None,
    *,
    walltime: str | None = None,
    mem: str | None = None,
) -> msgspec.Raw:
    """Has Slurm jobs submitted with the environment of this command; the daemon's `Scheduled`."""
    request = ScheduleNodes(
        workflow_id=workflow_id,
        count=count,
        scheduler=scheduler,
        max_parallel_jobs=max_parallel_jobs,
        walltime=walltime,
        mem=mem,
        environment=user_environment(context),
        umask=user_umask(),
        requested_by=requester(context),
        request_key=new_request_key(),
    )
    return context.persistently(lambda: context.connection.call(request, timeout_s=None))


def submission_sentence(workflow_id: int, scheduled: Scheduled) -> str:
    """What was submitted, in words: by Slurm's ids and by ours, which other commands take."""
    accepted = [each for each in scheduled.allocations if each.slurm_job_id is not None]
    jobs = output.count_of(len(accepted), "Slurm job")
    slurm_ids = ", ".join(str(each.slurm_job_id) for each in accepted)
    ids = ", ".join(str(each.id) for each in accepted)
    what = "allocation" if len(accepted) == 1 else "allocations"
    return f"Submitted {jobs} for workflow {workflow_id}: {slurm_ids} ({what} {ids})"


def has_refused(scheduled: Scheduled) -> bool:
    """Whether Slurm did not take all of it."""
    return any(each.status == "refused" for each in scheduled.allocations)


def tell_scheduled(context: "Context", scheduled: Scheduled, sentence: str, say: Callable[[str], None]) -> None:
    """Says a sentence about allocations; what was said besides, and what went wrong with them, goes to stderr."""
    for warning in scheduled.warnings:
        context.warn(warning)
    say(sentence)
    for each in scheduled.allocations:
        if each.error is not None:
            context.warn(f"allocation {each.id} ({each.status}): {each.error}")


def write_scheduled(
    context: "Context", raw: msgspec.Raw, sentence: Callable[[Scheduled], str] | None = None
) -> Scheduled:
    """Prints allocations: a sentence about them, or all that is known of each."""
    scheduled = msgspec.json.decode(raw, type=Scheduled)
    if sentence is not None and not context.options.json:
        tell_scheduled(context, scheduled, sentence(scheduled), print)
        return scheduled
    for warning in scheduled.warnings:
        context.warn(warning)
    if context.options.json:
        output.write_json({"allocations": msgspec.json.decode(raw, type=dict[str, msgspec.Raw])["allocations"]})
    else:
        rows = ([getattr(each, field) for field in SHOWN.values()] for each in scheduled.allocations)
        output.write_table(list(SHOWN), rows, free_text=("reason", "error"))
    return scheduled
