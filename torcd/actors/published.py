"""What everybody may read of an actor."""

from torcd.core.state import State


class Published:
    """What everybody may read of an actor without asking it; true as of its last commit."""

    def __init__(self, state: State) -> None:
        self.run_id = state.run_id
        self.total = state.count
        self.counts = state.counts_by_name()
        self.complete = state.is_complete
        self.is_canceled = state.is_canceled
        self.is_archived = state.is_archived
