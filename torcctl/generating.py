"""`slurm generate`: has the daemon propose schedulers, for a file or for a workflow, and shows or writes them."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from torcctl import output
from torcctl.create import send_specification, with_lines
from torcctl.output import cell, count_jobs, count_of
from torcctl.proposal_text import find_command, yaml_block
from torcctl.selection import check_id, is_id
from torcctl.specification import Loaded, load_specification
from torcctl.specification.write import check_target, save_specification
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.model import Workflow
from torcd.protocol.proposals import ProposeForSpecification, ProposeSchedulers, SchedulerProposal
from torcd.protocol.requests import ListWorkflows
from torcd.protocol.specification import JobSpec, SlurmSchedulerSpec, WorkflowSpec
from torcd.protocol.visible import make_visible

if TYPE_CHECKING:
    from torcctl.context import Context

WHERE_SLURM_IS = ("PATH", "SLURM_CONF")
"""What the daemon is told of the environment: it may have been started without."""

MAX_SHOWN = 3
"""Jobs that are named in a warning."""


class Wishes(NamedTuple):
    """What the options ask for."""

    account: str | None
    partition: str | None
    single: bool


def generate_schedulers(context: "Context", source: Path, wishes: Wishes, target: Path | None) -> None:
    """Prints a proposal, or writes a specification with it. Raises Refused, NotFound and Unavailable."""
    if target is not None:
        check_target(target)
    workflow_id = _find_workflow(context, source)
    if workflow_id is None:
        loaded = load_specification(source)
        raw = _ask_for(context, loaded, wishes)
    else:
        loaded = None
        raw = _ask(context, workflow_id, wishes, target)
    proposal = msgspec.json.decode(raw, type=SchedulerProposal)
    for warning in proposal.warnings:
        context.warn(warning)
    commands = [find_command(each, proposal, workflow_id) for each in proposal.schedule_nodes]
    answer = msgspec.json.decode(raw, type=dict[str, Any])
    for asked, command in zip(answer["schedule_nodes"], commands, strict=True):
        asked["command"] = command
    if target is None or loaded is None:
        lines = list(yaml_block(proposal, commands, workflow_id))
    else:
        lines = _write(context, loaded.spec, target, proposal, commands)
        answer["output"] = str(target)
    if context.options.json:
        output.write_json(answer)
    else:
        print(make_visible("\n".join(lines), keeps_lines=True))


def _find_workflow(context: "Context", source: Path) -> int | None:
    """The workflow that is meant, by its id or its name; None: it is a file. Raises NotFound and Refused."""
    text = str(source)
    if is_id(text):
        return check_id(int(text), "workflow")
    if text == "-" or (os.path.exists(text) and not os.path.isdir(text)):
        return None
    named = context.rows(ListWorkflows(filters=[("name", text)]), "workflows", Workflow)
    ids = [each.id for each in named if not each.is_archived] or [each.id for each in named]
    if not ids:
        raise NotFound(f"there is neither a file nor a workflow {text!r}", noun="workflow", id=text)
    if len(ids) > 1:
        shown = ", ".join(map(str, ids))
        raise Refused(f"there are {len(ids)} workflows {text!r}: say which one, by its id ({shown})", candidates=ids)
    return ids[0]


def _ask(context: "Context", workflow_id: int, wishes: Wishes, target: Path | None) -> msgspec.Raw:
    """The answer for a workflow."""
    if target is not None:
        raise Refused(
            f"-o writes a specification file with schedulers added, and workflow {workflow_id} is no file: leave it "
            f"out, add what is printed to the file, then torcctl workflows update {workflow_id} --spec FILE",
            output=str(target),
        )
    request = ProposeSchedulers(workflow_id=workflow_id, environment=_find_slurm(context), **wishes._asdict())
    return context.call(request, timeout_s=None)


def _ask_for(context: "Context", loaded: Loaded, wishes: Wishes) -> msgspec.Raw:
    """The answer for a specification; what is wrong in that is told with its lines."""

    def attempt() -> msgspec.Raw:
        session = context.connection
        header, upload = send_specification(session, loaded.spec)
        request = ProposeForSpecification(
            header=header, upload=upload, directory=os.getcwd(), environment=_find_slurm(context), **wishes._asdict()
        )
        return session.call(request, timeout_s=None)

    try:
        return context.persistently(attempt)
    except Refused as error:
        raise with_lines(error, loaded) from error


def _find_slurm(context: "Context") -> dict[str, str]:
    return {name: context.environ[name] for name in WHERE_SLURM_IS if name in context.environ}


def _write(
    context: "Context", spec: WorkflowSpec, target: Path, proposal: SchedulerProposal, commands: Sequence[str | None]
) -> list[str]:
    """Writes the specification; what is said of it, and the commands that run it."""
    completed, edited = complete(spec, proposal)
    if len(completed.slurm_schedulers) > 1:
        _warn_of_undecided(context, completed.jobs)
    save_specification(target, completed)
    added = f"{count_of(len(proposal.added), 'scheduler')} added" if proposal.added else "no scheduler had to be added"
    jobs = f", {count_jobs(edited)} of the file told which one" if edited else ""
    create = f"torcctl workflows create {shlex.quote(str(target))}"
    return [f"Wrote {cell(str(target))}: {added}{jobs}", create, *filter(None, commands)]


def _warn_of_undecided(context: "Context", jobs: Sequence[JobSpec]) -> None:
    left = [job.name for job in jobs if job.scheduler is None]
    if left:
        shown = ", ".join(map(repr, left[:MAX_SHOWN])) + (", …" if len(left) > MAX_SHOWN else "")
        context.warn(f"{count_jobs(len(left))} of the file got no scheduler ({shown}): name it by hand")


def complete(spec: WorkflowSpec, proposal: SchedulerProposal) -> tuple[WorkflowSpec, int]:
    """The specification with the schedulers added, and how many of its jobs were given one.

    Jobs name one only where there are several: `recover`, `watch` and `schedule-nodes` would not know which otherwise.
    """
    kept = spec.slurm_schedulers
    found = [*kept, *msgspec.convert(proposal.slurm_schedulers[len(kept) :], list[SlurmSchedulerSpec])]
    changed = msgspec.structs.replace(spec, slurm_schedulers=found)
    if len(found) < 2:
        return changed, 0
    chosen = {each.name: each.scheduler for each in proposal.requirements if not each.is_named}
    jobs = [_with_scheduler(job, chosen) for job in spec.jobs]
    edited = sum(new is not old for new, old in zip(jobs, spec.jobs, strict=True))
    return msgspec.structs.replace(changed, jobs=jobs), edited


def _with_scheduler(job: JobSpec, chosen: Mapping[str | None, str | None]) -> JobSpec:
    """The job with the scheduler of its requirements, if it names none and that is known."""
    name = job.resource_requirements
    if name is None and "default" in chosen:
        name = "default"  # SEMANTICS 3.1
    scheduler = chosen.get(name)
    if job.scheduler is not None or scheduler is None:
        return job
    return msgspec.structs.replace(job, scheduler=scheduler)
