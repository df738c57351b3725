"""Talks to Slurm for all workflows: submits allocations, follows them, and cancels those that nobody needs.

One task of the daemon looks at all open allocations at once, with one squeue, as long as there are any. All that it
finds out goes to the workflows' actors as messages; what is lost on the way is found out again with the next look. A
scheduler that does not answer changes nothing.
"""

import logging
from collections.abc import Callable, Sequence
from itertools import groupby

import msgspec
import trio

from torcd.actors.allocation_notes import MarkCanceled, NoteAllocations
from torcd.actors.order import HOPELESS
from torcd.actors.pace import POLL_S, Pace
from torcd.actors.scheduling import Scheduling
from torcd.actors.submission import Submitter, check_accepted
from torcd.actors.supervisor import Supervisor
from torcd.core.allocations import (
    COMPLETE,
    OPEN,
    PENDING,
    Backlog,
    Change,
    Memory,
    Row,
    compare,
    find_superfluous,
    follow,
    give_up,
    status_of,
)
from torcd.protocol.address import Places
from torcd.protocol.errors import NotFound, TorcError
from torcd.protocol.health import SlurmHealth
from torcd.protocol.slurm import Allocation, Scheduled, ScheduleNodes
from torcd.slurm.client import NoAnswer, Rejected, Slurm
from torcd.storage import allocations as rows
from torcd.storage.database import Database

logger = logging.getLogger(__name__)

SETTLE_S = 45.0
"""For an sbatch that a former daemon has left behind to end: the time for one, and half of that again."""


