"""One workflow in a database in memory, a fake disk, and the operations on them without actors.

Every step does what the actor does, in its order: look, decide, write one transaction. After each of them
the state in memory can be compared with what the database would give (`check`).
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
import numpy as np
from builders import insert, new_specification, open_memory
from fakes import FakeDisk

from torcd.core.changes import definition_at
from torcd.core.delta import TaskBegin
from torcd.core.draft import Draft
from torcd.core.fingerprint import Definition, read_definition
from torcd.core.observation import Observation, needs_reading, with_contents
from torcd.core.placement import ReadyQueue, Room
from torcd.core.plan import unpack_plan
from torcd.core.planning import Known, detects_content, files_to_observe
from torcd.core.state import Ids, State
from torcd.core.status import Status, StatusReason
from torcd.operations.cancel import cancel_workflow
from torcd.operations.launch import load_launches
from torcd.operations.operate import (
    Planned,
    apply_plan,
    find_replaced,
    load_history,
    load_steps,
    plan_operation,
    select_attempts,
)
from torcd.operations.report import Reported, hand_out, judge_doubtful, lose_worker, take_report
from torcd.operations.update import find_requirement, load_definition, update_job, update_user_data
from torcd.operations.update_workflow import Update, apply_update, find_update
from torcd.protocol.content import Content
from torcd.protocol.model import PlanJob
from torcd.protocol.requests import Operation, Undo, UpdateJob, UpdateUserData
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, Capacity, JobLaunch, OutputSeen, RefusedReport
from torcd.storage.create import NewWorkflow
from torcd.storage.load import load_state
from torcd.storage.plans import show_page
from torcd.storage.save import begin_task, keys_of, save_delta


def see_output(file_id: int, seen: Content | None, *, reads_content: bool) -> OutputSeen:
    """What a worker reports of an output."""
    if seen is None:
        return OutputSeen(file_id=file_id)
    content = {"digest": seen.digest.hex(), "is_racy": seen.is_racy} if reads_content else {}
    return OutputSeen(file_id=file_id, mtime_ns=seen.mtime_ns, size=seen.size, **content)


EVERYTHING = Room(2**31, None, None, None)


class Workbench:
    """A workflow, its database and its disk. Close it."""

    def __init__(self, new: NewWorkflow, disk: FakeDisk | None = None, db: sqlite3.Connection | None = None) -> None:
        self.db = db or open_memory()
        self.disk = disk or FakeDisk()
        self.workflow_id = insert(self.db, new)
        self.now_ms = 1_000_000
        self.state = load_state(self.db, self.workflow_id)
        self.products: dict[str, str] = {}
        """What jobs write into some of their outputs; into others something new every time."""
        self.answers: dict[str, Any] = {}
        """What jobs write into some of their user data."""
        self._reads_content: dict[tuple[int, int], bool] = {}

    def close(self) -> None:
        """Closes the database."""
        self.db.close()

    # ---- names ----

    def names(self) -> dict[int, str]:
        """The name of each job, by id."""
        return dict(self.db.execute("SELECT id, name FROM job WHERE workflow_id = ?", (self.workflow_id,)))

    def id(self, name: str, table: str = "job") -> int:
        """The id of a job, a file or a user data."""
        sql = f"SELECT id FROM {table} WHERE workflow_id = ? AND name = ?"
        return int(self.db.execute(sql, (self.workflow_id, name)).fetchone()[0])

    def index(self, name: str) -> int:
        """The index of a job in the state."""
        return self.state.jobs.ids.find_one(self.id(name))

    def status(self) -> dict[str, str]:
        """The status of each job, as users see it."""
        names = self.names()
        pairs = zip(self.state.jobs.ids.ids.tolist(), self.state.jobs.status.tolist(), strict=True)
        return {names[job_id]: Status(status).name.lower() for job_id, status in pairs}

    def reason(self, name: str) -> StatusReason:
        """The status reason of a job."""
        return StatusReason(int(self.state.jobs.reason[self.index(name)]))

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        return self.db.execute(sql, values).fetchall()

    def dump(self) -> list[str]:
        """All of the database, to find out whether anything was written."""
        return list(self.db.iterdump())

    # ---- one transaction ----

    def change(self, decide: Callable[[Draft], Any]) -> Any:
        """Has `decide` change the state, writes that, and returns what it returned."""
        self.now_ms += 1_000
        draft = Draft(self.state, self.now_ms)
        value = decide(draft)
        self._commit(draft)
        return value

    def _commit(self, draft: Draft) -> None:
        delta = draft.finish()
        with self.db:
            self.db.execute("BEGIN IMMEDIATE")
            if not delta.is_empty:
                save_delta(self.db, keys_of(self.state), delta)

    def check(self) -> None:
        """Fails unless the state in memory is what a daemon that starts now would load."""
        assert_same_state(self.state, load_state(self.db, self.workflow_id))

    # ---- operations ----

    def observe(self, request: Operation) -> Observation:
        """What the disk says about the files that an operation looks at."""
        selection = select_attempts(self.db, self.workflow_id, request)
        files = files_to_observe(self.state, request, selection)
        paths = [self.state.files.path(index).decode() for index in files.tolist()]
        seen = self.disk.observe(paths)
        errors = {int(files[place]): text for place, text in seen.errors.items()}
        observed = Observation(files, seen.mtime_ns, seen.size, errors)
        if not detects_content(self.state, request):
            return observed
        read, decides = needs_reading(self.state, observed)
        chosen = [self.state.files.path(index).decode() for index in files[read].tolist()]
        return with_contents(observed, read, decides, self.disk.read(chosen))

    def plan(self, request: Operation, seen: Observation | None = None) -> Planned:
        """The plan of an operation, or what it is refused with."""
        known = Known(
            seen=seen or self.observe(request),
            selection=select_attempts(self.db, self.workflow_id, request),
            history=load_history(self.db, self.workflow_id, find_replaced(self.state)),
            undo=load_steps(self.db, self.workflow_id, request),
        )
        return plan_operation(self.state, request, known)

    def show(self, planned: Planned) -> list[PlanJob]:
        """The jobs of a plan as users see them."""
        return show_page(self.db, unpack_plan(planned.packed), 0, 10_000)[0]

    def operate(self, kind: type[Operation], **parameters: Any) -> Planned:
        """Carries an operation out."""
        request = kind(workflow_id=self.workflow_id, **parameters)
        planned = self.plan(request)
        with self.db:
            task = begin_task(self.db, self.workflow_id, TaskBegin(request.NAME, "{}", "tester", None, self.now_ms))
        self.change(lambda draft: apply_plan(draft, planned, task))
        if kind is Undo:  # as the actor does
            self.state = load_state(self.db, self.workflow_id)
        self.check()
        return planned

    def preview(self, kind: type[Operation], **parameters: Any) -> Planned:
        """Plans an operation; nothing is written, which is checked."""
        before = self.dump()
        planned = self.plan(kind(workflow_id=self.workflow_id, **parameters))
        assert self.dump() == before
        self.check()
        return planned

    def reasons(self, planned: Planned) -> dict[str, list[dict[str, Any]]]:
        """The reasons of each job of a plan, in the order of the plan."""
        return {each.name: each.reasons for each in self.show(planned)}

    # ---- workers ----

    def claim(self, worker: int = 1, jobs: int = 1_000, **capacity: Any) -> list[JobLaunch]:
        """Has a worker claim jobs."""
        claim = self.change(lambda draft: hand_out(draft, worker, Capacity(jobs=jobs, **capacity), EVERYTHING))
        launches = [] if claim is None else load_launches(self.db, self.state, claim)
        self._reads_content |= {(launch.job_id, launch.attempt_id): launch.reads_content for launch in launches}
        return launches

    def report(
        self,
        worker: int = 1,
        *,
        started: Sequence[AttemptRef] = (),
        ended: Sequence[AttemptEnd] = (),
        returned: Sequence[AttemptRef] = (),
    ) -> list[RefusedReport]:
        """Takes a worker's report; what was refused of it."""
        reported: Reported = self.change(
            lambda draft: take_report(draft, worker, "host", list(started), list(ended), list(returned))
        )
        judged = judge_doubtful(self.db, self.state, worker, reported.doubtful) if reported.doubtful else []
        return reported.refused + judged

    def attempt(self, name: str) -> AttemptRef:
        """The latest attempt of a job."""
        return AttemptRef(job_id=self.id(name), attempt_id=int(self.state.jobs.attempt[self.index(name)]))

    def end(self, name: str, code: int = 0, **fields: Any) -> AttemptEnd:
        """The end of a job's latest attempt, its outputs as the disk shows them now."""
        ref = self.attempt(name)
        outputs = []
        for row in self.rows(
            "SELECT f.id, f.path FROM job_output o JOIN file f ON f.id = o.file_id WHERE o.job_id = ?", ref.job_id
        ):
            reads_content = code == 0 and self._reads_content.get((ref.job_id, ref.attempt_id), False)
            outputs.append(see_output(row[0], self.disk.content(row[1]), reads_content=reads_content))
        given: dict[str, Any] = {"started_at_ms": self.now_ms, "ended_at_ms": self.now_ms + 500, "exec_time_s": 0.5}
        return AttemptEnd(
            job_id=ref.job_id, attempt_id=ref.attempt_id, return_code=code, outputs=outputs, **(given | fields)
        )

    def write_outputs(self, name: str, size: int = 10) -> None:
        """What a job's process does."""
        for file, path in self.rows(
            "SELECT f.name, f.path FROM job_output o JOIN file f ON f.id = o.file_id WHERE o.job_id = ?", self.id(name)
        ):
            self.disk.write(path, size=size, content=self.products.get(file))

    def write_answers(self, name: str) -> None:
        """What a running job writes of its user data."""
        ref = self.attempt(name)
        for index in self.state.values.outputs_of.get(self.index(name), ()):
            value = self.state.values.names[index]
            if value in self.answers:
                self.set_value(value, self.answers[value], job_id=ref.job_id, attempt_id=ref.attempt_id)

    def finish(self, *names: str, code: int = 0, worker: int = 1, writes: bool = True) -> None:
        """Has claimed jobs start, write their outputs and end."""
        for name in names:
            self.report(worker, started=[self.attempt(name)])
            if writes and code == 0:
                self.write_outputs(name)
                self.write_answers(name)
            assert self.report(worker, ended=[self.end(name, code)]) == []

    def run_all(self, *, failing: Iterable[str] = (), worker: int = 1) -> list[str]:
        """Runs whatever is or becomes ready; the names in the order in which they ran."""
        ran = []
        while launches := self.claim(worker):
            for launch in launches:
                ran.append(launch.name)
                self.finish(launch.name, code=int(launch.name in failing), worker=worker)
        self.check()
        return ran

    def lose(self, worker: int = 1) -> None:
        """Ends a worker's lease."""
        self.change(lambda draft: lose_worker(draft, worker, "host"))

    def cancel(self) -> int:
        """Cancels the workflow."""
        return int(self.change(cancel_workflow))

    # ---- edits ----

    def edit(self, name: str, **changes: Any) -> None:
        """Edits a job."""
        request = UpdateJob(job_id=self.id(name), **changes)
        needed = changes.get("resource_requirements")
        requirement = None if needed is None else find_requirement(self.db, self.workflow_id, needed)
        definition = load_definition(self.db, self.workflow_id, request.job_id)
        self.change(lambda draft: update_job(draft, request, definition, requirement))

    def compare(self, *arguments: Any, expect: str | None = None, **options: Any) -> Update:
        """What an update to what `builders.new_specification` takes would do; nothing is written."""
        before = self.dump()
        update = find_update(self.db, self.workflow_id, new_specification(*arguments, **options), expect)
        assert self.dump() == before
        return update

    def update(self, *arguments: Any, expect: str | None = None, **options: Any) -> Update:
        """Updates the workflow to what `builders.new_specification` takes."""
        update = self.compare(*arguments, expect=expect, **options)
        self.now_ms += 1_000
        if update.differences.count:
            with self.db:
                self.db.execute("BEGIN IMMEDIATE")
                self.state = apply_update(self.db, update, self.now_ms).draft.state
        self.check()
        return update

    def set_value(self, name: str, data: Any, **writer: Any) -> None:
        """Writes user data."""
        request = UpdateUserData(workflow_id=self.workflow_id, name=name, data=data, **writer)
        index = self.state.values.names.index(name)
        self.change(lambda draft: update_user_data(draft, index, request))

    def events(self) -> list[tuple[int, str, dict[str, Any]]]:
        """The workflow's log."""
        rows = self.rows("SELECT seq, kind, data FROM event WHERE workflow_id = ? ORDER BY seq", self.workflow_id)
        return [(seq, kind, json.loads(data)) for seq, kind, data in rows]


