"""The handler of `slurm.suggest`: how many Slurm jobs the ready jobs of a workflow take."""

from collections.abc import Mapping

from torcd.api.session import Handler, Session
from torcd.core.outlook import Outlook
from torcd.core.sizing import Node, size_allocations
from torcd.protocol.recover import SuggestAllocations, Suggestion, Suggestions
from torcd.protocol.requests import Request
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.ready import Demand, load_demand


class Suggester:
    """Proposes Slurm jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {SuggestAllocations: self._suggest}

    async def _suggest(self, session: Session, request: SuggestAllocations) -> object:
        await self._database.read(lambda db: nouns.check_workflow(db, request.workflow_id))
        return await propose(self._database, request.workflow_id)


async def propose(database: Database, workflow_id: int, outlook: Outlook | None = None) -> Suggestions:
    """What the ready jobs take: those of now, or those after a plan."""
    return suggest(await database.read(lambda db: load_demand(db, workflow_id, outlook)))


def suggest(demand: Demand) -> Suggestions:
    """A proposal for each scheduler that ready jobs name; for the only one also for those that name none."""
    suggestions = []
    unnamed = demand.needs.get(None, [])
    is_only = len(demand.schedulers) == 1
    for spec in demand.schedulers:
        needs = demand.needs.get(spec.name, []) if spec.name is not None else []
        if is_only:
            needs = [*needs, *unnamed]
        if not needs:
            continue
        pending = demand.pending.get(spec.name, 0)
        size = size_allocations(needs, spec, demand.nodes.get(spec.name, Node()), pending)
        suggestions.append(
            Suggestion(
                scheduler=spec.name,
                count=size.count,
                jobs=size.fitting,
                too_long=size.too_long,
                too_large=size.too_large,
                pending=pending,
            )
        )
    several = len(demand.schedulers) > 1
    undecided = sum(count for _, count in unnamed) if several else 0
    schedulers = [spec.name for spec in demand.schedulers]
    return Suggestions(suggestions=suggestions, schedulers=schedulers, undecided=undecided, at_work=demand.at_work)
