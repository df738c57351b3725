"""Slurm jobs that the daemon proposes, in words: how large they are, and what to do about jobs that fit in none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torcctl.output import count_jobs, count_of, format_size
from torcd.protocol.recover import Suggestion
from torcd.protocol.units import format_walltime, parse_slurm_memory, parse_walltime

if TYPE_CHECKING:
    from torcctl.context import Context

BY_SPECIFICATION = "in slurm_schedulers (torcctl workflows update --spec FILE brings it in)"


def merge(suggestions: Sequence[Suggestion], count: int) -> Suggestion:
    """So many Slurm jobs, each large enough for all jobs; of the scheduler that all of them are for, if it is one."""
    wanted = [each for each in suggestions if each.jobs]
    schedulers = {each.scheduler for each in wanted}
    walltimes = [each.walltime for each in wanted if each.walltime is not None]
    sizes = [each.mem for each in wanted if each.mem is not None]
    return Suggestion(
        scheduler=schedulers.pop() if len(schedulers) == 1 else None,
        count=count,
        walltime=max(walltimes, key=parse_walltime, default=None),
        mem=max(sizes, key=parse_slurm_memory, default=None),
        jobs=sum(each.jobs for each in wanted),
        pending=0,
    )


def options_of(suggestion: Suggestion) -> str:
    """What is asked for beyond what the scheduler says, as options of schedule-nodes; empty: nothing."""
    walltime = f" --walltime {suggestion.walltime}" if suggestion.walltime is not None else ""
    return walltime + (f" --mem {suggestion.mem}" if suggestion.mem is not None else "")


def tell_size(context: "Context", suggestion: Suggestion) -> None:
    """Tells of Slurm jobs that are larger than their scheduler says."""
    if asked := options_of(suggestion):
        needs = "needs" if suggestion.jobs == 1 else "need"
        more = f"{count_jobs(suggestion.jobs)} {needs} more than {name_of(suggestion)} says"
        context.note("info", f"{more}: asking Slurm with{asked}")


def warn_of_misfits(context: "Context", suggestion: Suggestion) -> None:
    """Warns of jobs that no Slurm job of the scheduler would do for, and says what would."""
    name = name_of(suggestion)
    if suggestion.too_long:
        needed = format_walltime(suggestion.longest_s)
        allowed = format_walltime(suggestion.max_walltime_s or 0)
        context.warn(
            f"{count_jobs(suggestion.too_long)} would take up to {needed}, and the partition of {name} allows "
            f"{allowed}: name a partition that allows more, with a walltime of {needed} or more, {BY_SPECIFICATION}"
        )
    if suggestion.too_large:
        allowed = ""
        if suggestion.max_memory_bytes is not None and suggestion.largest_bytes > suggestion.max_memory_bytes:
            allowed = f", of whose partition no node has more than {format_size(suggestion.max_memory_bytes)}"
        context.warn(
            f"{count_jobs(suggestion.too_large)} would need more than a node of {name} has{allowed} (up to "
            f"{format_size(suggestion.largest_bytes)}, or more processors or GPUs): name a partition with larger nodes "
            f"{BY_SPECIFICATION}"
        )
    if suggestion.pending and not suggestion.count:
        note_enough(context, suggestion.pending, name)


def note_enough(context: "Context", count: int, whose: str) -> None:
    """Tells that so many Slurm jobs wait already, and that none is submitted besides."""
    waits = "waits" if count == 1 else "wait"
    context.note("info", f"{count_of(count, 'Slurm job')} of {whose} {waits} already: they are enough")


def name_of(suggestion: Suggestion) -> str:
    """Its scheduler, in words."""
    return f"the scheduler {suggestion.scheduler!r}" if suggestion.scheduler else "the scheduler"