COMPARED_APART = {"ready", "definitions"}


def assert_same_state(left: State, right: State, held_back: Collection[int] = ()) -> None:
    """Fails at the first field in which two states differ.

    The queues must hand out the same jobs, and the definitions tell the same changes. `held_back`: ids of jobs that may
    be missing in the left queue until they may be handed out again.
    """
    for field in fields(State):
        if field.name not in COMPARED_APART:
            _assert_same(field.name, getattr(left, field.name), getattr(right, field.name))
    assert _edits(left) == _edits(right)
    left_jobs, right_jobs = (set(_queued(state.ready, state)) for state in (left, right))
    ready = set(np.flatnonzero(left.jobs.status == Status.READY).tolist())
    held = set(np.flatnonzero(np.isin(left.jobs.ids.ids, list(held_back))).tolist())
    assert right_jobs == ready
    assert ready - held <= left_jobs


def _edits(state: State) -> dict[int, tuple[Definition, Definition]]:
    """Of each job that was edited since its last attempt began: what it ran with, and what it is."""
    counters = state.jobs.counter.tolist()
    return {
        job: (definition_at(versions, counters[job]), read_definition(versions[-1][1]))
        for job, versions in state.definitions.items()
        if 0 <= counters[job] < versions[-1][0]
    }


def _queued(queue: ReadyQueue, state: State) -> list[int]:
    """All that a queue holds, without taking anything out."""
    return [job for bucket in queue.buckets.values() for job in [*bucket.block[bucket.place :].tolist(), *bucket.later]]


