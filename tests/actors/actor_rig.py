"""What the tests of actors share: a supervisor on a real database, a fake disk, and workers without processes."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import trio
import trio.testing
from builders import new_workflow
from fakes import FakeDisk, FakeScanner
from workbench import assert_same_state, see_output

from torcd.actors import lease
from torcd.actors.mailbox import Message
from torcd.actors.messages import CommitEdit, Disconnected, Nudge, Preview, Register
from torcd.actors.supervisor import Supervisor
from torcd.actors.turn import Turn
from torcd.actors.workflow import WorkflowActor
from torcd.bus import Bus
from torcd.operations.edit import prepare_edit
from torcd.operations.operate import Planned
from torcd.operations.update import update_job
from torcd.protocol.errors import TorcError, Unavailable
from torcd.protocol.model import Task
from torcd.protocol.requests import Operation, UpdateJob
from torcd.protocol.worker_requests import (
    AttemptEnd,
    AttemptRef,
    Capacity,
    JobLaunch,
    RegisterWorker,
    ReportWorker,
    WorkerAnswer,
)
from torcd.storage.create import insert_workflow
from torcd.storage.database import Database, open_database
from torcd.storage.faults import InDoubt
from torcd.storage.lists import load_page
from torcd.storage.load import load_state
from torcd.storage.nouns import JOBS
from torcd.storage.tasks import load_task

T = TypeVar("T")

DEADLINE_S = 30.0
"""Longer than anything here takes, so that a test that hangs says where."""


class FragileDatabase:
    """A real database whose commits and reads fail when a test wants it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.health = database.health
        self.failing_commits = 0
        """How many of the next commits fail."""
        self.failing_loads = 0
        """How many of the next long reads fail."""
        self.fatal_commit: trio.Event | None = None
        """While there is one, the next commit is made, sets it, and crashes whoever asked for it."""
        self.read_gate: trio.Event | None = None
        """While there is one, the next short read takes it away and waits for it."""
        self.read_begun = trio.Event()
        self.doubtful_commit: bool | None = None
        """When set, the next commit fails in doubt; true: it was made."""
        self.attempts = 0
        """How many commits were tried."""
        self.commits = 0
        self.commit_gate: trio.Event | None = None
        """While there is one, commits wait for it."""
        self.commit_begun = trio.Event()

    async def commit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As the real one, or Unavailable: nothing was changed."""
        await trio.lowlevel.checkpoint()
        if self.commit_gate is not None:
            self.commit_begun.set()
            await self.commit_gate.wait()
        self.attempts += 1
        if self.doubtful_commit is not None:
            made, self.doubtful_commit = self.doubtful_commit, None
            if made:
                await self._database.commit(work)
            raise InDoubt("the disk reported an error in the middle of a commit")
        if self.failing_commits:
            self.failing_commits -= 1
            raise Unavailable("the disk is full; nothing was changed")
        self.commits += 1
        value = await self._database.commit(work)
        if self.fatal_commit is not None:
            fatal, self.fatal_commit = self.fatal_commit, None
            fatal.set()
            raise RuntimeError("committed, and nobody is told")
        return value

    async def read(
        self, work: Callable[[sqlite3.Connection], T], *, timeout_s: float | None = None, long: bool = False
    ) -> T:
        """As the real one; a load may fail."""
        if long and self.failing_loads:
            self.failing_loads -= 1
            raise Unavailable("the disk reports an error")
        if not long and self.read_gate is not None:
            gate, self.read_gate = self.read_gate, None
            self.read_begun.set()
            await gate.wait()
        return await self._database.read(work, timeout_s=timeout_s, long=long)


class House:
    """The actors of one daemon and what surrounds them."""

    def __init__(self, database: Database, disk: FakeDisk) -> None:
        self.database = FragileDatabase(database)
        self.disk = disk
        self.scanner = FakeScanner(disk)
        self.bus = Bus()
        self.supervisor = Supervisor(self.database, self.bus, self.scanner, lease.LEASE_S)  # type: ignore[arg-type]  # fakes

    # ---- the database ----

    async def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        return await self.database.read(lambda db: db.execute(sql, values).fetchall())

    async def status(self, workflow_id: int) -> dict[str, str]:
        """The status of each job."""
        jobs = await self.database.read(lambda db: load_page(db, JOBS, (workflow_id,), (), 0, 5000)[0])
        return {job.name: job.status for job in jobs}

    async def ids(self, workflow_id: int) -> dict[str, int]:
        """The id of each job."""
        return dict(await self.rows("SELECT name, id FROM job WHERE workflow_id = ?", workflow_id))

    async def create(self, *arguments: Any, **options: Any) -> int:
        """A new workflow, from what `builders.new_workflow` takes."""
        new = new_workflow(*arguments, **options)
        return await self.database.commit(lambda db: insert_workflow(db, new))

    async def check(self, workflow_id: int) -> None:
        """Fails unless the actor's memory is what the database holds."""
        state = await self.database.read(lambda db: load_state(db, workflow_id))
        actor = self.actor(workflow_id)
        stopping = actor.roster.stops.stopping()
        assert_same_state(actor.state, state, held_back=stopping)

    # ---- requests ----

    def actor(self, workflow_id: int) -> WorkflowActor:
        """The running actor of a workflow."""
        return self.supervisor._actors[workflow_id]

    async def send(self, workflow_id: int, body: object) -> Any:
        """Has the actor handle a message."""
        with trio.fail_after(DEADLINE_S):
            return await self.supervisor.send(workflow_id, body)

    def post(self, workflow_id: int, *bodies: object) -> list[Message]:
        """Queues messages without giving the actor a chance in between: it takes them as one group."""
        return [self.supervisor.post(workflow_id, body) for body in bodies]

    async def begin(self, kind: type[Operation], workflow_id: int, **parameters: Any) -> int:
        """Starts a task; its id."""
        task_id, _ = await self.send(workflow_id, kind(workflow_id=workflow_id, **parameters))
        return int(task_id)

    async def task(self, task_id: int) -> Task:
        """A task's row."""
        return await self.database.read(lambda db: load_task(db, task_id))

    async def wait(self, task_id: int) -> Task:
        """Waits for the end of a task, as `tasks.wait` does, and until its actor has told of it."""
        ended = self.supervisor.task_end(task_id)
        task = await self.task(task_id)
        if task.finished_at_ms is None:
            with trio.fail_after(DEADLINE_S):
                await ended.wait()
            task = await self.task(task_id)
        elif task.workflow_id in self.supervisor._actors:
            # It can be read a moment before; what comes next in the mailbox is answered after.
            with suppress(Unavailable):  # a crash is told of, too
                await self.send(task.workflow_id, Nudge())
        return task

    async def run(self, kind: type[Operation], workflow_id: int, **parameters: Any) -> Task:
        """Carries an operation out."""
        return await self.wait(await self.begin(kind, workflow_id, **parameters))

    async def preview(self, kind: type[Operation], workflow_id: int, **parameters: Any) -> Planned:
        """A dry run."""
        preview = Preview(kind(workflow_id=workflow_id, dry_run=True, **parameters))
        await self.send(workflow_id, preview)
        with trio.fail_after(DEADLINE_S):
            return await preview.reply.wait()

    async def edit(self, workflow_id: int, job_id: int, **fields: Any) -> object:
        """Edits a job, as `jobs.update` does."""
        request = UpdateJob(job_id=job_id, **fields)
        prepared = await prepare_edit(self.database, workflow_id, request)  # type: ignore[arg-type]  # a fragile one

        def decide(turn: Turn) -> Callable[[], object]:
            update_job(turn.draft, request, prepared.definition, prepared.requirement_id)
            if prepared.write_scripts is not None:
                turn.query(prepared.write_scripts)
            return lambda: None

        return await self.send(workflow_id, CommitEdit(decide, changes_files=prepared.write_scripts is not None))

    async def hire(self, workflow_id: int, worker_id: int | None = None, **resources: Any) -> "Hand":
        """Registers a worker."""
        hand = Hand(self, workflow_id)
        await hand.register(worker_id, **resources)
        return hand

    async def settle(self, workflow_id: int) -> None:
        """Waits until an actor has handled what it was sent, and what it told itself in answer to that."""
        for _ in range(3):
            await self.send(workflow_id, Nudge())
            await trio.testing.wait_all_tasks_blocked()


