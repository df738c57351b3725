"""Finds or starts the actor of a workflow, and lives on when one crashes.

Mailboxes belong to the supervisor: what is queued survives a crash, and the actor that is started anew, from the
database, finds it. Those whose message was under way are told 503. A workflow whose actor crashes again and again
is faulted: its requests are refused, the others go on.
"""

import logging
import sqlite3
from collections import deque
from typing import Any

import trio

from torcd.actors.clock import now_ms
from torcd.actors.lease import LEASE_S
from torcd.actors.mailbox import Mailbox, Message, Reply
from torcd.actors.means import Means
from torcd.actors.messages import Nudge
from torcd.actors.published import Published
from torcd.actors.survey import survey_actor, survey_faulted
from torcd.actors.workflow import WorkflowActor
from torcd.bus import Bus
from torcd.files.scan import Scanner
from torcd.protocol.errors import NotFound, TorcError, Unavailable
from torcd.protocol.health import WorkflowHealth
from torcd.storage.database import Database
from torcd.storage.save import fail_active_tasks, load_event_seq

logger = logging.getLogger(__name__)

MOST_CRASHES = 3
CRASH_WINDOW_S = 60.0
"""More crashes than that within the window are no accident: going on would only repeat them."""

REVIVE_S = 5.0
"""Between attempts at a database that cannot be used: a full disk is not freed in milliseconds."""


