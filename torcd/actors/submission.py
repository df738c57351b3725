"""Submits allocations, one after the other.

A row is written before sbatch is called, and none is submitted twice: whatever an answer leaves open is looked up by
the job's name (`allocator`). After the first trouble, or once nobody wants them any more, nothing more of the same
request is submitted.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from torcd.actors.allocation_notes import AddAllocations, NoteAllocations
from torcd.actors.order import Order, advise, choose_scheduler, enlarge, prepare_places
from torcd.actors.pace import Pace
from torcd.core.allocations import PENDING, REFUSED, SUBMITTING, UNANSWERED, Change
from torcd.core.overlong import warn_of_overlong
from torcd.protocol.address import Places
from torcd.protocol.errors import NotFound, Refused, Unavailable
from torcd.protocol.slurm import Allocation, ScheduleNodes
from torcd.shell import own_environment
from torcd.slurm.client import NoAnswer, Rejected, Slurm
from torcd.slurm.programs import check_environment
from torcd.storage import allocations as rows
from torcd.storage.database import Database
from torcd.storage.ready import load_waiting

PLACES_S = 20.0
"""For the file systems that a submission needs to answer."""

FLUSH_S = 1.0
"""Between messages to the actor during a long submission."""

Send = Callable[[int, object], Awaitable[object]]
"""Has a workflow's actor handle a message."""