def _assert_same(where: str, left: object, right: object) -> None:
    if isinstance(left, Ids):
        left, right = left.ids, right.ids  # type: ignore[attr-defined]
    if isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, where  # type: ignore[attr-defined]
        if not np.array_equal(left, right):  # several times faster than the next line
            np.testing.assert_array_equal(left, right, err_msg=where)
    elif is_dataclass(left) and type(left).__eq__ is not object.__eq__ and fields(left):
        for field in fields(left):
            _assert_same(f"{where}.{field.name}", getattr(left, field.name), getattr(right, field.name))
    elif where == "actions":
        assert len(left) == len(right), where  # type: ignore[arg-type]
        for index, pair in enumerate(zip(left, right, strict=True)):  # type: ignore[call-overload]
            _assert_same(f"{where}[{index}]", *pair)
    elif where == "values.inputs":
        assert sorted(left) == sorted(right), where  # type: ignore[type-var,call-overload]
    elif isinstance(left, dict) and where == "values.outputs_of":
        assert {k: sorted(v) for k, v in left.items()} == {k: sorted(v) for k, v in right.items()}  # type: ignore[attr-defined]
    else:
        assert left == right, f"{where}: {left!r} != {right!r}"


def rows_of(db: sqlite3.Connection, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """What a database says."""
    return db.execute(sql, values).fetchall()


def as_json(value: object) -> Any:
    """What a client sees of an answer."""
    return json.loads(msgspec.json.encode(value))
