"""Which request is carried out by what: the table of handlers.

A handler is a line or a few: queries read the database or what an actor published, everything else is a message to
the workflow's actor.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

import trio

from torcd.actors.clock import now_ms
from torcd.actors.messages import CommitEdit, Preview
from torcd.actors.supervisor import Supervisor
from torcd.actors.turn import Turn
from torcd.api.actions import Actions
from torcd.api.backups import Backups
from torcd.api.edits import Edits
from torcd.api.explanations import Explanations
from torcd.api.lookups import Lookups
from torcd.api.plan_shelf import PlanShelf
from torcd.api.reports import Reports
from torcd.api.session import Handler, Session
from torcd.api.suggestions import suggest_after
from torcd.api.threads import work_in_thread
from torcd.api.transfers import Transfers
from torcd.api.updates import Updates
from torcd.api.workers import Workers, check_exists
from torcd.operations.create import prepare_workflow
from torcd.operations.edit import prepare_edit
from torcd.operations.update import update_job
from torcd.protocol import model
from torcd.protocol import requests as r
from torcd.protocol.errors import BadRequest, NotFound, Refused, TimedOut, TorcError
from torcd.protocol.recover import Recover
from torcd.protocol.specification import Piece
from torcd.storage import nouns
from torcd.storage.create import find_created, insert_workflow
from torcd.storage.database import Database
from torcd.storage.lists import Listing, load_page
from torcd.storage.tasks import find_active, load_task

T = TypeVar("T")
Answer = dict[str, Any]

OPERATIONS = (
    r.Initialize, r.Reinit, r.Restart, r.ResetStatus, r.ResetJobs, Recover, r.AcceptJobs, r.Undo, r.Prepare,
)  # fmt: skip

CREATES_AT_ONCE = 2
"""Specifications expanded, or exports and imports made, at the same time: each takes a core and much memory."""


class Dispatch:
    """The handlers and what they share."""

    def __init__(
        self,
        database: Database,
        supervisor: Supervisor,
        describe: Callable[[], model.Daemon],
        stop: Callable[[], None],
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._describe = describe
        self._stop = stop
        self._plans = PlanShelf(database)
        self._creates = trio.CapacityLimiter(CREATES_AT_ONCE)
        self._updates = Updates(database, supervisor, self._creates)

    def handlers(self) -> Mapping[type[r.Request], Handler]:
        """The table."""
        table: dict[type[r.Request], Handler] = {
            r.DaemonStatus: self._daemon_status,
            r.DaemonStop: self._daemon_stop,
            r.CreateWorkflow: self._create,
            r.ListWorkflows: self._list_workflows,
            r.GetWorkflow: self._get_workflow,
            r.GetStatus: self._get_status,
            r.CancelWorkflow: self._to_actor,
            r.DeleteWorkflow: self._delete,
            r.GetPreview: self._get_preview,
            r.ListJobs: self._lists("jobs", nouns.JOBS),
            r.GetJob: self._get_job,
            r.UpdateJob: self._update_job,
            r.ListFiles: self._lists("files", nouns.FILES),
            r.ListUserData: self._lists("user_data", nouns.USER_DATA),
            r.GetUserData: self._get_user_data,
            r.UpdateUserData: self._update_user_data,
            r.ListResults: self._list_results,
            r.GetResult: self._get_result,
            r.ListTasks: self._lists("tasks", nouns.TASKS),
            r.GetTask: self._get_task,
            r.GetTaskPlan: self._get_task_plan,
            r.WaitTask: self._wait_task,
            r.CancelTask: self._cancel_task,
            r.ListEvents: self._lists("events", nouns.EVENTS),
            r.Subscribe: self._subscribe,
            r.Unsubscribe: self._unsubscribe,
        }
        for operation in OPERATIONS:
            table[operation] = self._operate
        for others in (
            Actions(self._database),
            Backups(self._database),
            Edits(self._database, self._supervisor),
            Explanations(self._database, self._supervisor),
            Lookups(self._database),
            Reports(self._database),
            Transfers(self._database, self._creates),
            Workers(self._database, self._supervisor),
            self._updates,
        ):
            table |= others.handlers()
        return table

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._database.read(work)

    # ---- the daemon ----

    async def _daemon_status(self, session: Session, request: r.DaemonStatus) -> object:
        return self._describe()

    async def _daemon_stop(self, session: Session, request: r.DaemonStop) -> object:
        self._stop()
        return {"stopping": True}

    # ---- workflows ----

    async def _create(self, session: Session, request: r.CreateWorkflow) -> object:
        if request.request_key is not None and not request.dry_run:
            created = await self._read(lambda db: find_created(db, request.request_key))
            if created is not None:
                return await self._created(created, {})
        pieces = session.uploads.take(request.upload, Piece) if request.upload is not None else []
        async with self._creates:
            new = await work_in_thread(prepare_workflow, request, pieces, now_ms())
            counts = {
                "jobs": len(new.expansion.jobs),
                "files": len(new.expansion.files),
                "user_data": len(new.expansion.user_data),
                "scripts": len({path for _, path in new.scripts}),
            }
            if request.dry_run:
                return {"counts": counts, "dry_run": True}
            workflow_id = await self._database.commit(
                lambda db: find_created(db, request.request_key) or insert_workflow(db, new)
            )
        return await self._created(workflow_id, counts)

    async def _created(self, workflow_id: int, counts: dict[str, int]) -> Answer:
        return {**_fields(await self._load_workflow(workflow_id)), "counts": counts, "dry_run": False}

    async def _load_workflow(self, workflow_id: int) -> model.Workflow:
        return await self._read(lambda db: nouns.load_workflow(db, workflow_id))

    async def _list_workflows(self, session: Session, request: r.ListWorkflows) -> object:
        return await self._list("workflows", nouns.WORKFLOWS, (), request)

    async def _get_workflow(self, session: Session, request: r.GetWorkflow) -> object:
        return await self._load_workflow(request.workflow_id)

    async def _get_status(self, session: Session, request: r.GetStatus) -> object:
        workflow_id = request.workflow_id
        published = self._supervisor.published(workflow_id)

        def work(db: sqlite3.Connection) -> tuple[model.Workflow, model.Task | None, dict[str, int]]:
            workflow = nouns.load_workflow(db, workflow_id)
            counts = nouns.count_statuses(db, workflow_id) if published is None else published.counts
            return workflow, find_active(db, workflow_id), counts

        workflow, task, counts = await self._read(work)
        open_jobs = sum(counts.get(name, 0) for name in model.STATUSES[:5])
        return model.WorkflowStatus(
            workflow_id=workflow_id,
            run_id=workflow.run_id if published is None else published.run_id,
            total=sum(counts.values()),
            counts=counts,
            complete=not open_jobs,
            is_canceled=workflow.is_canceled if published is None else published.is_canceled,
            is_archived=workflow.is_archived,
            active_task=task,
        )

    async def _to_actor(self, session: Session, request: r.WorkflowRequest) -> object:
        await self._read(lambda db: nouns.check_workflow(db, request.workflow_id))
        return await self._supervisor.send(request.workflow_id, request)

    async def _delete(self, session: Session, request: r.DeleteWorkflow) -> object:
        workflow = await self._load_workflow(request.workflow_id)
        await self._supervisor.send(request.workflow_id, request)
        return workflow

    # ---- operations and tasks ----

    async def _operate(self, session: Session, request: r.Operation) -> object:
        workflow_id = request.workflow_id
        await self._read(lambda db: nouns.check_workflow(db, workflow_id))
        if request.dry_run:
            return await self._preview(request)
        subscription = None
        if request.follow:
            subscription = await session.subscribe(workflow_id, None, True)
        try:
            begun = cast(tuple[int, bool] | None, await self._supervisor.send(workflow_id, request))
        except TorcError:
            _end(session, subscription)
            raise
        if begun is None:
            _end(session, subscription)
            return {"task": None}
        task_id, existing = begun
        task = await self._read(lambda db: load_task(db, task_id, existing=existing))
        return {**_fields(task), "subscription": subscription}

    async def _preview(self, request: r.Operation) -> object:
        preview = Preview(request)
        await self._supervisor.send(request.workflow_id, preview)
        planned = await preview.reply.wait()
        shown = await self._plans.show_new(planned)
        if planned.outlook is not None:
            shown["plan"]["slurm_jobs"] = await suggest_after(self._database, request.workflow_id, planned.outlook)
        return shown

    async def _get_preview(self, session: Session, request: r.GetPreview) -> object:
        return await self._plans.show_preview(request.preview, request.cursor, request.limit)

    async def _get_task(self, session: Session, request: r.GetTask) -> object:
        return await self._read(lambda db: load_task(db, request.task_id))

    async def _get_task_plan(self, session: Session, request: r.GetTaskPlan) -> object:
        return await self._plans.show_task(request.task_id, request.cursor, request.limit)

    async def _wait_task(self, session: Session, request: r.WaitTask) -> object:
        await self._read(lambda db: load_task(db, request.task_id))  # an unknown one leaves nothing behind
        ended = self._supervisor.task_end(request.task_id)
        task = await self._read(lambda db: load_task(db, request.task_id))
        if task.status in model.TASK_ENDED:
            self._supervisor.note_task_end(request.task_id)
            return task
        number = await session.subscribe(task.workflow_id, None, True) if request.follow else None
        with trio.move_on_after(_seconds(request.timeout_s)) as wait:
            await ended.wait()
        _end(session, number)
        if wait.cancelled_caught:
            raise TimedOut(
                f"task {request.task_id} ({task.operation}) is still {task.status} after {request.timeout_s:g} s; "
                "it goes on",
                task_id=request.task_id,
                status=task.status,
            )
        return await self._read(lambda db: load_task(db, request.task_id))

    async def _cancel_task(self, session: Session, request: r.CancelTask) -> object:
        task = await self._read(lambda db: load_task(db, request.task_id))
        canceled = await self._supervisor.send(task.workflow_id, request)
        task = await self._read(lambda db: load_task(db, request.task_id))
        if not canceled:
            raise Refused(
                f"task {request.task_id} has {task.status} already: nothing to cancel",
                task_id=request.task_id,
                status=task.status,
            )
        return task

    # ---- lists ----

    def _lists(self, plural: str, listing: Listing[Any]) -> Handler:
        async def handler(session: Session, request: r.ListRequest) -> object:
            await self._read(lambda db: nouns.check_workflow(db, request.workflow_id))
            return await self._list(plural, listing, (request.workflow_id,), request)

        return handler

    async def _list_results(self, session: Session, request: r.ListResults) -> object:
        listing = nouns.ALL_RESULTS if request.all_runs else nouns.CURRENT_RESULTS
        return await self._lists("results", listing)(session, request)

    async def _list(
        self,
        plural: str,
        listing: Listing[Any],
        arguments: tuple[object, ...],
        request: r.ListRequest | r.ListWorkflows,
    ) -> Answer:
        rows, cursor = await self._read(
            lambda db: load_page(db, listing, arguments, request.filters, request.cursor, request.limit)
        )
        return {plural: rows, "next_cursor": cursor}

    # ---- jobs, user data, results ----

    async def _get_job(self, session: Session, request: r.GetJob) -> object:
        job_id = request.job_id
        return await self._read(lambda db: nouns.load_one(db, nouns.JOBS, "job", "j.id = ?", (job_id,), job_id))

    async def _update_job(self, session: Session, request: r.UpdateJob) -> object:
        workflow_id = await self._read(lambda db: nouns.find_owner(db, "job", request.job_id))
        edit = await prepare_edit(self._database, workflow_id, request)

        def decide(turn: Turn) -> Callable[[], object]:
            update_job(turn.draft, request, edit.definition, edit.requirement_id)
            if edit.write_scripts is not None:
                turn.query(edit.write_scripts)
            return lambda: None

        await self._supervisor.send(workflow_id, CommitEdit(decide, changes_files=edit.write_scripts is not None))
        return await self._get_job(session, r.GetJob(job_id=request.job_id))

    async def _find_user_data(self, request: r.GetUserData | r.UpdateUserData) -> model.UserData:
        if request.user_data_id is not None:
            condition, values = "u.id = ?", (request.user_data_id,)
            wanted: object = request.user_data_id
        elif request.workflow_id is not None and request.name is not None:
            workflow_id = request.workflow_id
            await self._read(lambda db: nouns.check_workflow(db, workflow_id))
            condition, values = "u.workflow_id = ? AND u.name = ?", (workflow_id, request.name)  # type: ignore[assignment]  # of either length
            wanted = request.name
        else:
            raise BadRequest("name user data by user_data_id, or by workflow_id and name", path="$")
        return await self._read(lambda db: nouns.load_one(db, nouns.USER_DATA, "user data", condition, values, wanted))

    async def _get_user_data(self, session: Session, request: r.GetUserData) -> object:
        return await self._find_user_data(request)

    async def _update_user_data(self, session: Session, request: r.UpdateUserData) -> object:
        found = await self._find_user_data(request)
        await self._supervisor.send(found.workflow_id, request)
        return await self._find_user_data(request)

    async def _get_result(self, session: Session, request: r.GetResult) -> object:
        wanted = request.result_id
        return await self._read(
            lambda db: nouns.load_one(db, nouns.ALL_RESULTS, "result", "r.id = ?", (wanted,), wanted)
        )

    # ---- events ----

    async def _subscribe(self, session: Session, request: r.Subscribe) -> object:
        await check_exists(self._database, self._supervisor, request.workflow_id)
        number = await session.subscribe(request.workflow_id, request.from_seq, request.progress)
        return {"subscription": number}

    async def _unsubscribe(self, session: Session, request: r.Unsubscribe) -> object:
        session.unsubscribe(request.subscription)
        return {}


def _end(session: Session, subscription: int | None) -> None:
    if subscription is not None:
        with suppress(NotFound):  # it ended with its workflow
            session.unsubscribe(subscription)


def _fields(answer: model.Answer) -> Answer:
    return {name: getattr(answer, name) for name in answer.__struct_fields__}


def _seconds(timeout_s: float | None) -> float:
    return float("inf") if timeout_s is None else max(timeout_s, 0)