class Submitter:
    """Serves `slurm.schedule_nodes`, and actions that schedule nodes."""

    def __init__(
        self,
        database: Database,
        send: Send,
        slurm: Slurm,
        places: Places,
        pace: Pace,
        *,
        is_reachable: Callable[[], bool],
        on_done: Callable[[], None],
    ) -> None:
        self._database = database
        self._send = send
        self._slurm = slurm
        self._places = places
        self._pace = pace
        self._is_reachable = is_reachable
        self._on_done = on_done
        self._turn = trio.CapacityLimiter(1)
        """Of requests, one submits at a time."""
        self.under_way: set[int] = set()
        """Allocations that are being submitted now: Slurm's answers are on their way."""
        self.unwanted: set[int] = set()
        """Those of them that are to be canceled: one that sbatch was not called for yet never is."""

    async def plan(self, workflow_id: int, request: ScheduleNodes) -> tuple[Order, list[str]]:
        """What is to be submitted, and warnings; what can be known to go wrong is told before anything is written.

        Raises Refused, NotFound, and Unavailable when a file system does not answer.
        """
        wanted = await self._database.read(lambda db: rows.load_wanted(db, workflow_id))
        if wanted.is_archived:
            raise Refused(f"workflow {workflow_id} is archived: unarchive it first", workflow_id=workflow_id)
        environment = own_environment() if request.environment is None else request.environment
        check_environment(environment)
        order = Order(
            request=request,
            scheduler=enlarge(choose_scheduler(wanted.header, request.scheduler), request),
            wanted=wanted,
            environment=environment,
            places=self._places,
        )
        order.script(0, "torc")  # checks what Slurm would be asked for
        self._slurm.learn(environment)
        await self._slurm.check_configured()
        with trio.move_on_after(PLACES_S):
            warnings = await trio.to_thread.run_sync(self._prepare, order, abandon_on_cancel=True)
            return order, warnings + await self._warn_of_jobs(workflow_id, order)
        raise Unavailable(f"the file system of {wanted.directory} has not answered within {PLACES_S:g} s")

    def _prepare(self, order: Order) -> list[str]:
        """As `prepare_places`, once it is known that nodes can be scheduled here at all."""
        self._slurm.check_installed()
        if not self._is_reachable():
            raise Refused(
                "this daemon does not listen for other hosts, so no worker of a Slurm job could reach it: set "
                "TORCD_LISTEN=auto (or listen in config.toml), and start it again"
            )
        return prepare_places(order)

    async def _warn_of_jobs(self, workflow_id: int, order: Order) -> list[str]:
        scheduler = order.scheduler
        needs = await self._database.read(lambda db: load_waiting(db, workflow_id, scheduler.name))
        others_s = await self._database.read(lambda db: rows.find_longest(db, workflow_id))
        warning = warn_of_overlong(needs, scheduler, others_s=others_s)
        return [] if warning is None else [warning]

    async def submit(self, workflow_id: int, order: Order) -> list[int]:
        """Submits what was planned; the ids. Raises TorcError: then what was submitted is found by its name."""
        async with self._turn:
            self._pace.check()
            added = await self._send(workflow_id, AddAllocations(order.rows()))
            named: list[tuple[int, str]] = added  # type: ignore[assignment]  # the answer to this message
            ids = [allocation_id for allocation_id, _ in named]
            self.under_way.update(ids)
            try:
                await self._submit_all(workflow_id, order, named)
            finally:
                self.under_way.difference_update(ids)
                self.unwanted.difference_update(ids)
                self._on_done()
        return ids

    async def _submit_all(self, workflow_id: int, order: Order, named: Sequence[tuple[int, str]]) -> None:
        changes: list[Change] = []
        flushed_at = time.monotonic()
        stopped_by: str | None = None
        for allocation_id, name in named:
            note = partial(Change, allocation_id, workflow_id)
            if stopped_by is not None:
                changes.append(note(REFUSED, None, None, None, f"not submitted, since {stopped_by}"))
                continue
            if allocation_id in self.unwanted:
                changes.append(note(REFUSED, None, None, None, "canceled before it was submitted"))
                continue
            try:
                path = await self._write_script(order, allocation_id, name)
                job_id = await self._slurm.submit(path, order.environment, order.wanted.directory, order.request.umask)
            except OSError as error:
                changes.append(note(REFUSED, None, None, None, f"its script was not written: {error}"))
                stopped_by = f"the script of allocation {allocation_id} could not be written"
            except Rejected as error:
                changes.append(note(REFUSED, None, None, None, error.message))
                stopped_by = f"allocation {allocation_id} was refused"
            except NoAnswer as error:
                self._pace.note_trouble(error.message)
                changes.append(note(SUBMITTING, None, None, None, error.message))
                stopped_by = f"allocation {allocation_id} {UNANSWERED}"
            else:
                self._pace.note_answer()
                changes.append(note(PENDING, job_id, "PENDING", None))
            if time.monotonic() - flushed_at > FLUSH_S:
                await self._note(workflow_id, changes)
                changes, flushed_at = [], time.monotonic()
        if changes:
            await self._note(workflow_id, changes)

    async def _note(self, workflow_id: int, changes: Sequence[Change]) -> None:
        """Has answers of Slurm written: from then on those allocations are followed as all others."""
        await self._send(workflow_id, NoteAllocations(changes))
        self.under_way.difference_update(change.id for change in changes)

    async def _write_script(self, order: Order, allocation_id: int, name: str) -> str:
        """Raises OSError, also when the file system does not answer."""
        with trio.move_on_after(PLACES_S):
            return await trio.to_thread.run_sync(order.write_script, allocation_id, name, abandon_on_cancel=True)
        raise OSError(f"the file system has not answered within {PLACES_S:g} s")


def check_accepted(found: Sequence[Allocation]) -> None:
    """Raises what a request is told of which Slurm accepted nothing."""
    if any(each.status not in (REFUSED, SUBMITTING) for each in found):
        return
    if not found:
        raise NotFound("the workflow was deleted meanwhile, and what was submitted for it had ended before")
    first = found[0]
    words = first.error or "it is not known why"
    ids = [each.id for each in found]
    if first.status == SUBMITTING:
        raise Unavailable(
            f"allocation {first.id} was handed to Slurm, which did not answer ({words}): whether it was accepted is "
            "looked up by its name as soon as Slurm answers. Nothing is submitted again meanwhile; see `torcctl "
            f"allocations get {first.id}`",
            allocations=ids,
        )
    raise Refused(f"Slurm refused allocation {first.id}: {words}. What to do: {advise(words)}", allocations=ids)
