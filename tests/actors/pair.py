"""A real workflow and its model, and what workers do to both: each method does one thing twice and compares.

Nothing here is random; what is done next is decided in `test_stateful`.
"""

from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actor_rig import Hand, House, answer_of, error_of
from builders import job, new_workflow
from fakes import FakeDisk
from house_thread import HouseThread
from model_comparison import compare
from msgspec import UNSET
from reference_model import ABSENT, UNKNOWN, Attempt, Blueprint, End, Model, Ref, Seen

from torcd.actors.mailbox import Message
from torcd.actors.messages import LeaseEnded, Nudge
from torcd.protocol.errors import Conflict, NotFound, TorcError, Unavailable
from torcd.protocol.requests import UpdateUserData
from torcd.protocol.specification import ResourceRequirementsSpec, UserDataSpec
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, LeaveWorker, OutputSeen, WorkerAnswer
from torcd.storage.create import insert_workflow

STRANGER = 999_999
"""The id of no job."""
SCRIPT = "/submitted/tool.sh"
GIVEN = ("given", "other")
"""User data that no job writes."""
FOR_EVER_S = 3600.0


@dataclass(frozen=True)
class Letter:
    """The report of an attempt's end, as the worker keeps it: it may be sent late, or again."""

    worker: int
    end: End
    message: AttemptEnd

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For hypothesis."""
        printer.text(repr(self.end))


@dataclass(frozen=True)
class Report:
    """What one report says, and how many jobs the worker would take that end in the time it has left."""

    started: Sequence[Ref] = ()
    ended: Sequence[Letter] = ()
    returned: Sequence[Ref] = ()
    room: int | None = None
    time_left_s: float | None = None


@dataclass
class Worker:
    """What is known of one worker besides its attempts."""

    hand: Hand
    is_present: bool = True
    is_gone: bool = False
    """Its lease has ended, or it has left."""
    waiting: tuple[Message, int | None] | None = None
    """A report that waits, and its room."""
    time_left_s: float | None = None
    """What it last said of that when it asked for jobs."""
    told: set[Ref] = field(default_factory=set)
    """What it was asked to stop on its present connection."""
    unheard: set[Ref] = field(default_factory=set)
    """Attempts that were handed to it in an answer that was lost."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For hypothesis."""
        printer.text(f"worker {self.hand.worker_id}")


async def outcome(asked: Awaitable[Any]) -> Any:
    """An answer, or the error in its place."""
    try:
        return await asked
    except TorcError as error:
        return error


