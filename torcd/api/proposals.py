"""Handlers of `protocol.proposals`: what jobs need, and what the cluster has, brought together."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import trio

from torcd.api.session import Handler, Session
from torcd.api.threads import work_in_thread
from torcd.core.schedulers import Proposal, propose_schedulers
from torcd.core.workload import Group, group_new_jobs
from torcd.operations.create import expand_patiently
from torcd.protocol.errors import Refused
from torcd.protocol.proposals import (
    AskedAllocations,
    ProposeForSpecification,
    ProposeSchedulers,
    SchedulerProposal,
    ServedRequirement,
)
from torcd.protocol.requests import Request
from torcd.protocol.specification import Header, Piece, SlurmSchedulerSpec
from torcd.slurm.client import Slurm
from torcd.slurm.programs import check_environment
from torcd.slurm.standing import find_standing
from torcd.storage import nouns
from torcd.storage.database import Database
from torcd.storage.workload import load_workload


class Proposer:
    """Asks sinfo, anew each time: a partition may go down."""

    def __init__(self, database: Database, slurm: Slurm) -> None:
        self._database = database
        self._slurm = slurm
        self._expansions = trio.CapacityLimiter(1)

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {ProposeSchedulers: self._propose, ProposeForSpecification: self._propose_for_specification}

    async def _propose(self, session: Session, request: ProposeSchedulers) -> object:
        workflow_id = request.workflow_id
        await self._database.read(lambda db: nouns.check_workflow(db, workflow_id))
        workload = await self._database.read(lambda db: load_workload(db, workflow_id), long=True)
        return await self._answer(request, workload.header, workload.groups, workload.pending)

    async def _propose_for_specification(self, session: Session, request: ProposeForSpecification) -> object:
        pieces = session.uploads.take(request.upload, Piece) if request.upload is not None else []
        async with self._expansions:
            groups = await work_in_thread(_group, request.header, pieces, request.directory)
        return await self._answer(request, request.header, groups, {})

    async def _answer(
        self,
        request: ProposeSchedulers | ProposeForSpecification,
        header: Header,
        groups: list[Group],
        pending: Mapping[str | None, int],
    ) -> SchedulerProposal:
        if not groups:
            raise Refused(f"{header.name!r} has no jobs: there is nothing to schedule nodes for")
        check_environment(request.environment)
        self._slurm.learn(request.environment)
        kinds = await self._slurm.load_partitions()
        settle = partial(find_standing, defaults=header.slurm_defaults, kinds=kinds)
        proposal = propose_schedulers(
            groups,
            kinds,
            [settle(spec) for spec in header.slurm_schedulers],
            settle,
            account=request.account,
            partition=request.partition,
            single=request.single,
            pending=pending,
        )
        return show_proposal(header.slurm_schedulers, proposal)


def _group(header: Header, pieces: list[Piece], directory: str) -> list[Group]:
    return group_new_jobs(expand_patiently(header, pieces, directory))


def show_proposal(kept: list[SlurmSchedulerSpec], proposal: Proposal) -> SchedulerProposal:
    """A proposal as it is answered with."""
    return SchedulerProposal(
        slurm_schedulers=[_show_spec(spec) for spec in (*kept, *proposal.added)],
        added=[spec.name or "" for spec in proposal.added],
        requirements=[
            ServedRequirement(
                name=each.group.name,
                scheduler=each.standing.spec.name,
                jobs_per_node=each.jobs_per_node,
                jobs=each.group.jobs,
                is_named=each.group.scheduler is not None,
            )
            for each in proposal.served
        ],
        schedule_nodes=[
            AskedAllocations(scheduler=each.spec.name, count=each.count, jobs=each.jobs) for each in proposal.asked
        ],
        warnings=proposal.warnings,
    )


def _show_spec(spec: SlurmSchedulerSpec) -> dict[str, Any]:
    """Also what is as by default: it is to be read by people."""
    return {name: value for name, value in msgspec.structs.asdict(spec).items() if value is not None}