class Supervisor:
    """All actors. `run` holds them; everything else is called by handlers."""

    def __init__(self, database: Database, bus: Bus, scanner: Scanner, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        """That of workers which begin one from now on."""
        self.means = Means()
        """Those of actors that start from now on."""
        self._database = database
        self._bus = bus
        self._scanner = scanner
        self._mailboxes: dict[int, Mailbox] = {}
        self._actors: dict[int, WorkflowActor] = {}
        self._crashes: dict[int, deque[float]] = {}
        self._faulted: dict[int, str] = {}
        self._task_ends: dict[int, trio.Event] = {}
        self._orphans: dict[int, int] = {}
        """Of workflows whose actor ended with the database, the task it was at: it may have been committed."""
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Holds the actors until cancelled. An actor in a commit finishes it first: commits are shielded."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def send(self, workflow_id: int, body: object) -> object:
        """Has an actor handle a message; returns its answer or raises it. Cancelling undoes nothing."""
        return await self.post(workflow_id, body).reply.wait()

    def post(self, workflow_id: int, body: object) -> Message:
        """Queues a message for a workflow, starting its actor if need be; raises Unavailable or Busy."""
        if workflow_id in self._faulted:
            raise Unavailable(
                f"workflow {workflow_id} is faulted: its actor crashed {MOST_CRASHES + 1} times in "
                f"{CRASH_WINDOW_S:g} s ({self._faulted[workflow_id]}). See the daemon's log; restart the daemon "
                "to try again",
                workflow_id=workflow_id,
            )
        mailbox = self._mailboxes.setdefault(workflow_id, Mailbox(workflow_id))
        message = mailbox.put(body)
        if workflow_id not in self._actors:
            self._start(workflow_id, mailbox)
        return message

    def tell(self, workflow_id: int, body: object) -> None:
        """Queues a message to which nobody waits for an answer, with patience when the mailbox is full."""
        if workflow_id in self._faulted:
            return  # nobody is served there
        mailbox = self._mailboxes.setdefault(workflow_id, Mailbox(workflow_id))
        self._nursery.start_soon(mailbox.post, body)
        if workflow_id not in self._actors:
            self._start(workflow_id, mailbox)

    def published(self, workflow_id: int) -> Published | None:
        """What a running actor last published; None when none runs."""
        actor = self._actors.get(workflow_id)
        return None if actor is None else actor.published

    def survey(self) -> list[WorkflowHealth]:
        """How each workflow is that has an actor, or has none any more because it is faulted; by id."""
        found = [survey_actor(actor, self._count_crashes(actor.workflow_id)) for actor in self._actors.values()]
        found += [survey_faulted(each, why, self._count_crashes(each)) for each, why in self._faulted.items()]
        return sorted(found, key=lambda each: each.workflow_id)

    def _count_crashes(self, workflow_id: int) -> int:
        now = trio.current_time()
        return sum(now - each < CRASH_WINDOW_S for each in self._crashes.get(workflow_id, ()))

    def serves(self, workflow_id: int, worker_id: int) -> bool:
        """Whether a running actor knows this worker; else the database has to be asked."""
        actor = self._actors.get(workflow_id)
        return actor is not None and actor.roster.knows(worker_id)

    def times_left(self, workflow_id: int) -> dict[int, float | None]:
        """How many seconds the workers of a workflow have left, as far as a running actor knows them; None: no end."""
        actor = self._actors.get(workflow_id)
        return {} if actor is None else {entry.worker_id: entry.time_left_s for entry in actor.roster.entries()}

    def task_end(self, task_id: int) -> trio.Event:
        """Set when the task ends, if it has not ended before the call."""
        return self._task_ends.setdefault(task_id, trio.Event())

    def note_task_end(self, task_id: int) -> None:
        """Wakes who waits for a task that has ended. Whoever has read that may come before the actor that did it."""
        event = self._task_ends.pop(task_id, None)
        if event is not None:
            event.set()

    def _start(self, workflow_id: int, mailbox: Mailbox, orphan: int | None = None) -> None:
        actor = WorkflowActor(workflow_id, mailbox, self._database, self._bus, self._scanner, self.note_task_end)
        actor.orphan = self._orphans.pop(workflow_id, None) if orphan is None else orphan
        actor.lease_s, actor.means = self.lease_s, self.means
        self._actors[workflow_id] = actor
        self._nursery.start_soon(self._run_actor, actor)

    async def _run_actor(self, actor: WorkflowActor) -> None:
        workflow_id = actor.workflow_id
        try:
            await actor.run()
        except Exception as error:
            # The boundary of an actor: a bug costs the messages under way, never the daemon.
            failure = _find_failure(error)
            if failure is None:
                logger.exception("workflow %d: its actor crashed", workflow_id)
                await self._on_crash(actor, error)
            else:
                logger.error("workflow %d: its actor ended: %s", workflow_id, failure.message)
                self._refuse_all(actor, failure)
                if not isinstance(failure, NotFound):  # the database cannot be used now
                    orphan = _task_of(actor)
                    if orphan is not None:
                        self._orphans[workflow_id] = orphan
                    self._nursery.start_soon(self._revive, workflow_id)
            return
        # Deleted, or idle: then nobody waits for an answer.
        _answer(actor.unanswered(), NotFound(f"there is no workflow {workflow_id}", noun="workflow", id=workflow_id))
        del self._actors[workflow_id]
        if actor.mailbox.is_empty:
            del self._mailboxes[workflow_id]
        else:
            self._start(workflow_id, actor.mailbox)

    async def _on_crash(self, actor: WorkflowActor, error: Exception) -> None:
        """Starts the actor anew, at once: it has leases to watch and may have a task to end."""
        workflow_id = actor.workflow_id
        crash = Unavailable(
            f"the actor of workflow {workflow_id} crashed and starts anew: whether this request took effect "
            "is in the workflow's state; the daemon's log has the cause",
            workflow_id=workflow_id,
        )
        orphan = _task_of(actor)
        self._note_crash(workflow_id, error)
        if workflow_id in self._faulted:
            self._refuse_all(actor, crash)
            await self._end_tasks(workflow_id, orphan)
            return
        _answer(actor.unanswered(), crash)
        self._start(workflow_id, actor.mailbox, orphan)

    async def _end_tasks(self, workflow_id: int, orphan: int | None) -> None:
        """Ends what a faulted workflow's actor was at, since none will start to do it.

        `orphan`: the task that it was at; it may have been committed, with nobody told.
        """

        def work(db: sqlite3.Connection) -> tuple[list[tuple[int, int]], int]:
            return fail_active_tasks(db, now_ms(), workflow_id), load_event_seq(db, workflow_id)

        try:
            ended, event_seq = await self._database.commit(work)
        except TorcError as error:
            logger.error("workflow %d: its task could not be ended: %s", workflow_id, error.message)
            return
        self._bus.begin(workflow_id, event_seq)
        for _, task_id in ended:
            self.note_task_end(task_id)
        if orphan is not None:
            self.note_task_end(orphan)

    async def _revive(self, workflow_id: int) -> None:
        """Starts an actor again without being asked: it may have a task to end, for which somebody waits."""
        await trio.sleep(REVIVE_S)
        await self._database.health.wait_writable()
        if workflow_id not in self._actors and workflow_id not in self._faulted:
            self.post(workflow_id, Nudge())

    def _refuse_all(self, actor: WorkflowActor, error: TorcError) -> None:
        """Ends an actor that cannot live, and everything that waits for it."""
        del self._actors[actor.workflow_id]
        del self._mailboxes[actor.workflow_id]
        _answer([*actor.unanswered(), *(message.reply for message in actor.mailbox.take_all())], error)

    def _note_crash(self, workflow_id: int, error: Exception) -> None:
        crashes = self._crashes.setdefault(workflow_id, deque(maxlen=MOST_CRASHES + 1))
        now = trio.current_time()
        crashes.append(now)
        if len(crashes) > MOST_CRASHES and now - crashes[0] < CRASH_WINDOW_S:
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            self._faulted[workflow_id] = f"{type(error).__name__}: {error}"


def _task_of(actor: WorkflowActor) -> int | None:
    """The task that an actor was at, or that one before it was at and of which it has not told."""
    active = actor.tasks.active
    return actor.orphan if active is None else active.task_id


def _find_failure(error: Exception) -> TorcError | None:
    """The expected failure that ended an actor, also out of its nursery's group; None: it is a bug."""
    if isinstance(error, TorcError):
        return error
    if isinstance(error, ExceptionGroup):
        found = [_find_failure(each) for each in error.exceptions]
        return None if None in found else found[0]
    return None


def _answer(replies: list[Reply[Any]], error: TorcError) -> None:
    for reply in replies:
        if not reply.is_given:
            reply.fail(error)
