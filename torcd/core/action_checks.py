"""Checks what a specification says of actions, and finds the jobs that each of them is about."""

from torcd.core.problems import Problems
from torcd.core.references import Names
from torcd.core.requirements import check_count
from torcd.protocol.errors import Refused
from torcd.protocol.specification import ActionSpec, SlurmSchedulerSpec

OF_JOBS = frozenset({"on_jobs_ready", "on_jobs_complete"})
"""The triggers that are about jobs; the others are about the workflow."""


def resolve_actions(
    actions: list[ActionSpec], names: Names, schedulers: list[SlurmSchedulerSpec], problems: Problems
) -> list[list[int]]:
    """Of each action, the indexes of its jobs, ascending; none for one that is about the workflow.

    What is wrong is noted. `names` are those of the jobs.
    """
    found = []
    for index, action in enumerate(actions):
        where = f"actions[{index}]"
        if action.persistent:
            message = "this version has no actions of workers, to which alone it applies; leave it out"
            problems.add(f"{where}.persistent", True, message)
        if action.action_type == "run_commands":
            _check_commands(action, where, problems)
        else:
            _check_nodes(action, where, schedulers, problems)
        found.append(_find_jobs(action, where, names, problems))
    return found


def _find_jobs(action: ActionSpec, where: str, names: Names, problems: Problems) -> list[int]:
    is_of_jobs = action.trigger_type in OF_JOBS
    for field in ("jobs", "job_name_regexes"):
        if getattr(action, field) and not is_of_jobs:
            message = f"{action.trigger_type} is about the workflow; leave {field} out"
            problems.add(f"{where}.{field}", None, message)
    if is_of_jobs and not (action.jobs or action.job_name_regexes):
        problems.add(f"{where}.jobs", None, f"{action.trigger_type} needs jobs or job_name_regexes")
    found: set[int] = set()
    for place, name in enumerate(action.jobs):
        if name in names.index:
            found.add(names.index[name])
        else:
            problems.add(f"{where}.jobs[{place}]", name, names.explain_unknown(name), near=names.index)
    for place, pattern in enumerate(action.job_name_regexes):
        try:
            found.update(names.match(pattern))
        except Refused as error:
            problems.add(f"{where}.job_name_regexes[{place}]", pattern, error.message)
    return sorted(found)


def _check_commands(action: ActionSpec, where: str, problems: Problems) -> None:
    if not action.commands:
        problems.add(f"{where}.commands", None, "run_commands needs a command")
    for place, command in enumerate(action.commands):
        if not command.strip() or "\0" in command:
            message = "a command must not be empty and must not hold NUL"
            problems.add(f"{where}.commands[{place}]", command, message)
    for field in ("scheduler", "scheduler_type", "max_parallel_jobs"):
        if (value := getattr(action, field)) is not None:
            problems.add(f"{where}.{field}", value, "run_commands runs them where the daemon is; leave it out")


def _check_nodes(action: ActionSpec, where: str, schedulers: list[SlurmSchedulerSpec], problems: Problems) -> None:
    if action.commands:
        problems.add(f"{where}.commands", None, "schedule_nodes runs no commands; leave them out")
    if action.trigger_type == "on_workflow_complete":
        message = "when the workflow is complete nothing is left to run on nodes"
        problems.add(f"{where}.trigger_type", action.trigger_type, message)
    if action.scheduler_type == "local":
        problems.add(f"{where}.scheduler_type", "local", "nodes are scheduled by Slurm; write slurm, or leave it out")
    check_count(f"{where}.num_allocations", action.num_allocations, 1, problems)
    if action.max_parallel_jobs is not None:
        check_count(f"{where}.max_parallel_jobs", action.max_parallel_jobs, 1, problems)
    names = [each.name for each in schedulers if each.name is not None]
    if not schedulers:
        problems.add(f"{where}.action_type", action.action_type, "schedule_nodes needs an entry in slurm_schedulers")
    elif action.scheduler is None and len(schedulers) > 1:
        problems.add(f"{where}.scheduler", None, f"say which one: {', '.join(names)}")
    elif action.scheduler is not None and action.scheduler not in names:
        message = f"there is no Slurm scheduler {action.scheduler!r}"
        problems.add(f"{where}.scheduler", action.scheduler, message, near=names)
