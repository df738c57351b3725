"""`torcctl reports …`: what jobs asked for, compared with what they used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from torcctl import output
from torcctl.selection import choose_workflow
from torcd.protocol.resource_report import JobUse, ReportJobResources, ReportResources, RequirementUse, Spread
from torcd.protocol.units import MIB

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, WorkflowId

FIGURES = ("resource", "requested", "max", "95 %", "proposed")


def resources(workflow: WorkflowId = None, /, *, jobs: bool = False, all_runs: bool = False, context: Context) -> None:
    """Compare the resources that jobs asked for with what they used, and propose what to ask for.

    Proposed are 1.2 times the most memory and 1.4 times the longest time that was seen. It is only said: to change
    what is asked for, edit the specification and `torcctl workflows update`. No job becomes stale by it.

    Args:
        jobs: Also each job by itself.
        all_runs: Count all attempts that ever ended, not only the latest of each job.
    """
    workflow_id = choose_workflow(context, workflow)
    by_requirement = ReportResources(workflow_id=workflow_id, all_runs=all_runs)
    by_job = ReportJobResources(workflow_id=workflow_id, all_runs=all_runs)
    if context.options.json:
        document = {"requirements": context.rows(by_requirement, "requirements", msgspec.Raw)}
        if jobs:
            document["jobs"] = context.rows(by_job, "jobs", msgspec.Raw)
        output.write_json(document)
        return
    found = context.rows(by_requirement, "requirements", RequirementUse)
    rows = [(row.name or "(none)", row.jobs, row.attempts, *figures) for row in found for figures in _figures(row)]
    output.write_table(("requirement", "jobs", "attempts", *FIGURES), rows, free_text=["requirement"])
    if jobs:
        each = context.rows(by_job, "jobs", JobUse)
        print()
        output.write_table(
            ("id", "job", "requirement", "attempts", *FIGURES),
            (
                (row.id, row.name, row.resource_requirements or "(none)", row.attempts, *figures)
                for row in each
                for figures in _figures(row)
            ),
            free_text=["job", "requirement"],
        )


def _figures(row: RequirementUse | JobUse) -> list[tuple[str, ...]]:
    """A line for each resource."""
    asked, used, better = row.requested, row.used, row.proposed
    memory = None if asked is None else asked.memory_bytes
    runtime = None if asked is None else asked.runtime_s
    cpus = None if asked is None else asked.num_cpus
    return [
        _figure("memory", memory, used.peak_memory_bytes, better.memory_bytes, _size),
        _figure("runtime", runtime, used.runtime_s, better.runtime_s, _time),
        _figure("cpus", cpus, used.cpus, better.num_cpus, lambda value: f"{value:.2f}".removesuffix(".00")),
    ]


def _figure(
    resource: str, asked: float | None, used: Spread | None, better: float | None, show: Callable[[float], str]
) -> tuple[str, ...]:
    seen = (None, None) if used is None else (used.max, used.p95)
    values = (asked, *seen, better)
    return (resource, *("" if value is None else show(value) for value in values))


def _size(count: float) -> str:
    """Bytes as specifications have them."""
    return f"{count / MIB:.0f}m" if count >= 10 * MIB or count % MIB == 0 else f"{count / MIB:.1f}m"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


VERBS: dict[str, Command] = {"resources": resources}
