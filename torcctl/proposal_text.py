"""How proposed `slurm_schedulers` are told: as YAML to be pasted, and as command lines."""

import shlex
from collections.abc import Iterator, Sequence

import msgspec

from torcctl.output import count_jobs
from torcctl.specification.write import format_yaml
from torcd.protocol.proposals import AskedAllocations, SchedulerProposal, ServedRequirement


def find_command(asked: AskedAllocations, proposal: SchedulerProposal, workflow_id: int | None) -> str | None:
    """What submits the Slurm jobs; None: those that wait already suffice."""
    if not asked.count:
        return None
    words = ["torcctl", "slurm", "schedule-nodes", "-n", str(asked.count)]
    if len(proposal.slurm_schedulers) > 1 and asked.scheduler is not None:
        words += ["--scheduler", asked.scheduler]
    return shlex.join(words if workflow_id is None else [*words, str(workflow_id)])


def yaml_block(proposal: SchedulerProposal, commands: Sequence[str | None], workflow_id: int | None) -> Iterator[str]:
    """YAML to be pasted into a specification: all of its schedulers, with what is to be known of them as comments."""
    if proposal.added:
        if len(proposal.added) < len(proposal.slurm_schedulers):
            yield f"# in place of the slurm_schedulers that are there; new: {', '.join(map(_quote, proposal.added))}"
        yield format_yaml({"slurm_schedulers": proposal.slurm_schedulers}).rstrip()
    else:
        yield "# its slurm_schedulers do: none is to be added"
    for each in proposal.requirements:
        yield f"# {_describe_served(each, proposal)}"
    if workflow_id is not None and proposal.added:
        yield f"# first: torcctl workflows update {workflow_id} --spec FILE"
    for asked, command in zip(proposal.schedule_nodes, commands, strict=True):
        yield f"# {command or _describe_enough(asked)}"
    if not commands:
        yield "# no job waits to be run: there is nothing to submit"


def _describe_served(served: ServedRequirement, proposal: SchedulerProposal) -> str:
    whose = "jobs without resource_requirements" if served.name is None else f"jobs of {_quote(served.name)}"
    scheduler = "the one without a name" if served.scheduler is None else _quote(served.scheduler)
    if not served.jobs_per_node:
        return f"{whose}: scheduler: {scheduler}, which does not run them"
    known = "" if served.scheduler in proposal.added else " (there already)"
    return f"{whose}: scheduler: {scheduler}{known}, {served.jobs_per_node} at once on a node"


def _describe_enough(asked: AskedAllocations) -> str:
    name = "the one without a name" if asked.scheduler is None else _quote(asked.scheduler)
    return f"scheduler {name}: the Slurm jobs that wait already are enough for its {count_jobs(asked.jobs)}"


def _quote(value: str) -> str:
    return msgspec.json.encode(value).decode()
