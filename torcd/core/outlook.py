"""What will be ready once a plan is applied, and what it will ask for: a dry run proposes Slurm jobs for it. Pure."""

from dataclasses import dataclass

import numpy as np

from torcd.core.placement import NO_REQUIREMENT, Requirement
from torcd.core.plan import Plan
from torcd.core.state import State
from torcd.core.status import Status


@dataclass(frozen=True, slots=True)
class Outlook:
    """Jobs by their ids."""

    changed: list[int]
    """Those whose status changes: what they are now does not count."""
    ready: list[tuple[list[int], Requirement | None]]
    """Those of them that become ready, with the requirements that they get; None: they keep theirs."""


def foresee(plan: Plan, state: State) -> Outlook:
    """The outlook of a plan of this state."""
    ids = state.jobs.ids.ids
    is_ready = np.zeros(state.count, dtype=np.bool_)
    is_ready[plan.jobs[plan.after == Status.READY]] = True
    groups: list[tuple[list[int], Requirement | None]] = []
    for adjustment in plan.adjustments:
        chosen = adjustment.jobs[is_ready[adjustment.jobs]]
        is_ready[chosen] = False
        groups.append((ids[chosen].tolist(), adjustment.need or NO_REQUIREMENT))
    groups.append((ids[is_ready].tolist(), None))
    return Outlook(ids[plan.jobs].tolist(), groups)
