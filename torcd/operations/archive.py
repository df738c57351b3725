"""Archives a workflow, so that it can only be read or deleted, and takes that back (SEMANTICS 5.5)."""

import numpy as np

from torcd.core.draft import Draft
from torcd.core.refusals import count_jobs, name_jobs
from torcd.core.status import LIVE, mask_of
from torcd.protocol.errors import Conflict


def set_archived(draft: Draft, archived: bool) -> None:
    """Changes nothing when it is so already; raises Conflict when jobs are under way."""
    state = draft.state
    if state.is_archived == archived:
        return
    live = np.flatnonzero(mask_of(LIVE)[state.jobs.status])
    if len(live):
        raise Conflict(
            f"workflow {state.workflow_id} has {count_jobs(len(live))} under way: {name_jobs(state, live)}. Wait for "
            f"them, or cancel them with `workflows cancel {state.workflow_id}`",
            workflow_id=state.workflow_id,
            jobs=state.jobs.ids.ids[live[:1000]].tolist(),
            count=len(live),
        )
    draft.set_archived(archived)
    draft.notify("workflow_archived" if archived else "workflow_unarchived", {})
