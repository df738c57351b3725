"""Which jobs take too long ever to start in an allocation. Pure.

A worker that has just begun takes all of its allocation's time for left (`torcctl.worker.time_left`), so a runtime as
long as the walltime is short enough.
"""

from collections.abc import Iterable

from torcd.core.placement import Requirement, describe_seconds
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import parse_walltime, round_walltime

MOST_NAMED = 3


def can_start(need: Requirement, walltime_s: float) -> bool:
    """Whether a worker ever starts such a job in an allocation with that walltime."""
    return need.ends_within(round_walltime(walltime_s))


def warn_of_overlong(
    needs: Iterable[tuple[Requirement, int]], scheduler: SlurmSchedulerSpec, *, others_s: float = 0.0
) -> str | None:
    """What is to be told of so many jobs with each need that wait for the scheduler's allocations; None: nothing.

    `others_s`: the longest walltime of the allocations that there are already, in which jobs may start, too.
    """
    walltime_s = parse_walltime(scheduler.walltime)
    total = overlong = 0
    runtimes: dict[str, float] = {}
    for need, count in needs:
        total += count
        if not can_start(need, max(walltime_s, others_s)):
            overlong += count
            runtimes[need.name] = need.runtime_s
    if not overlong:
        return None
    named = [f"{describe_seconds(runtime_s)} ({name!r})" for name, runtime_s in runtimes.items()]
    more = ", …" if len(named) > MOST_NAMED else ""
    subject = "no job can ever" if overlong == total else f"{overlong} of {total} jobs can never"
    asks = "it asks" if overlong == 1 else f"all {overlong} ask" if overlong == total else "they ask"
    name = "the scheduler" if scheduler.name is None else repr(scheduler.name)
    return (
        f"{subject} start in these allocations: {asks} for a runtime of {', '.join(named[:MOST_NAMED])}{more}, and "
        f"the walltime of {name} is {describe_seconds(walltime_s)}. Raise the walltime, or lower the runtime in "
        "resource_requirements, which is an hour by default; `torcctl workflows update --spec FILE` brings it in"
    )
