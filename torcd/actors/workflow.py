"""The actor of one workflow: its only writer.

It drains its mailbox, lets operations decide on its state, writes what they decided as one transaction, and only
then answers and publishes. After a failed commit its state is loaded anew and the group's messages are tried
singly. How tasks run is in `tasks`, how workers are served in `roster`.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import trio

from torcd.actors.activity import Activity
from torcd.actors.allocation_notes import AllocationMessage, on_allocation_message
from torcd.actors.clock import now_ms
from torcd.actors.explain import Explainer
from torcd.actors.firings import Firings
from torcd.actors.lease import LEASE_S
from torcd.actors.mailbox import Mailbox, Message, Reply
from torcd.actors.means import Means
from torcd.actors.messages import (
    Apply,
    CommitEdit,
    Deleted,
    Explain,
    ExplainReady,
    FiringBegins,
    FiringEnded,
    MakeUpdate,
    Nudge,
    OwnMessage,
    Preview,
    PreviewReady,
    Unattended,
    needs_loading,
)
from torcd.actors.published import Published
from torcd.actors.roster import Roster
from torcd.actors.tasks import INLINE_JOBS, TaskSlot
from torcd.actors.turn import Turn
from torcd.bus import Bus
from torcd.core.refusals import LiveConflict, check_not_archived, live_conflict
from torcd.core.state import State
from torcd.core.status import LIVE, mask_of
from torcd.files.scan import Paths, Scanner
from torcd.operations.archive import set_archived
from torcd.operations.cancel import cancel_workflow
from torcd.operations.disable import disable_jobs, enable_jobs
from torcd.operations.update import find_value, update_user_data
from torcd.operations.update_workflow import apply_update, find_update
from torcd.protocol.edits import ArchiveWorkflow, DisableJobs, EnableJobs, UnarchiveWorkflow
from torcd.protocol.errors import TorcError, Unavailable
from torcd.protocol.model import Event
from torcd.protocol.requests import CancelTask, CancelWorkflow, DeleteWorkflow, Operation, UpdateUserData
from torcd.protocol.worker_requests import LeaveWorker, ReportWorker
from torcd.storage.create import delete_workflow
from torcd.storage.database import Database
from torcd.storage.faults import InDoubt
from torcd.storage.job_keys import find_names
from torcd.storage.load import load_state
from torcd.storage.rows import format_time
from torcd.storage.save import fail_active_tasks

logger = logging.getLogger(__name__)

IDLE_S = 900.0
"""An actor without work, workers and messages for so long is put away, to be loaded again on demand."""

MOST_FAILURES = 3
"""Reports in a row that cannot be committed before the rest of their group is refused untried."""

REPEAT_S = 1.0
"""Before the actor tries again what it was told once: a full disk is not freed in milliseconds."""

Finish = Callable[[], object]


class WorkflowActor:
    """One workflow. `run` goes on until the workflow is deleted, the actor is idle, or something is a bug."""

    def __init__(
        self,
        workflow_id: int,
        mailbox: Mailbox,
        database: Database,
        bus: Bus,
        scanner: Scanner,
        on_task_end: Callable[[int], None],
    ) -> None:
        self.workflow_id = workflow_id
        self.mailbox = mailbox
        self.database = database
        self.bus = bus
        self.scanner = scanner
        self.on_task_end = on_task_end
        self.published: Published | None = None
        self.activity = Activity()
        self.current: list[Message] = []
        """The messages under way: a crash answers them."""
        self.orphan: int | None = None
        """The task that a former life of this actor was at when it crashed: it has ended, or ends now."""
        self.lease_s = LEASE_S
        self.means = Means()
        self.tasks = TaskSlot(self)
        self.roster = Roster(self)
        self.explainer = Explainer(self)
        self.firings = Firings(self)
        self.state: State
        self.paths: Paths
        self.nursery: trio.Nursery

    # ---- life ----

    async def run(self) -> None:
        """Loads the state and serves the mailbox."""
        ended = await self.database.commit(lambda db: fail_active_tasks(db, now_ms(), self.workflow_id))
        await self.load()
        self._tell_of_ended_tasks([task_id for _, task_id in ended])
        async with trio.open_nursery() as self.nursery:
            await self.roster.load()
            await self.firings.load()
            self.activity.rest()
            try:
                await self._serve()
            except Deleted:
                self.published = None
                self.bus.close_workflow(self.workflow_id)
            self.nursery.cancel_scope.cancel()

    def unanswered(self) -> list[Reply[Any]]:
        """Whoever waits for this actor and would wait in vain once it has ended; the mailbox is another matter."""
        messages = [*self.current, *self.roster.answers.waiting_messages()]
        replies: list[Reply[Any]] = [message.reply for message in messages]
        replies += [preview.reply for preview in self.tasks.previews]
        replies += [question.reply for question in self.explainer.waiting]
        return [reply for reply in replies if not reply.is_given]

    async def load(self) -> None:
        """Replaces the state by what the database holds."""
        self._adopt(await self.database.read(lambda db: load_state(db, self.workflow_id), long=True))
        self.bus.begin(self.workflow_id, self.state.event_seq)

    def _adopt(self, state: State) -> None:
        self.state = state
        self.paths = Paths.from_blob(state.files.paths, state.files.offsets)
        self.published = Published(state)

    def _tell_of_ended_tasks(self, task_ids: list[int]) -> None:
        """A task that an earlier life of this actor left behind had no one to finish it."""
        for task_id in task_ids:
            self.on_task_end(task_id)
        if self.orphan is not None:  # committed, but nobody was told
            self.on_task_end(self.orphan)
            self.orphan = None

    async def _serve(self) -> None:
        while True:
            with trio.move_on_after(IDLE_S) as idle:
                self.current = await self.mailbox.get_group()
            if idle.cancelled_caught:
                is_busy = (
                    self.tasks.active is not None
                    or self.tasks.previews
                    or self.explainer.waiting
                    or self.firings.is_busy
                )
                if not is_busy and self.roster.is_empty and self.mailbox.is_empty:
                    return
                continue
            group: list[Message] = []
            for message in self.current:
                if isinstance(message.body, Unattended):
                    await self._take_group(group)
                    group = []
                    await self._take_alone(message)
                else:
                    group.append(message)
            await self._take_group(group)
            self.current = []
            self.activity.rest()

    # ---- one transaction ----

    async def _take_group(self, messages: list[Message]) -> None:
        """Handles messages as one transaction; if that fails, each in its own.

        Each failure has the state loaded anew, so a disk that fails is not tried with every report: workers repeat
        them.
        """
        error = await self._try_group(messages)
        if error is None:
            return
        failures = 0
        open_messages = [message for message in messages if not message.reply.is_given]
        for message in open_messages:
            if len(open_messages) > 1 and (failures < MOST_FAILURES or not isinstance(message.body, ReportWorker)):
                failure = await self._try_group([message])
                if failure is None:
                    failures = 0
                    continue
                failures, error = failures + 1, failure
            if not message.reply.is_given:
                message.reply.fail(Unavailable(error.message, **error.data))
            if isinstance(message.body, OwnMessage):
                self.nursery.start_soon(self._post_again, message.body)

    async def _post_again(self, body: object) -> None:
        """What the actor was told once, and could not act on, nobody would repeat."""
        await trio.sleep(REPEAT_S)
        await self.mailbox.post(body)

    async def _try_group(self, messages: list[Message]) -> Unavailable | None:
        """Handles messages as one transaction; if that fails the state is loaded anew, and the error returned.

        Raises `InDoubt`: then only a new actor, and workers that register again, can go on.
        """
        if not messages:
            return None
        self.activity.begin(messages[0].body)
        turn = Turn(self.state, now_ms())
        for message in messages:
            try:
                turn.answer(message, self._handle(turn, message))
            except TorcError as error:
                message.reply.fail(await self.tell(error))
        self.firings.decide(turn)
        self.roster.answers.serve_waiting(turn)
        try:
            await turn.commit(self.database)
        except InDoubt:
            raise
        except Unavailable as error:
            await self.load()
            return error
        self.conclude(turn)
        return None

    async def _take_alone(self, message: Message) -> None:
        """Handles what needs the actor for itself."""
        self.activity.begin(message.body)
        turn = Turn(self.state, now_ms())
        try:
            finish = await self._handle_alone(turn, message)
            if not isinstance(message.body, DeleteWorkflow | MakeUpdate):
                self.firings.decide(turn)
                self.roster.answers.serve_waiting(turn)
            await turn.commit(self.database)
        except InDoubt:
            raise
        except TorcError as error:
            if isinstance(error, Unavailable):
                await self.load()
            await self.tasks.on_failed(message, await self.tell(error))
            return
        turn.answer(message, finish)
        if turn.redrawn is not None:
            turn.draft = turn.redrawn()
            self._adopt(turn.draft.state)
        self.conclude(turn)
        if isinstance(message.body, DeleteWorkflow):
            raise Deleted
        if needs_loading(message.body):
            await self.load()

    async def tell(self, error: TorcError) -> TorcError:
        """The error as users are told: with the names of jobs that what decided knows by their ids."""
        if not isinstance(error, LiveConflict):
            return error
        try:
            return error.named(await self.database.read(lambda db: find_names(db, error.ids)))
        except Unavailable:
            return error

    def conclude(self, turn: Turn) -> None:
        """After a commit: publishes it and gives the answers."""
        self.published = Published(self.state)
        events = [
            Event(
                seq=notice.seq,
                workflow_id=self.workflow_id,
                timestamp=format_time(notice.at_ms),
                kind=notice.kind,
                data=notice.data,
            )
            for notice in turn.draft.delta.notices
        ]
        self.bus.publish(self.workflow_id, events)
        turn.finish()

    # ---- who decides on which message ----

    def _handle(self, turn: Turn, message: Message) -> Finish:
        match message.body:
            case ReportWorker() as report:
                return self.roster.answers.on_report(turn, message, report)
            case LeaveWorker() as leave:
                return self.roster.on_leave(turn, leave.worker_id)
            case CancelWorkflow():
                return self._on_cancel(turn)
            case CancelTask() as cancel:
                return self.tasks.on_cancel(turn, cancel.task_id)
            case ArchiveWorkflow() | UnarchiveWorkflow():
                return self._on_archive(turn, archived=isinstance(message.body, ArchiveWorkflow))
            case UpdateUserData() as update:
                return self._on_update_user_data(turn, update)
            case AllocationMessage() as about:
                return on_allocation_message(turn, about)
            case FiringBegins() as begins:
                return self.firings.on_begins(turn, begins.firing)
            case FiringEnded() as ended:
                return self.firings.on_ended(turn, ended)
            case _:
                return self.roster.on_own_message(turn, message.body)

    async def _handle_alone(self, turn: Turn, message: Message) -> Finish:
        match message.body:
            case Operation() as request:
                return await self.tasks.begin(turn, request)
            case Apply() as apply:
                return await self.tasks.apply(turn, apply)
            case Preview() as preview:
                return self.tasks.start_preview(preview)
            case PreviewReady() as ready:
                return await self.tasks.finish_preview(ready)
            case Explain() as question:
                return self.explainer.start(question)
            case ExplainReady() as looked:
                return await self.explainer.finish(looked)
            case DeleteWorkflow():
                return self._on_delete(turn)
            case CommitEdit() as edit:
                self.tasks.check_editable("jobs update")
                return edit.decide(turn)
            case DisableJobs() | EnableJobs() as request:
                return await self._on_disable(turn, request)
            case MakeUpdate() as update:
                return await self._on_update(turn, update)
            case _:
                raise TypeError(f"no handler for {type(message.body).__name__}")

    async def _on_update(self, turn: Turn, request: MakeUpdate) -> Finish:
        """Compares in this turn, so that nothing changes before the commit; waiting workers are served after it."""
        self.tasks.check_editable("workflows update")
        update = await self.database.read(
            lambda db: find_update(db, self.workflow_id, request.specification, request.expect), long=True
        )
        if not update.differences.count:
            return lambda: (update, None)
        updated = turn.query(lambda db: apply_update(db, update, turn.now_ms))
        turn.redrawn = lambda: updated.value.draft
        turn.after(lambda: self.nursery.start_soon(self.mailbox.post, Nudge()))
        return lambda: (update, updated.value.numbering)

    def _on_delete(self, turn: Turn) -> Finish:
        self.tasks.check_free("workflows delete")
        self.firings.check_idle("workflows delete")
        live = np.flatnonzero(mask_of(LIVE)[self.state.jobs.status])
        if len(live):
            raise live_conflict(self.state, f"workflow {self.workflow_id} has", live)
        turn.query(lambda db: delete_workflow(db, self.workflow_id))
        return lambda: None

    def _on_archive(self, turn: Turn, *, archived: bool) -> Finish:
        self.tasks.check_free("workflows archive" if archived else "workflows unarchive")
        if archived:
            self.firings.check_idle("workflows archive")
        set_archived(turn.draft, archived)
        return lambda: None

    async def _on_disable(self, turn: Turn, request: DisableJobs | EnableJobs) -> Finish:
        disables = isinstance(request, DisableJobs)
        self.tasks.check_editable("jobs disable" if disables else "jobs enable")
        put = disable_jobs if disables else enable_jobs
        if self.state.count < INLINE_JOBS:
            answer = put(turn.draft, request.jobs)
        else:
            answer = await trio.to_thread.run_sync(put, turn.draft, request.jobs)
        return lambda: answer

    def _on_cancel(self, turn: Turn) -> Finish:
        check_not_archived(self.state)
        live = np.flatnonzero(mask_of(LIVE)[self.state.jobs.status])
        self.roster.stops.ask_to_stop(turn, live)
        count = cancel_workflow(turn.draft)
        turn.after(self.tasks.note_cancel)
        return lambda: {"workflow_id": self.workflow_id, "canceled": count}

    def _on_update_user_data(self, turn: Turn, request: UpdateUserData) -> Finish:
        if request.job_id is None:
            self.tasks.check_editable("user-data update")
        index = find_value(self.state, request)
        update_user_data(turn.draft, index, request)
        user_data_id = int(self.state.values.ids.ids[index])
        return lambda: user_data_id