class Pair:
    """One workflow twice. Close it."""

    def __init__(self, path: Path, blueprints: Sequence[Blueprint], values: dict[str, object]) -> None:
        self.path = path
        self.disk = FakeDisk()
        self.unreadable: set[str] = set()
        self.model = Model(blueprints, values)
        self.workers: dict[int, Worker] = {}
        self.letters: list[Letter] = []
        self.tasks: dict[int, str] = {}
        """The status of every task."""
        self.now_ms = 0
        self.thread = HouseThread(path, self.disk)
        self.do(self._create, blueprints, values)

    def do(self, function: Any, *arguments: Any) -> Any:
        """Runs one of the async methods."""
        return self.thread.call(function, *arguments)

    def close(self) -> None:
        """Ends the real one."""
        self.thread.close()

    @property
    def house(self) -> House:
        """Where the real one lives."""
        return self.thread.house

    async def _create(self, blueprints: Sequence[Blueprint], values: dict[str, object]) -> None:
        specs = [
            job(
                each.name,
                input_files=list(each.inputs),
                output_files=list(each.outputs),
                input_user_data=list(each.reads),
                output_user_data=list(each.writes),
                depends_on=list(each.after),
                cancel_on_blocking_job_failure=each.cancels,
                priority=each.priority,
                resource_requirements=None if each.need is None else each.need[0],
            )
            for each in blueprints
        ]
        needs = sorted({each.need for each in blueprints if each.need is not None})
        requirements = [ResourceRequirementsSpec(name=name, runtime=f"PT{int(time)}S") for name, time in needs]
        names = sorted({value for each in blueprints for value in (*each.reads, *each.writes)} | set(GIVEN))
        data = [UserDataSpec(name=name, data=values.get(name, UNSET)) for name in names]
        scripts = [(each.name, "tool.sh") for each in blueprints if each.scripts]
        new = new_workflow(
            specs, resource_requirements=requirements, user_data=data, scripts=scripts, track_scripts=False
        )
        self.workflow_id = await self.house.database.commit(lambda db: insert_workflow(db, new))
        self.ids = await self.house.ids(self.workflow_id)
        self.names = {job_id: name for name, job_id in self.ids.items()}
        self.file_ids = dict(await self.house.rows("SELECT name, id FROM file"))

    # ---- looking ----

    async def agree(self) -> None:
        """Fails unless both are the same in everything that can be seen."""
        await self.house.send(self.workflow_id, Nudge())
        await self.absorb()
        await compare(self.house, self.workflow_id, self.model, self.tasks)

    async def dump(self) -> list[str]:
        """All of the database."""
        return await self.house.database.read(lambda db: list(db.iterdump()))

    def see(self, file: str) -> Seen:
        """What a look at a file tells now."""
        return UNKNOWN if file in self.unreadable else self.disk.stat(file) or ABSENT

    async def ask(self, asked: Awaitable[Any], error: type[TorcError] | None) -> None:
        """Awaits an answer, or the error that is expected, which must have written nothing."""
        before = await self.dump()
        answer = await outcome(asked)
        if error is None:
            assert not isinstance(answer, TorcError), answer
            return
        assert isinstance(answer, error), answer
        assert await self.dump() == before, "what is refused changes nothing"

    def delete(self, file: str) -> None:
        """Removes a file, if it is there."""
        if self.disk.stat(file) is not None:
            self.disk.delete(file)

    # ---- workers: coming and going ----

    async def hire(self) -> None:
        """A new worker."""
        hand = await self.house.hire(self.workflow_id)
        self.workers[hand.worker_id] = Worker(hand)

    async def hang_up(self, worker: Worker) -> None:
        """A worker loses its connection, and has its lease."""
        await answer_of(worker.hand.hang_up())
        worker.is_present = False
        await self.end_wait(worker)

    async def end_lease(self, worker: Worker) -> None:
        """A worker stayed away for too long (SEMANTICS 8.4)."""
        lease = self.house.actor(self.workflow_id).roster._entries[worker.hand.worker_id].lease
        assert lease is not None
        await self.house.send(self.workflow_id, LeaseEnded(worker.hand.worker_id, lease))
        self.model.lose(worker.hand.worker_id)
        worker.is_gone, worker.time_left_s = True, None

    async def leave(self, worker: Worker) -> None:
        """A worker's orderly end."""
        await self.house.send(self.workflow_id, LeaveWorker(worker_id=worker.hand.worker_id))
        self.model.lose(worker.hand.worker_id)
        worker.is_present, worker.is_gone, worker.time_left_s = False, True, None
        await self.end_wait(worker)

    async def come_back(self, worker: Worker, presented: Sequence[Ref]) -> None:
        """A worker registers again, with attempts that it says it holds (SEMANTICS 8.4)."""
        hand = worker.hand
        hand.house = self.house
        await hand.register(hand.worker_id, [self._ref(ref) for ref in presented])
        lost = self.model.come_back(hand.worker_id, presented)
        assert hand.registration["lost"] == [self._ref(ref) for ref in lost]
        assert hand.registration["run_id"] == self.model.run_id
        worker.is_present, worker.is_gone = True, False
        worker.told.clear()
        await self.end_wait(worker)

    async def end_wait(self, worker: Worker) -> None:
        """What waited is answered with nothing: its worker is away, or said something newer."""
        if worker.waiting is not None:
            answer = await answer_of(worker.waiting[0])
            assert (answer.jobs, answer.refused) == ([], [])
            worker.waiting = None

    # ---- workers: reports ----

    def known(self, worker: Worker, *phases: str) -> list[Attempt]:
        """The attempts that a worker has heard of, in some phases (none named: in any)."""
        attempts = self.model.attempts_of(worker.hand.worker_id)
        return [each for each in attempts if each.ref not in worker.unheard and (not phases or each.phase in phases)]

    def write_letter(
        self,
        attempt: Attempt,
        code: int,
        stopped: str | None,
        outputs: dict[str, str],
        exec_time_s: float = 0.5,
    ) -> Letter:
        """A process ends. `outputs`: what it did to each declared output: write, leave, delete."""
        blueprint = self.model.jobs[attempt.ref[0]].blueprint
        for file in blueprint.outputs:
            if outputs.get(file, "write") == "write":
                self.disk.write(file)
            elif outputs[file] == "delete":
                self.delete(file)
        self.now_ms += 10
        seen = {file: self.see(file) for file in blueprint.outputs}
        end = End(attempt.ref, code, self.now_ms, self.now_ms + 5, exec_time_s, stopped, seen)
        ref = self._ref(attempt.ref)
        message = AttemptEnd(
            job_id=ref.job_id,
            attempt_id=ref.attempt_id,
            return_code=code,
            stopped=stopped,  # type: ignore[arg-type]  # one of its literals
            started_at_ms=end.started_ms,
            ended_at_ms=end.ended_ms,
            exec_time_s=exec_time_s,
            outputs=[self._output(file, what) for file, what in seen.items()],
        )
        letter = Letter(attempt.worker, end, message)
        self.letters.append(letter)
        return letter

    def _output(self, file: str, seen: Seen) -> OutputSeen:
        if seen == UNKNOWN:
            return OutputSeen(file_id=self.file_ids[file], error="Permission denied (EACCES)")
        mtime_ns, size = (None, None) if isinstance(seen, str) else seen
        return OutputSeen(file_id=self.file_ids[file], mtime_ns=mtime_ns, size=size)

    def _ref(self, ref: Ref) -> AttemptRef:
        return AttemptRef(job_id=self.ids.get(ref[0], STRANGER), attempt_id=ref[1])

    def parts(self, report: Report) -> dict[str, Any]:
        return {
            "started": [self._ref(ref) for ref in report.started],
            "ended": [letter.message for letter in report.ended],
            "returned": [self._ref(ref) for ref in report.returned],
            "jobs": report.room,
            "time_left_s": report.time_left_s,
        }

    async def report(self, worker: Worker, report: Report) -> None:
        """One report; one that changes nothing writes nothing (SEMANTICS 5.3)."""
        before, known = await self.dump(), repr(self.model.jobs)
        answer = await worker.hand.report(**self.parts(report))
        await self.end_wait(worker)
        self.take(worker, report, answer)
        if repr(self.model.jobs) == known:
            assert await self.dump() == before
        await self.absorb()

    async def report_from_nowhere(self, worker: Worker, report: Report) -> None:
        """A worker that is away, or gone, has to register before it reports."""
        worker.hand.house = self.house
        await self.ask(worker.hand.report(**self.parts(report)), NotFound)

    async def listen(self, worker: Worker, room: int | None, time_left_s: float | None) -> None:
        """Begins a report that waits."""
        request = worker.hand.request(jobs=room, time_left_s=time_left_s, wait_s=FOR_EVER_S)
        (message,) = self.house.post(self.workflow_id, request)
        await self.end_wait(worker)
        if room is not None:
            worker.time_left_s = time_left_s
        worker.waiting = (message, room)
        await self.absorb()

    async def report_together(self, pairs: Sequence[tuple[Worker, Report]], failing: int) -> None:
        """Reports that arrive as one group, of whose commits the first ones fail: those are told, and only those."""
        self.house.database.failing_commits = failing
        requests = [worker.hand.request(**self.parts(report)) for worker, report in pairs]
        messages = self.house.post(self.workflow_id, *requests)
        taken = []
        for place, ((worker, report), message) in enumerate(zip(pairs, messages, strict=True)):
            if place < failing - 1:  # the first failure was that of the whole group
                assert isinstance(await error_of(message), Unavailable)
                continue
            taken.append((worker, report, await answer_of(message)))
            self._take_news(*taken[-1])
            if failing:
                self._take_rest(*taken.pop())
        for each in taken:
            self._take_rest(*each)
        assert self.house.database.failing_commits == 0
        await self.absorb()

    def take(self, worker: Worker, report: Report, answer: WorkerAnswer) -> None:
        self._take_news(worker, report, answer)
        self._take_rest(worker, report, answer)

    def _take_news(self, worker: Worker, report: Report, answer: WorkerAnswer) -> None:
        worker_id = worker.hand.worker_id
        refused = self.model.report(worker_id, report.started, [each.end for each in report.ended], report.returned)
        found = [((self.names.get(each.job_id, "?"), each.attempt_id), each.why) for each in answer.refused]
        assert sorted(found) == sorted(refused)
        if report.room is not None:
            worker.time_left_s = report.time_left_s
        self._take_launches([(worker, answer)], report.room)

    def _take_rest(self, worker: Worker, report: Report, answer: WorkerAnswer) -> None:
        self.model.note_over(worker.hand.worker_id, [*(each.end.ref for each in report.ended), *report.returned])
        self._take_stops(worker, answer)
        self._check_outlook(worker, answer)

    def _check_outlook(self, worker: Worker, answer: WorkerAnswer) -> None:
        """What a worker is told of the workflow: whether there is anything to come for it."""
        assert answer.complete == self.model.is_complete
        assert answer.stranded == self.model.count_stranded(worker.time_left_s)

    def _take_launches(self, answers: Sequence[tuple[Worker, WorkerAnswer]], room: int | None) -> None:
        """SEMANTICS 8.1: as many as there is room for, the best first; each a new attempt of a job that is free."""
        launched = [launch.name for _, answer in answers for launch in answer.jobs]
        for worker, answer in answers:
            free = self.model.claimable(worker.time_left_s)
            if room is not None:
                assert len(launched) == min(room, len(free)), (launched, free)
            assert {launch.name for launch in answer.jobs} <= set(free), "8.1: it has no time for that"
            left = [name for name in free if name not in launched]
            best_left = max((self.model.jobs[name].priority for name in left), default=None)
            for launch in answer.jobs:
                attempt = self.model.claim(worker.hand.worker_id, launch.name)
                assert best_left is None or self.model.jobs[launch.name].priority >= best_left
                assert ((launch.name, launch.attempt_id), launch.run_id) == (attempt.ref, attempt.run_id)
                definition = self.model.jobs[launch.name].definition
                assert {"command": launch.command, "env": launch.env} == definition

    def _take_stops(self, worker: Worker, answer: WorkerAnswer) -> None:
        """SEMANTICS 5.2: what is to be stopped is told, once on each connection."""
        stops = {each.ref for each in self.model.attempts_of(worker.hand.worker_id) if each.is_stopping} - worker.told
        assert {(self.names[each.job_id], each.attempt_id) for each in answer.stop} == stops
        worker.told |= stops

    async def absorb(self) -> None:
        """Takes what reports that wait were answered with, and fails if one waits that should have been answered."""
        waiting = [worker for worker in self.workers.values() if worker.waiting is not None]
        if not waiting:
            return
        await self.house.settle(self.workflow_id)
        answered = []
        for worker in waiting:
            assert worker.waiting is not None
            message, room = worker.waiting
            if message.reply.is_given:
                answer = await answer_of(message)
                assert len(answer.jobs) <= (room or 0)
                answered.append((worker, answer))
        self._take_launches(answered, None)
        for worker, answer in answered:
            worker.waiting = None
            self._take_stops(worker, answer)
            assert answer.jobs or answer.stop or answer.complete or answer.stranded, "answered with nothing"
            self._check_outlook(worker, answer)
        for worker in waiting:
            if worker.waiting is not None:
                has_work = worker.waiting[1] and self.model.claimable(worker.time_left_s)
                assert not has_work, "8.1: it waits though there is work"
                self._check_outlook(worker, WorkerAnswer())  # there is something to come
                self._take_stops(worker, WorkerAnswer())

    async def work(self, worker: Worker, fails: Collection[str] = ()) -> None:
        """A worker runs whatever it can get; those of `fails` exit with 1."""
        while True:
            await self.report(worker, Report(room=3))
            attempts = self.known(worker, "pending", "running")
            if not attempts:
                return
            await self.report(worker, Report(started=[each.ref for each in attempts]))
            for attempt in attempts:
                await self.write_values(attempt)
            letters = [self.write_letter(each, int(each.ref[0] in fails), None, {}) for each in attempts]
            await self.report(worker, Report(ended=letters))

    async def write_as_job(self, value: str, data: object, writer: Ref) -> None:
        """A job writes user data: accepted during its own latest attempt only (SEMANTICS 5.3)."""
        request = UpdateUserData(
            workflow_id=self.workflow_id, name=value, data=data, job_id=self.ids[writer[0]], attempt_id=writer[1]
        )
        is_accepted = self.model.write_value(value, data, writer)
        await self.ask(self.house.send(self.workflow_id, request), None if is_accepted else Conflict)

    async def write_values(self, attempt: Attempt) -> None:
        """A job writes its user data: a value of its own for each attempt."""
        for value in self.model.jobs[attempt.ref[0]].blueprint.writes:
            await self.write_as_job(value, attempt.ref[1], attempt.ref)
