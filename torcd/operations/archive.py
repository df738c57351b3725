"""Archives a workflow, so that it can only be read or deleted, and takes that back (SEMANTICS 5.5)."""

import numpy as np

from torcd.core.draft import Draft
from torcd.core.refusals import live_conflict
from torcd.core.status import LIVE, mask_of


def set_archived(draft: Draft, archived: bool) -> None:
    """Changes nothing when it is so already; raises Conflict when jobs are under way."""
    state = draft.state
    if state.is_archived == archived:
        return
    live = np.flatnonzero(mask_of(LIVE)[state.jobs.status])
    if len(live):
        raise live_conflict(state, f"workflow {state.workflow_id} has", live)
    draft.set_archived(archived)
    draft.notify("workflow_archived" if archived else "workflow_unarchived", {})
