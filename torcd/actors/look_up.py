"""What has to be looked up before an operation can be planned: files, results, history. Reads only, beside the loop."""

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import trio
from numpy.typing import NDArray

from torcd.actors.messages import ActiveTask
from torcd.core.changes import History
from torcd.core.diagnosis import list_logs, with_tails
from torcd.core.observation import Observation, needs_reading, with_contents
from torcd.core.planning import Known, detects_content, files_to_observe
from torcd.core.selection import Selection
from torcd.core.undo import Step
from torcd.files.assembly import OnProgress
from torcd.files.tails import read_tails
from torcd.operations.operate import find_replaced, load_history, load_steps, select_attempts
from torcd.protocol.recover import Recover
from torcd.protocol.requests import Operation

if TYPE_CHECKING:
    from torcd.actors.workflow import WorkflowActor

Int64 = NDArray[np.int64]


class LookUp:
    """One look at what an operation needs to know; `task` is told of the progress.

    It is made when it is decided on, and sees the state of that moment to its end, whatever the actor loads meanwhile.
    """

    def __init__(self, actor: "WorkflowActor", request: Operation, task: ActiveTask | None = None) -> None:
        self._actor = actor
        self._state = actor.state
        self._paths = actor.paths
        self._request = request
        self._task = task

    async def run(self, files: Int64 | None = None) -> Known:
        """Everything; `files` instead of those that the operation would look at. Raises TorcError."""
        database, workflow_id = self._actor.database, self._actor.workflow_id

        def look(db: sqlite3.Connection) -> tuple[Selection, tuple[Step, ...]]:
            return select_attempts(db, workflow_id, self._request), load_steps(db, workflow_id, self._request)

        selection, undo = await database.read(look, long=isinstance(self._request, Recover))
        if selection.cases:
            files, selection = await self._examine(selection)
        elif files is None:
            files = files_to_observe(self._state, self._request, selection)
        seen = await self._observe(files) if len(files) else Observation()
        replaced = find_replaced(self._state)
        history: History = {}
        if replaced:
            history = await database.read(lambda db: load_history(db, workflow_id, replaced), long=True)
        return Known(seen=seen, selection=selection, history=history, undo=undo)

    async def _examine(self, selection: Selection) -> tuple[Int64, Selection]:
        """The files to observe, and the failures with what their logs tell: for thousands that takes seconds."""
        tails = await read_tails(list_logs(selection.cases))

        def examine() -> tuple[Int64, Selection]:
            told = replace(selection, cases=with_tails(selection.cases, tails))
            return files_to_observe(self._state, self._request, told), told

        return await trio.to_thread.run_sync(examine, abandon_on_cancel=True)

    async def _observe(self, files: Int64) -> Observation:
        """What the files are like; with detection by content also what some of them hold."""
        actor, paths = self._actor, self._paths
        whole = len(files) == len(paths)
        found = await actor.scanner.scan(
            actor.workflow_id, paths, indices=None if whole else files, on_progress=self._tell("scan")
        )
        errors = {int(files[place]): text for place, text in found.errors.items()}
        seen = Observation(files, found.mtime_ns, found.size, errors)
        if not detects_content(self._state, self._request):
            return seen
        read, decides = needs_reading(self._state, seen)
        contents = await actor.scanner.read(paths, files[read], on_progress=self._tell("read"))
        return with_contents(seen, read, decides, contents)

    def _tell(self, phase: str) -> OnProgress:
        def on_progress(done: int, total: int) -> None:
            if self._task is not None:
                self._task.note_progress(phase, done, total)
                news = {"task_id": self._task.task_id, "phase": phase, "done": done, "total": total}
                self._actor.bus.progress(self._actor.workflow_id, news)

        return on_progress
