"""Handlers of `workflows.update` and of the pages of its answer."""

from collections.abc import Mapping
from typing import cast

import trio

from torcd.actors.messages import MakeUpdate
from torcd.actors.supervisor import Supervisor
from torcd.api.session import Handler, Session
from torcd.api.threads import work_in_thread
from torcd.api.update_shelf import UpdateShelf
from torcd.core.difference_entries import show_differences, show_fields
from torcd.operations.create import prepare_specification
from torcd.operations.update_workflow import Update, count_changes, find_update
from torcd.protocol import update as u
from torcd.protocol.requests import Request
from torcd.protocol.specification import Piece
from torcd.storage.create import Numbering
from torcd.storage.database import Database
from torcd.storage.nouns import WORKFLOWS, load_one
from torcd.storage.tasks import find_active


class Updates:
    """What a changed specification is sent to. `expansions` bounds how many are expanded at the same time."""

    def __init__(self, database: Database, supervisor: Supervisor, expansions: trio.CapacityLimiter) -> None:
        self._database = database
        self._supervisor = supervisor
        self._expansions = expansions
        self._shelf = UpdateShelf()

    def handlers(self) -> Mapping[type[Request], Handler]:
        """The table."""
        return {u.UpdateWorkflow: self._update, u.GetUpdate: self._get_page}

    async def _update(self, session: Session, request: u.UpdateWorkflow) -> object:
        pieces = session.uploads.take(request.upload, Piece) if request.upload is not None else []
        workflow_id = request.workflow_id
        workflow = await self._database.read(
            lambda db: load_one(db, WORKFLOWS, "workflow", "id = ?", (workflow_id,), workflow_id)
        )
        async with self._expansions:
            specification = await work_in_thread(
                prepare_specification, request.header, pieces, workflow.submission_directory
            )
            if request.dry_run:
                update, task = await self._database.read(
                    lambda db: (
                        find_update(db, workflow_id, specification, request.expect),
                        find_active(db, workflow_id),
                    ),
                    long=True,
                )
                warnings = []
                if task is not None:
                    warnings.append(
                        f"task {task.task_id} ({task.operation}) is active: an update is refused until it has ended"
                    )
                return self._answer(update, warnings, update.shown, dry_run=True)
            message = MakeUpdate(specification, request.expect)
            done = await self._supervisor.send(workflow_id, message)
            update, numbering = cast(tuple[Update, Numbering | None], done)
            entries = update.shown
            if numbering is not None:
                entries = await trio.to_thread.run_sync(_show_done, update, numbering)
        return self._answer(update, [], entries, dry_run=False)

    def _answer(self, update: Update, warnings: list[str], entries: list[bytes], *, dry_run: bool) -> u.Update:
        token = self._shelf.keep(entries)
        page, following = self._shelf.show(token, 0)
        return u.Update(
            workflow_id=update.present.workflow_id,
            dry_run=dry_run,
            count=update.differences.count,
            plan_digest=update.digest,
            counts=count_changes(update.differences),
            results_removed=sum(update.results.values()),
            header=show_fields(update.differences.header),
            warnings=warnings,
            differences=page,
            next_cursor=following,
            update=token,
        )

    async def _get_page(self, session: Session, request: u.GetUpdate) -> object:
        page, following = self._shelf.show(request.update, request.cursor)
        return {"differences": page, "next_cursor": following}


def _show_done(update: Update, numbering: Numbering) -> list[bytes]:
    """The differences with the ids of what was added."""
    ids = {
        "jobs": numbering.jobs,
        "files": numbering.files,
        "user_data": numbering.user_data,
        "resource_requirements": numbering.requirements,
    }
    return list(show_differences(update.differences, update.specification.expansion, update.results, ids))
