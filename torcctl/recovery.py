"""One recovery from its preview to its allocations: `recover` does one, `watch --recover` as many as it takes."""

import math
import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.allocating import has_refused, submission_sentence, submit_allocations, tell_scheduled
from torcctl.exits import TaskFailed, UsageError
from torcctl.follow import add_plan_jobs, begin, finish, new_request_key
from torcctl.output import count_jobs, count_of
from torcctl.parameters import OPERATION_DEFAULTS, OperationOptions, RecoverOptions
from torcctl.perform import fetch_plan, requester
from torcctl.suggested import merge, name_of, options_of, tell_size, warn_of_misfits
from torcd.protocol.errors import Refused, TorcError
from torcd.protocol.recover import Diagnosed, Recover, SuggestAllocations, Suggestion, Suggestions
from torcd.protocol.slurm import Scheduled

if TYPE_CHECKING:
    from torcctl.context import Context


class HookFailed(TorcError):
    """The command of `--recovery-hook` did not succeed."""

    code = 500
    name = "hook_failed"


def make_request(
    context: "Context", workflow_id: int, recovery: RecoverOptions, options: OperationOptions, *, dry_run: bool
) -> Recover:
    """The operation that these options ask for; the daemon knows what is left out."""
    request = Recover(
        workflow_id=workflow_id,
        requested_by=requester(context),
        dry_run=dry_run,
        force=options.force,
        stop_live=options.stop_live,
        expect=options.expect,
        request_key=None if dry_run else new_request_key(),
        max_memory=recovery.max_memory,
        max_runtime=recovery.max_runtime,
        retry_unknown=recovery.retry_unknown,
    )
    factors = {"memory_multiplier": recovery.memory_multiplier, "runtime_multiplier": recovery.runtime_multiplier}
    return msgspec.structs.replace(request, **{name: factor for name, factor in factors.items() if factor is not None})


def preview(
    context: "Context", workflow_id: int, recovery: RecoverOptions, options: OperationOptions = OPERATION_DEFAULTS
) -> dict[str, Any]:
    """The plan; nothing is changed."""
    request = make_request(context, workflow_id, recovery, options, dry_run=True)
    return context.persistently(lambda: fetch_plan(context, request, options.wait_timeout))


def carry_out(
    context: "Context", workflow_id: int, recovery: RecoverOptions, options: OperationOptions = OPERATION_DEFAULTS
) -> dict[str, Any]:
    """Runs the hook, then the operation; its task, with all jobs of its plan."""
    if recovery.recovery_hook is not None:
        run_hook(context, workflow_id, recovery.recovery_hook)
    handle = begin(context, make_request(context, workflow_id, recovery, options, dry_run=False))
    if handle is None:
        raise TaskFailed("the daemon answered the recovery without a task; nothing was changed")
    task = finish(context, handle, Recover.NAME, options.wait_timeout)
    add_plan_jobs(context, task)
    return task


def run_hook(context: "Context", workflow_id: int, command: str) -> None:
    """Runs a command; what it prints goes to stderr, for stdout has the result. Raises HookFailed."""
    context.close()  # nobody reads the session meanwhile
    sys.stdout.flush()
    environ = {**os.environ, "TORC_WORKFLOW_ID": str(workflow_id)}
    done = subprocess.run(["bash", "-c", command], env=environ, stdout=sys.stderr.fileno(), check=False)
    if done.returncode != 0:
        raise HookFailed(
            f"the recovery hook exited with {done.returncode}: nothing of workflow {workflow_id} was changed",
            workflow_id=workflow_id,
            return_code=done.returncode,
        )


def diagnoses_of(plan: dict[str, Any]) -> list[Diagnosed]:
    """The first diagnoses of a plan, up to a thousand."""
    return msgspec.convert(plan["diagnoses"], list[Diagnosed])


def count_diagnosed(plan: dict[str, Any]) -> tuple[int, int]:
    """How many jobs failed or were terminated, and how many of them run again."""
    counts = plan["diagnosed"].values()
    return sum(each["count"] for each in counts), sum(each["recoverable"] for each in counts)


def refusal_text(workflow_id: int, plan: dict[str, Any]) -> str:
    """Why nothing can be recovered, and what to do."""
    failed, _ = count_diagnosed(plan)
    kinds = ", ".join(f"{count_jobs(each['count'])} {kind}" for kind, each in sorted(plan["diagnosed"].items()))
    return (
        f"none of the {count_jobs(failed)} of workflow {workflow_id} that failed or were terminated can be recovered "
        f"({kinds}). See why (torcctl recover {workflow_id} --dry-run; torcctl jobs logs ID) and mend it; "
        f"then rerun what failed: torcctl recover {workflow_id} --retry-unknown, or torcctl workflows reset-status "
        f"{workflow_id} --failed-only"
    )


