"""The handler of `slurm.suggest`: how many Slurm jobs the ready jobs of a workflow take, and how large ones."""

from collections.abc import Mapping

from torcd.api.session import Handler, Session
from torcd.core.outlook import Outlook
from torcd.core.sizing import Limits, Misfits, Node, Size, size_allocations
from torcd.protocol.recover import SuggestAllocations, Suggestion, Suggestions
from torcd.protocol.requests import Request
from torcd.protocol.specification import SlurmSchedulerSpec
from torcd.protocol.units import MIB, format_walltime
from torcd.slurm.client import Slurm
from torcd.slurm.script import find_partitions, fixes_memory
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.ready import Demand, load_demand


class Suggester:
    """Proposes Slurm jobs; what a partition allows is asked of Slurm where more than a scheduler's own is needed."""

    def __init__(self, database: Database, slurm: Slurm) -> None:
        self._database = database
        self._slurm = slurm

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {SuggestAllocations: self._suggest}

    async def _suggest(self, session: Session, request: SuggestAllocations) -> object:
        await self._database.read(lambda db: nouns.check_workflow(db, request.workflow_id))
        demand = await self._database.read(lambda db: load_demand(db, request.workflow_id))
        suggestions = suggest(demand)
        limits = {}
        for each in demand.schedulers:
            if any(one.scheduler == each.name and (one.walltime or one.mem) for one in suggestions.suggestions):
                limits[each.name] = await self._slurm.load_limits(find_partitions(each, demand.slurm_defaults))
        return suggest(demand, limits) if limits else suggestions


async def suggest_after(database: Database, workflow_id: int, outlook: Outlook) -> Suggestions:
    """What jobs will take after a plan, as far as it is known without asking Slurm."""
    return suggest(await database.read(lambda db: load_demand(db, workflow_id, outlook)))


def suggest(demand: Demand, limits: Mapping[str | None, Limits] | None = None) -> Suggestions:
    """Proposals for each scheduler that ready jobs name; for the only one also for those that name none.

    `limits`: those of the schedulers' partitions, as far as they were asked for.
    """
    suggestions = []
    unnamed = demand.needs.get(None, [])
    is_only = len(demand.schedulers) == 1
    for spec in demand.schedulers:
        needs = demand.needs.get(spec.name, []) if spec.name is not None else []
        if is_only:
            needs = [*needs, *unnamed]
        if not needs:
            continue
        known = (limits or {}).get(spec.name, Limits())
        sizes, misfits = size_allocations(
            needs,
            spec,
            demand.nodes.get(spec.name, Node()),
            demand.pending.get(spec.name, []),
            known,
            is_memory_fixed=fixes_memory(spec),
        )
        suggestions += _propose(spec, sizes, misfits, known)
    several = len(demand.schedulers) > 1
    undecided = sum(count for _, count in unnamed) if several else 0
    schedulers = [spec.name for spec in demand.schedulers]
    return Suggestions(suggestions=suggestions, schedulers=schedulers, undecided=undecided, at_work=demand.at_work)


def _propose(spec: SlurmSchedulerSpec, sizes: list[Size], misfits: Misfits, limits: Limits) -> list[Suggestion]:
    """A suggestion for each size; the jobs that fit nowhere are told of with the first."""
    found = []
    for size in sizes or [Size(count=0, fitting=0)]:
        found.append(
            Suggestion(
                scheduler=spec.name,
                count=size.count,
                walltime=None if size.walltime_s is None else format_walltime(size.walltime_s),
                mem=None if size.memory_bytes is None else f"{size.memory_bytes // MIB}M",
                jobs=size.fitting,
                too_long=misfits.too_long,
                longest_s=misfits.longest_s,
                max_walltime_s=limits.walltime_s,
                too_large=misfits.too_large,
                largest_bytes=misfits.largest_bytes,
                max_memory_bytes=limits.memory_bytes,
                pending=size.pending,
            )
        )
        misfits = Misfits()
    return found
