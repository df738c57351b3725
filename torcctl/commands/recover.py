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
    carry_out,
    check_num_hpc_jobs,
    count_diagnosed,
    diagnoses_of,
    preview,
    refusal_text,
    submit,
    tell_submitted,
)
from torcctl.selection import choose_workflow
from torcd.protocol.errors import Refused
from torcd.protocol.model import Plan

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command, HpcJobs, OperationOptions, RecoverOptions, WorkflowId


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
    """
    check_options(options)
    if options.async_:
        raise UsageError("--async: recover shows what it did, and so waits for it")
    check_num_hpc_jobs(num_hpc_jobs, recovery)
    workflow_id = choose_workflow(context, workflow)
    plan = preview(context, workflow_id, recovery, options)
    failed, recoverable = count_diagnosed(plan)
    if options.dry_run:
        return _show_preview(context, plan, options)
    if not failed:
        return _show_nothing(context, plan)
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
    submitted = submit(context, workflow_id, num_hpc_jobs, recovery)
    if context.options.json:
        allocations = [each for scheduled in submitted or [] for each in scheduled.allocations]
        output.write_json({**task, "allocations": allocations})
    if submitted is None:
        context.note("info", f"to run them here: torcctl run {workflow_id}")
        return DONE
    return DONE if tell_submitted(context, workflow_id, submitted) else FAILED


def _show_preview(context: Context, plan: dict[str, Any], options: OperationOptions) -> int:
    for warning in plan["warnings"]:
        context.warn(warning)
    if context.options.json:
        output.write_json(plan)
    else:
        if plan["diagnoses"]:
            write_diagnoses(diagnoses_of(plan))
        write_plan(msgspec.convert(plan, Plan), explain=options.explain)
    return CHANGES if options.exit_code and plan["jobs"] else DONE


def _show_nothing(context: Context, plan: dict[str, Any]) -> int:
    """Programs get the plan, which is empty."""
    if context.options.json:
        output.write_json(plan)
    else:
        print(f"Workflow {plan['workflow_id']}: no job failed or was terminated; there is nothing to recover")
    return DONE


VERBS: dict[str, Command] = {"": recover}