class Allocator:
    """`run` looks; everything else is called by handlers."""

    def __init__(
        self,
        database: Database,
        supervisor: Supervisor,
        slurm: Slurm,
        places: Places,
        *,
        poll_s: float = POLL_S,
        is_reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._slurm = slurm
        self._settle_s = min(SETTLE_S, 3 * poll_s)
        self.pace = Pace(poll_s)
        self._submitter = Submitter(
            database, supervisor.send, slurm, places, self.pace, is_reachable=is_reachable, on_done=self.wake
        )
        self._scheduling = Scheduling(database, self._submitter, self.pace, self.refresh)
        self._memory = Memory()
        self._listed: set[str] = set()
        """The names in Slurm's last answer."""
        self._missed_at: dict[int, float] = {}
        """Since when Slurm's answers do not list an allocation, by the clock of this daemon: nobody may set that."""
        self._canceled_at: dict[int, float] = {}
        self._wake = trio.Event()
        self._asked: list[trio.Event] = []
        self._has_open = True
        """Whether there is anything to look at, as far as is known."""
        self._open_count = 0
        self._nursery: trio.Nursery

    # ---- looking ----

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Looks now and then, as long as there is something to look at, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                asked, self._asked, self._wake = self._asked, [], trio.Event()
                try:
                    await self._look()
                except TorcError as error:  # the database, or an actor, cannot be used now
                    logger.error("allocations could not be followed: %s", error.message)
                except Exception:
                    # The boundary of a look: a bug costs one workflow its allocations, never all of them the daemon.
                    logger.exception("allocations could not be followed")
                for event in asked:
                    event.set()
                with trio.move_on_after(self.pace.pause_s if self._has_open else float("inf")):
                    await self._wake.wait()

    def wake(self) -> None:
        """Has it look soon: something has changed that Slurm should be told of."""
        self._wake.set()

    async def refresh(self) -> None:
        """Looks now, and returns when that is done, whatever came of it."""
        done = trio.Event()
        self._asked.append(done)
        self._wake.set()
        await done.wait()

    async def _look(self) -> None:
        under_way = set(self._submitter.under_way)
        found = await self._database.read(rows.load_open)
        self._open_count, self._has_open = len(found), bool(found)
        known = [row for row in found if row.id not in under_way]
        changes = await self._follow(known) if known else []
        if changes is not None:
            await self._note(changes)
            await self._cancel(found, under_way, {change.id: change for change in changes})

    async def _follow(self, known: list[Row]) -> list[Change] | None:
        """What is to be written; None: Slurm does not answer."""
        try:
            queue = await self._slurm.load_queue()
        except NoAnswer as error:
            self.pace.note_trouble(error.message)
            return None
        self.pace.note_answer()
        changes, missing = compare(known, queue, self._memory)
        self._listed, now = set(queue), trio.current_time()
        self._missed_at = {each: self._missed_at.get(each, now) for each in self._memory.misses}
        names = {row.job_name for row in known}
        strangers = [
            name for name, seen in queue.items() if name not in names and status_of(seen.state, COMPLETE) != COMPLETE
        ]
        if strangers:  # requeued by hand, or ended in the eyes of a daemon that did not get an answer
            for row in await self._database.read(lambda db: rows.load_named(db, strangers)):
                change = follow(row, queue[row.job_name])
                if change is not None and row.status not in OPEN:
                    changes.append(change)
        if missing:
            changes += await self._find_out(missing)
        return changes

    async def _find_out(self, missing: list[Row]) -> list[Change]:
        """What became of allocations that the queue does not list. Nothing is said of them while nobody can tell."""
        try:
            found = await self._slurm.find_ended(missing)
        except NoAnswer as error:
            self.pace.note_trouble(error.message)
            return []
        ids = [row.id for row in missing]
        had_workers = await self._database.read(lambda db: rows.find_with_workers(db, ids))
        changes = []
        for row in missing:
            if row.job_name in found:
                change = follow(row, found[row.job_name])
            else:
                is_settled = trio.current_time() - self._missed_at[row.id] >= self._settle_s
                change = give_up(row, is_settled=is_settled, had_workers=row.id in had_workers)
            if change is not None:
                self._memory.misses.pop(row.id, None)
                changes.append(change)
        return changes

    async def _note(self, changes: Sequence[Change]) -> None:
        for workflow_id, group in groupby(sorted(changes, key=lambda change: change.workflow_id), _workflow_of):
            await self._send(workflow_id, NoteAllocations(list(group)))

    async def _send(self, workflow_id: int, message: object) -> object:
        """What cannot be written now is found out, or decided, again."""
        try:
            return await self._supervisor.send(workflow_id, message)
        except NotFound:
            logger.info("workflow %d was deleted while its allocations were looked at", workflow_id)
        except TorcError as error:
            logger.error("workflow %d: what became of its allocations was not written: %s", workflow_id, error.message)
        return None

    async def _cancel(self, found: Sequence[Row], under_way: set[int], changed: dict[int, Change]) -> None:
        """Cancels what is to be canceled, or is of no use any more."""
        still = [
            row._replace(status=changed[row.id].status) if row.id in changed else row
            for row in found
            if row.id not in changed or changed[row.id].status in OPEN
        ]
        backlogs = await self._load_backlogs({row.workflow_id for row in still})
        now = trio.current_time()
        self._canceled_at = {
            each: self._canceled_at.get(each, now) for each, backlog in backlogs.items() if backlog.is_canceled
        }
        canceled_for_s = {each: now - since for each, since in self._canceled_at.items()}
        superfluous = find_superfluous(still, backlogs, canceled_for_s)
        by_reason = sorted(superfluous, key=lambda pair: (pair[0].workflow_id, pair[1]))
        to_cancel = {row.id for row in still if row.cancel_reason is not None}
        for (workflow_id, reason), group in groupby(by_reason, lambda pair: (pair[0].workflow_id, pair[1])):
            mark = MarkCanceled([row.id for row, _ in group], reason, only_if_over=True)
            marked: tuple[int, ...] | None = await self._send(workflow_id, mark)  # type: ignore[assignment]  # its answer
            to_cancel.update(marked or ())
        self._submitter.unwanted.update(to_cancel & self._submitter.under_way)
        for row in still:
            is_there = row.id not in under_way and row.job_name in self._listed and row.state != "COMPLETING"
            if row.id in to_cancel and is_there and not await self._cancel_one(row):
                break

    async def _cancel_one(self, row: Row) -> bool:
        """Whether Slurm has answered; else the others wait, too."""
        try:
            await self._slurm.cancel(row.job_name, row.job_id)
        except NoAnswer as error:
            self.pace.note_trouble(error.message)
            return False
        except Rejected as error:
            logger.error("allocation %d could not be canceled: %s", row.id, error.message)
        return True

    async def _load_backlogs(self, workflow_ids: set[int]) -> dict[int, Backlog]:
        """Of the workflows that may be over; the others have something to do."""
        published = {each: self._supervisor.published(each) for each in workflow_ids}
        ids = [each for each, state in published.items() if state is None or state.complete or state.is_archived]
        return await self._database.read(lambda db: rows.load_backlogs(db, ids)) if ids else {}

    # ---- what is shown ----

    def show(self, allocation: Allocation) -> Allocation:
        """An allocation as it is known: while Slurm does not answer, nobody knows the state of an open one."""
        trouble = self.pace.trouble
        if trouble is None or allocation.status not in OPEN:
            return allocation
        state = f"unknown since {trouble.since}"
        return msgspec.structs.replace(allocation, slurm_state=state, slurm_reason=trouble.words)

    async def load(self, ids: Sequence[int], warnings: Sequence[str] = ()) -> Scheduled:
        """Allocations by id, with warnings about those that wait in vain."""
        found = [self.show(each) for each in await self._database.read(lambda db: rows.load_allocations(db, ids))]
        said = list(warnings)
        for each in found:
            if each.status == PENDING and each.slurm_reason in HOPELESS:
                said.append(
                    f"allocation {each.id} waits in vain, says Slurm: {each.slurm_reason}. Cancel it (`torcctl slurm "
                    f"cancel {each.id}`), or see `scontrol show job {each.slurm_job_id}`"
                )
        if self.pace.trouble is not None:
            said.append(f"Slurm has not answered since {self.pace.trouble.since}: {self.pace.trouble.words}")
        return Scheduled(allocations=found, warnings=said)

    async def load_open(self, workflow_id: int) -> Scheduled:
        """The workflow's allocations that have not ended, as Slurm says now."""
        await self.refresh()
        open_rows = await self._database.read(lambda db: rows.load_open(db, workflow_id))
        return await self.load([row.id for row in open_rows])

    async def find_ended(self, workflow_id: int) -> dict[int, str]:
        """A workflow's allocations that have ended, as Slurm says now, and how they did."""
        if self._has_open:
            await self.refresh()
        return await self._database.read(lambda db: rows.load_ended(db, workflow_id))

    async def load_account(self, workflow_id: int) -> list[dict[str, str]]:
        """What Slurm's accounting has of a workflow's allocations. Raises Refused where there is none."""
        ids = await self._database.read(lambda db: rows.load_ids(db, workflow_id))
        named = await self._database.read(lambda db: rows.load_names(db, ids))
        return await self._slurm.load_account(named)

    def health(self) -> SlurmHealth | None:
        """How it goes with Slurm; None: nothing was asked of it."""
        trouble = self.pace.trouble
        if not self._open_count and trouble is None:
            return None
        return SlurmHealth(
            open_allocations=self._open_count,
            unknown_since=None if trouble is None else trouble.since,
            error=None if trouble is None else trouble.words,
        )

    # ---- submitting ----

    async def schedule(self, workflow_id: int, request: ScheduleNodes) -> Scheduled:
        """Submits allocations; a repeated request is told of those it made. A caller that goes away stops nothing.

        Raises Refused and NotFound when Slurm was not asked or accepted none, Unavailable when it did not answer.
        """
        reply = self._scheduling.begin(self._nursery, workflow_id, request)
        ids, warnings = await reply.wait()
        scheduled = await self.load(ids, warnings)
        check_accepted(scheduled.allocations)
        return scheduled

    # ---- canceling ----

    async def cancel(self, workflow_id: int, ids: Sequence[int] | None, requested_by: str) -> Scheduled:
        """Has open allocations canceled, all or these; looks what came of it. Raises NotFound and Refused."""
        known = await self._database.read(lambda db: rows.load_open(db, workflow_id))
        chosen = [row.id for row in known] if ids is None else list(ids)
        every = set(await self._database.read(lambda db: rows.load_ids(db, workflow_id)))
        for each in chosen:
            if each not in every:
                raise NotFound(f"workflow {workflow_id} has no allocation {each}", noun="allocation", id=each)
        is_open = {row.id for row in known}
        open_ids = [each for each in chosen if each in is_open]
        if open_ids:
            reason = f"by {requested_by}" if requested_by else "by a user"
            await self._supervisor.send(workflow_id, MarkCanceled(open_ids, reason))
            self._submitter.unwanted.update(self._submitter.under_way.intersection(open_ids))
            await self.refresh()
            if self.pace.trouble is None:
                await self.refresh()  # to see what came of it
        return await self.load(chosen)


def _workflow_of(change: Change) -> int:
    return change.workflow_id
