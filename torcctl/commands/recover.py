"""`torcctl recover`: diagnoses failures, raises what jobs ran out of, and runs again those that this may cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from torcctl import output
from torcctl.diagnoses import write_diagnoses
from torcctl.exits import CHANGES, DONE, FAILED, UsageError
from torcctl.parameters import OPERATION_DEFAULTS, RECOVER_DEFAULTS, check_options
from torcctl.plans import write_plan
from torcctl.recovery import (
    Submitted,
    carry_out,
    check_recovery,
    check_schedulers,
    count_diagnosed,
    diagnoses_of,
    is_deserted,
    preview,
    refusal_text,
    submit,
    tell_proposed,
)
from torcctl.selection import choose_workflow
from torcd.protocol.errors import Refused
from torcd.protocol.model import Plan

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, HpcJobs, OperationOptions, RecoverOptions, WorkflowId
    from torcd.protocol.slurm import Allocation


def recover(
    workflow: WorkflowId = None,
    /,
    *,
    num_hpc_jobs: HpcJobs = 0,
    recovery: RecoverOptions = RECOVER_DEFAULTS,
    options: OperationOptions = OPERATION_DEFAULTS,
    context: Context,
) -> int:
    """Find out why jobs failed, ask for more of what they ran out of, and make them ready to run again.

    What would be done is shown first. Jobs that failed for a reason without a known cure stay as they are.

    Args:
        num_hpc_jobs: How many Slurm jobs to submit; by default as many as the jobs need.
    """
    check_options(options)
    if options.async_:
        raise UsageError("--async: recover shows what it did, and so waits for it")
    check_recovery(num_hpc_jobs, recovery)
    workflow_id = choose_workflow(context, workflow)
    check_schedulers(context, workflow_id, num_hpc_jobs)
    plan = preview(context, workflow_id, recovery, options)
    failed, recoverable = count_diagnosed(plan)
    if options.dry_run:
        return _show_preview(context, plan, options, num_hpc_jobs, recovery)
    if not failed:
        return _go_on(context, plan, num_hpc_jobs, recovery)
    if not context.options.json:
        write_diagnoses(diagnoses_of(plan))
    if not recoverable:
        raise Refused(refusal_text(workflow_id, plan), workflow_id=workflow_id, diagnosed=plan["diagnosed"])
    context.confirm(f"Recover {output.count_jobs(recoverable)} of workflow {workflow_id}?")
    task = carry_out(context, workflow_id, recovery, options)
    for warning in task["result"]["warnings"]:
        context.warn(warning)
    if not context.options.json:
        write_plan(msgspec.convert(task["result"], Plan), explain=options.explain)
    submitted: Submitted | None = Submitted()
    if task["existing"]:
        context.note("info", "nothing was submitted here: that is left to whoever had asked for this recovery first")
    elif not task["result"]["count"] and not is_deserted(context, workflow_id):  # another one was faster, or the hook
        submitted = None
    else:
        submitted = submit(context, workflow_id, num_hpc_jobs, recovery)
    if context.options.json:
        output.write_json({**task, "allocations": _allocations(submitted)})
    if submitted is None:
        context.note("info", f"to run them here: torcctl run {workflow_id}")
        return DONE
    return FAILED if submitted.has_failed else DONE


def _show_preview(
    context: Context, plan: dict[str, Any], options: OperationOptions, num_hpc_jobs: int, recovery: RecoverOptions
) -> int:
    for warning in plan["warnings"]:
        context.warn(warning)
    if context.options.json:
        output.write_json(plan)
    else:
        if plan["diagnoses"]:
            write_diagnoses(diagnoses_of(plan))
        write_plan(msgspec.convert(plan, Plan), explain=options.explain)
        if plan["jobs"]:
            tell_proposed(context, plan, num_hpc_jobs, recovery)
    return CHANGES if options.exit_code and plan["jobs"] else DONE


def _go_on(context: Context, plan: dict[str, Any], num_hpc_jobs: int, recovery: RecoverOptions) -> int:
    """Nothing is to be recovered; submits what a recovery before could not. Programs get the plan, which is empty."""
    workflow_id = plan["workflow_id"]
    if not context.options.json:
        print(f"Workflow {workflow_id}: no job failed or was terminated; there is nothing to recover")
    submitted = None
    if not recovery.no_schedule and is_deserted(context, workflow_id):
        context.confirm(f"Jobs of workflow {workflow_id} are ready and nobody is at work on them. Submit Slurm jobs?")
        submitted = submit(context, workflow_id, num_hpc_jobs, recovery)
    if context.options.json:
        output.write_json({**plan, "allocations": _allocations(submitted)})
    return FAILED if submitted is not None and submitted.has_failed else DONE


def _allocations(submitted: Submitted | None) -> list[Allocation]:
    return [each for scheduled in submitted or () for each in scheduled.allocations]


VERBS: dict[str, Command] = {"": recover}
