"""The task slot of one workflow: at most one operation at a time (SEMANTICS §6).

An operation has two phases. Its preparation only reads, and runs beside the actor's loop; applying it is a message,
planned on the state as it is then and written in one transaction with the end of the task.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import trio

from torcd.actors.clock import now_ms
from torcd.actors.look_up import LookUp
from torcd.actors.mailbox import Message
from torcd.actors.messages import ActiveTask, Apply, ExplainReady, Preparation, Preview, PreviewReady
from torcd.actors.turn import Turn
from torcd.core.conflicts import describe_active, describe_differing
from torcd.core.delta import TaskBegin, TaskEnd
from torcd.core.observation import drop_outdated
from torcd.core.planning import needs_preparing
from torcd.core.refusals import check_not_archived
from torcd.core.status import LIVE, mask_of
from torcd.operations.cancel import cancel_workflow
from torcd.operations.operate import (
    Planned,
    apply_plan,
    plan_operation,
)
from torcd.protocol.errors import Conflict, TorcError
from torcd.protocol.requests import Initialize, Operation, Prepare
from torcd.storage.rows import format_time
from torcd.storage.tasks import begin_or_find, find_by_key, join_task

if TYPE_CHECKING:
    from torcd.actors.workflow import Finish, WorkflowActor

INLINE_JOBS = 5_000
"""A workflow of more jobs is planned in a thread: on the event loop it would be felt."""


class TaskSlot:
    """Begins, prepares, applies and cancels a workflow's tasks, and makes dry runs."""

    def __init__(self, actor: "WorkflowActor") -> None:
        self._actor = actor
        self.active: ActiveTask | None = None
        self.previews: set[Preview] = set()
        """Dry runs under way: somebody waits for each of them."""

    # ---- begin ----

    async def begin(self, turn: Turn, request: Operation) -> "Finish":
        """Takes the slot; or answers with the task that does the same, or did; or refuses (SEMANTICS 6.1 to 6.4).

        The answer is (task id, whether it was there already), or None when there is nothing to prepare.
        """
        repeated = await self._find_repeated(request)
        if repeated is not None:
            return lambda: (repeated, True)
        check_not_archived(self._actor.state)
        request = self._settle(request)
        active = self.active
        if active is not None:
            if active.operation == request.NAME and active.effect == request.effect():
                if (key := request.request_key) is not None:
                    turn.query(lambda db: join_task(db, active.task_id, key))
                return lambda: (active.task_id, True)
            raise self._conflict(request.NAME, differing=_differing(active, request))
        if isinstance(request, Prepare) and not needs_preparing(self._actor.state):
            return lambda: None
        begin = TaskBegin(
            operation=request.NAME,
            params=msgspec.json.encode(request.effect()).decode(),
            requested_by=request.requested_by,
            request_key=request.request_key,
            at_ms=turn.now_ms,
        )
        found = turn.query(lambda db: begin_or_find(db, self._actor.workflow_id, begin))

        def finish() -> tuple[int, bool]:
            task_id, existing = found.value
            if existing:  # made since it was looked for, and so for another workflow
                raise _key_conflict(request, task_id)
            self.active = ActiveTask(
                task_id=task_id,
                operation=request.NAME,
                effect=request.effect(),
                requested_by=request.requested_by,
                created_at_ms=turn.now_ms,
            )
            self._actor.nursery.start_soon(self._run_task, self.active, request)
            return task_id, False

        return finish

    async def _find_repeated(self, request: Operation) -> int | None:
        """The task that this very request has made already; raises Conflict when another one has used its key."""
        key = request.request_key
        task = None if key is None else await self._actor.database.read(lambda db: find_by_key(db, key))
        if task is None:
            return None
        then = _fill_in(request, is_new=task.operation == Initialize.NAME, detect=task.params.get("detect"))
        if (task.workflow_id, task.operation, task.params) != (request.workflow_id, then.NAME, then.effect()):
            raise _key_conflict(request, task.task_id, operation=task.operation, params=task.params)
        return task.task_id

    def _settle(self, request: Operation) -> Operation:
        state = self._actor.state
        return _fill_in(request, is_new=state.run_id == 0, detect=state.detect)

    def note_cancel(self) -> None:
        """The workflow was canceled: so is what the active task, which was asked for before, makes runnable."""
        if self.active is not None:
            self.active.outlived_cancel = True

    def check_editable(self, what: str) -> None:
        """Refuses an edit of an archived workflow, or while a task is active."""
        check_not_archived(self._actor.state)
        self.check_free(what)

    def check_free(self, what: str) -> None:
        """Refuses an edit while a task is active (SEMANTICS 6.3)."""
        if self.active is not None:
            raise self._conflict(what)

    def _conflict(self, what: str, **data: Any) -> Conflict:
        active = self.active
        assert active is not None
        created_at = format_time(active.created_at_ms)
        told = describe_active(active.operation, active.effect, requested_by=active.requested_by, at=created_at)
        differing = data.get("differing", {})
        differs = "" if differing.keys() <= {"operation"} else f", and differs in {describe_differing(differing)}"
        return Conflict(
            f"{what} is refused: task {active.task_id} ({told}) is active on workflow {self._actor.workflow_id}"
            f"{differs}. Wait for it with `tasks wait {active.task_id}`",
            workflow_id=self._actor.workflow_id,
            task_id=active.task_id,
            operation=active.operation,
            params=active.effect,
            requested_by=active.requested_by,
            created_at=created_at,
            **data,
        )

    # ---- prepare: reads only, beside the loop ----

    async def _run_task(self, task: ActiveTask, request: Operation) -> None:
        with task.scope:
            preparation = await self._prepare(request, task)
            await self._actor.mailbox.post(Apply(task, preparation))

    async def _run_preview(self, preview: Preview, request: Operation) -> None:
        preparation = await self._prepare(request, None)
        await self._actor.mailbox.post(PreviewReady(preview, preparation))

    async def _prepare(self, request: Operation, task: ActiveTask | None) -> Preparation:
        state = self._actor.state
        preparation = Preparation(request, state.version_counter, state, state.files.mtime_ns.copy())
        try:
            preparation.known = await LookUp(self._actor, request, task).run()
        except TorcError as error:
            preparation.error = error
        return preparation

    # ---- plan and apply: messages of the actor ----

    async def apply(self, turn: Turn, apply: Apply) -> "Finish":
        """Plans and applies; raises what the operation is refused with."""
        if apply.task is not self.active:
            return lambda: None  # canceled after it had been prepared
        planned = await self._plan(apply.preparation)
        is_canceled = apply.task.outlived_cancel
        live = np.flatnonzero(mask_of(LIVE)[self._actor.state.jobs.status])
        self._actor.roster.stops.ask_to_stop(turn, live if is_canceled else planned.plan.stopped)

        def write() -> None:
            apply_plan(turn.draft, planned, apply.task.task_id)
            if is_canceled:  # after the operation had been asked for: what it has made runnable is canceled, too
                cancel_workflow(turn.draft)

        if self._actor.state.count < INLINE_JOBS:
            write()
        else:
            await trio.to_thread.run_sync(write)
        turn.after(lambda: self._free(apply.task))
        return lambda: None

    async def _plan(self, preparation: Preparation) -> Planned:
        if preparation.error is not None:
            raise preparation.error
        state = self._actor.state

        def plan() -> Planned:
            known = preparation.known
            seen = drop_outdated(state, known.seen, preparation.counter, preparation.mtime_ns)
            return plan_operation(state, preparation.request, replace(known, seen=seen))

        if state.count < INLINE_JOBS:
            return plan()
        return await trio.to_thread.run_sync(plan)

    async def on_failed(self, message: Message, error: TorcError) -> None:
        """Tells whoever waits that a message handled alone was refused; ends its task."""
        match message.body:
            case Apply() as apply:
                message.reply.succeed(None)
                await self._fail(apply.task, error)
            case PreviewReady() as ready:
                self.previews.discard(ready.preview)
                ready.preview.reply.fail(error)
                message.reply.succeed(None)
            case ExplainReady() as looked:
                self._actor.explainer.on_failed(looked, error)
                message.reply.succeed(None)
            case _:
                message.reply.fail(error)

    async def _fail(self, task: ActiveTask, error: TorcError) -> None:
        turn = Turn(self._actor.state, now_ms())
        self._note_end(
            turn,
            TaskEnd(
                task_id=task.task_id,
                status="failed",
                at_ms=turn.now_ms,
                error=error.message,
                error_code=error.code,
                error_data=msgspec.json.encode(error.data).decode(),
            ),
            task,
        )
        await turn.commit(self._actor.database)
        self._actor.conclude(turn)

    def on_cancel(self, turn: Turn, task_id: int) -> "Finish":
        """Cancels the task while it prepares; the answer says whether it did."""
        active = self.active
        if active is None or active.task_id != task_id or turn.is_ending(active):
            return lambda: False
        turn.end(active)
        self._note_end(turn, TaskEnd(task_id=task_id, status="canceled", at_ms=turn.now_ms), active)
        turn.after(active.scope.cancel)
        return lambda: True

    def _note_end(self, turn: Turn, end: TaskEnd, task: ActiveTask) -> None:
        turn.draft.write(end)
        turn.draft.notify("task_ended", {"task_id": end.task_id, "status": end.status})
        turn.after(lambda: self._free(task))

    def _free(self, task: ActiveTask) -> None:
        self.active = None
        self._actor.on_task_end(task.task_id)

    # ---- dry runs ----

    def start_preview(self, preview: Preview) -> "Finish":
        """Starts a dry run beside the loop; its own reply gets the plan."""
        check_not_archived(self._actor.state)
        request = self._settle(preview.request)
        self.previews.add(preview)
        self._actor.nursery.start_soon(self._run_preview, preview, request)
        return lambda: None

    async def finish_preview(self, ready: PreviewReady) -> "Finish":
        """Plans on the committed state; raises what the real operation would be refused with."""
        if ready.preparation.state is not self._actor.state:  # it was loaded anew meanwhile: look again
            self._actor.nursery.start_soon(self._run_preview, ready.preview, ready.preparation.request)
            return lambda: None
        planned = await self._plan(ready.preparation)
        if self.active is not None:
            warning = (
                f"task {self.active.task_id} ({self.active.operation}) is active: the plan is made on the state "
                "before it"
            )
            summary = msgspec.structs.replace(planned.summary, warnings=[*planned.summary.warnings, warning])
            planned = msgspec.structs.replace(planned, summary=summary)

        def finish() -> None:
            self.previews.discard(ready.preview)
            ready.preview.reply.succeed(planned)

        return finish


def _fill_in(request: Operation, *, is_new: bool, detect: str | None) -> Operation:
    """The request with a workflow's own defaults for what it leaves open (SEMANTICS 6.2).

    The first `prepare` of a workflow is its `initialize`.
    """
    if isinstance(request, Prepare) and is_new:
        return Initialize(**msgspec.structs.asdict(request))
    if getattr(request, "detect", "") is None:
        return msgspec.structs.replace(request, detect=detect)
    return request


def _key_conflict(request: Operation, task_id: int, **data: Any) -> Conflict:
    return Conflict(
        f"request key {request.request_key!r} belongs to task {task_id}, which another request has made: use a new key",
        task_id=task_id,
        **data,
    )


def _differing(active: ActiveTask, request: Operation) -> dict[str, Any]:
    """The parameters in which a request differs from the active task: name → [active, requested]."""
    if active.operation != request.NAME:
        return {"operation": [active.operation, request.NAME]}
    wanted = request.effect()
    return {name: [active.effect[name], wanted[name]] for name in wanted if active.effect[name] != wanted[name]}