class Hand:
    """A worker that runs nothing."""

    def __init__(self, house: House, workflow_id: int) -> None:
        self.house = house
        self.workflow_id = workflow_id
        self.session = object()
        self.closed = trio.Event()
        self.worker_id = 0
        self.registration: dict[str, Any] = {}
        self.products: dict[str, str] = {}
        """What jobs write into some of their outputs, by path; into others something new."""

    async def register(
        self, worker_id: int | None = None, attempts: Sequence[AttemptRef] = (), **resources: Any
    ) -> None:
        """Registers, also again, on a new connection."""
        self.session, self.closed = object(), trio.Event()
        given = {"hostname": "host", "pid": 1, "num_cpus": 4, "memory_bytes": 2**30} | resources
        request = RegisterWorker(workflow_id=self.workflow_id, worker_id=worker_id, attempts=list(attempts), **given)
        self.registration = await self.house.send(self.workflow_id, Register(request, self.session, self.closed))
        self.worker_id = self.registration["worker_id"]

    def request(
        self, *, jobs: int | None = None, time_left_s: float | None = None, wait_s: float = 0, **parts: Any
    ) -> ReportWorker:
        """A report; `jobs`: how many more it would take that end in `time_left_s`."""
        capacity = None if jobs is None else Capacity(jobs=jobs, time_left_s=time_left_s)
        return ReportWorker(worker_id=self.worker_id, capacity=capacity, wait_s=wait_s, **parts)

    async def report(self, **parts: Any) -> WorkerAnswer:
        """Reports and waits for the answer."""
        answer = await self.house.send(self.workflow_id, self.request(**parts))
        assert isinstance(answer, WorkerAnswer)
        return answer

    async def claim(self, jobs: int = 100) -> dict[str, JobLaunch]:
        """Claims jobs; by name."""
        return {launch.name: launch for launch in (await self.report(jobs=jobs)).jobs}

    async def listen(self, jobs: int | None = 100, wait_s: float = 60) -> Message:
        """Begins a waiting report and returns when it waits."""
        (message,) = self.house.post(self.workflow_id, self.request(jobs=jobs, wait_s=wait_s))
        await self.house.settle(self.workflow_id)
        return message

    def end(self, launch: JobLaunch, code: int = 0, **fields: Any) -> AttemptEnd:
        """The end of a job that has written its outputs."""
        outputs = []
        for output in launch.outputs:
            self.house.disk.write(output.path, content=self.products.get(output.path))
            seen = self.house.disk.content(output.path)
            outputs.append(see_output(output.file_id, seen, reads_content=launch.reads_content))
        given = {"started_at_ms": 1, "ended_at_ms": 2, "exec_time_s": 0.1, "outputs": outputs} | fields
        return AttemptEnd(job_id=launch.job_id, attempt_id=launch.attempt_id, return_code=code, **given)

    async def finish(self, *launches: JobLaunch, code: int = 0) -> WorkerAnswer:
        """Reports the end of jobs."""
        return await self.report(ended=[self.end(launch, code) for launch in launches])

    async def work(self) -> list[str]:
        """Runs whatever is or becomes ready; the names in their order."""
        ran = []
        while launches := await self.claim():
            ran += list(launches)
            await self.finish(*launches.values())
        return ran

    def hang_up(self) -> Message:
        """Loses its connection."""
        self.closed.set()
        (message,) = self.house.post(self.workflow_id, Disconnected(self.session))
        return message


def ref(launch: JobLaunch) -> AttemptRef:
    """The attempt of a launch."""
    return AttemptRef(job_id=launch.job_id, attempt_id=launch.attempt_id)


async def answer_of(message: Message) -> Any:
    """What a message is answered with, sooner or later."""
    with trio.fail_after(DEADLINE_S):
        return await message.reply.wait()


async def error_of(message: Message) -> TorcError:
    """The error that a message is answered with."""
    with trio.fail_after(DEADLINE_S):
        try:
            answer = await message.reply.wait()
        except TorcError as error:
            return error
    raise AssertionError(f"answered with {answer!r}")


@asynccontextmanager
async def open_house(path: Path, disk: FakeDisk | None = None) -> AsyncIterator[House]:
    """A house on the database at `path`; its actors end with it, as the daemon's do."""
    async with open_database(path, file_system="ext4") as database:
        house = House(database, disk or FakeDisk())
        async with trio.open_nursery() as nursery:
            await nursery.start(house.supervisor.run)
            yield house
            nursery.cancel_scope.cancel()