def check_recovery(num_hpc_jobs: int, recovery: RecoverOptions) -> None:
    """Raises UsageError for numbers that are none, and for a number of Slurm jobs where none is wanted."""
    if num_hpc_jobs < 0:
        raise UsageError(f"-n: {num_hpc_jobs} Slurm jobs cannot be scheduled", value=num_hpc_jobs)
    if num_hpc_jobs and recovery.no_schedule:
        raise UsageError("-n submits Slurm jobs, which --no-schedule does not; leave one of them out")
    for name in ("memory_multiplier", "runtime_multiplier"):
        factor = getattr(recovery, name)
        if factor is not None and not math.isfinite(factor):  # which no request can hold
            raise UsageError(f"--{name.replace('_', '-')}: {factor:g} is no factor")


def check_schedulers(context: "Context", workflow_id: int, num_hpc_jobs: int) -> None:
    """Raises Refused, before anything is recovered, for a number of Slurm jobs that could not be submitted then."""
    if not num_hpc_jobs:
        return
    names = context.get(SuggestAllocations(workflow_id=workflow_id), Suggestions).schedulers
    if len(names) == 1:
        return
    has, more = "says nothing of Slurm (slurm_schedulers)", ""
    if names:
        has = f"has {len(names)} slurm_schedulers"
        more = f", or use --no-schedule and then torcctl slurm schedule-nodes -nX {workflow_id} --scheduler NAME"
    raise Refused(
        f"-n: workflow {workflow_id} {has}, so it is not known what to submit; nothing was changed. Leave it out{more}",
        workflow_id=workflow_id,
        schedulers=names,
    )


class Submitted(list[Scheduled]):
    """What became of the Slurm jobs for what runs again, by request."""

    is_stuck = False
    """Jobs are ready, and none of them would run in any Slurm job that could be asked for."""

    @property
    def has_failed(self) -> bool:
        """Whether Slurm refused any, or there is none that would do."""
        return self.is_stuck or any(map(has_refused, self))


def submit(context: "Context", workflow_id: int, num_hpc_jobs: int, recovery: RecoverOptions) -> Submitted | None:
    """Submits Slurm jobs in which what is ready can run: so many, or as many as the daemon finds that it takes (0).

    Tells of it on stderr.

    None: the workflow has no `slurm_schedulers`, or nothing is to be submitted.
    """
    if recovery.no_schedule:
        return None
    found = context.get(SuggestAllocations(workflow_id=workflow_id), Suggestions)
    wanted = consider(context, workflow_id, found)
    submitted = Submitted()
    if found.suggestions and not any(each.jobs for each in found.suggestions):
        submitted.is_stuck = True
        return submitted
    if num_hpc_jobs:
        wanted = [merge(found.suggestions, num_hpc_jobs)]
    elif not (found.suggestions or found.schedulers):
        return None
    for each in wanted:
        tell_size(context, each)
        submitted.append(_submit(context, workflow_id, each))
    return submitted


def _submit(context: "Context", workflow_id: int, wanted: Suggestion) -> Scheduled:
    raw = submit_allocations(
        context, workflow_id, wanted.count, wanted.scheduler, walltime=wanted.walltime, mem=wanted.mem
    )
    scheduled = msgspec.json.decode(raw, type=Scheduled)
    tell_scheduled(context, scheduled, submission_sentence(workflow_id, scheduled), partial(context.note, "info"))
    return scheduled


def tell_proposed(context: "Context", plan: dict[str, Any], num_hpc_jobs: int, recovery: RecoverOptions) -> None:
    """Prints which Slurm jobs would follow the plan of a dry run."""
    if recovery.no_schedule:
        return
    if num_hpc_jobs:
        print(f"Would submit {count_of(num_hpc_jobs, 'Slurm job')}")
        return
    found = msgspec.convert(plan["slurm_jobs"], Suggestions)
    for each in consider(context, plan["workflow_id"], found):
        print(f"Would submit {count_of(each.count, 'Slurm job')} of {name_of(each)}{options_of(each)}")


def consider(context: "Context", workflow_id: int, found: Suggestions) -> list[Suggestion]:
    """The suggestions that something would be submitted for, the longest first; warns of jobs that no Slurm job is
    proposed for."""
    if found.undecided:
        context.warn(
            f"{count_jobs(found.undecided)} of workflow {workflow_id} name none of its slurm_schedulers: submit for "
            f"them with torcctl slurm schedule-nodes -nX {workflow_id} --scheduler NAME"
        )
    for each in found.suggestions:
        warn_of_misfits(context, each)
    return sorted((each for each in found.suggestions if each.count), key=lambda each: each.walltime is None)


def is_deserted(context: "Context", workflow_id: int) -> bool:
    """Whether jobs are ready for Slurm, but there is neither a worker nor a Slurm job that has not ended.

    So it is when a client, or Slurm's controller, was gone between a recovery and the submission that belongs to it.
    """
    found = context.get(SuggestAllocations(workflow_id=workflow_id), Suggestions)
    return not found.at_work and any(each.count for each in found.suggestions)
