"""A workflow and its model, and what users do to both, and what goes wrong; what workers do is in `pair`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from actor_rig import DEADLINE_S, error_of
from house_thread import HouseThread
from model_comparison import compare_plan
from pair import STRANGER, Pair, Report, Worker, outcome
from reference_model import Blueprint, Seen
from reference_operations import (
    Plan,
    Refusal,
    Request,
    apply_plan,
    files_to_look_at,
    forget_outdated,
    has_nothing_to_do,
    make_plan,
    resolve,
)

from torcd.actors.messages import Nudge
from torcd.core.plan import Summary
from torcd.protocol.errors import Conflict, TorcError, Unavailable
from torcd.protocol.recover import Recover
from torcd.protocol.requests import (
    CancelTask,
    CancelWorkflow,
    Initialize,
    Operation,
    Prepare,
    Reinit,
    ResetJobs,
    ResetStatus,
    Restart,
    UpdateUserData,
)
from torcd.storage.tasks import load_plan

KINDS: dict[str, type[Operation]] = {
    kind.NAME: kind for kind in (Initialize, Prepare, Reinit, Restart, ResetStatus, ResetJobs, Recover)
}
NO_DIGEST = "0" * 64
"""The digest of no plan."""

BOMB = object()
"""A message that no actor knows: a bug, which costs it its life."""


@dataclass(frozen=True)
class Held:
    """The task under way, whose scan has looked and is kept from ending."""

    task_id: int
    request: Request
    seen: dict[str, Seen]
    version: int
    """The model's counter when the scan looked."""
    gate: trio.Event


class SideBySide(Pair):
    """One workflow twice, with its users. Close it."""

    def __init__(self, path: Path, blueprints: Sequence[Blueprint], values: dict[str, object]) -> None:
        self.held: Held | None = None
        self.outlived_cancel = False
        """Whether the workflow was canceled while a task was held."""
        super().__init__(path, blueprints, values)

    def look(self, request: Request) -> dict[str, Seen]:
        """What the scan of an operation sees now."""
        return {file: self.see(file) for file in files_to_look_at(self.model, request)}

    # ---- the disk and the definitions ----

    def set_readable(self, file: str, *, readable: bool) -> None:
        """Whether the state of a file can be found out."""
        if readable and file in self.unreadable:
            self.unreadable.remove(file)
            self.disk.mend(file)
        elif not readable and file not in self.unreadable:
            self.unreadable.add(file)
            self.disk.fail(file)

    async def edit(self, name: str, fields: dict[str, Any]) -> None:
        """Edits a job: refused while it is live (SEMANTICS 4.2) or a task is active (6.3)."""
        wire = {("cancel_on_blocking_job_failure" if key == "cancels" else key): value for key, value in fields.items()}
        is_free = self.held is None and self.model.edit(name, **fields)
        await self.ask(self.house.edit(self.workflow_id, self.ids[name], **wire), None if is_free else Conflict)

    async def write_value(self, value: str, data: object) -> None:
        """Writes user data: refused while a task is active (SEMANTICS 6.3)."""
        request = UpdateUserData(workflow_id=self.workflow_id, name=value, data=data)
        is_free = self.held is None and self.model.write_value(value, data)
        await self.ask(self.house.send(self.workflow_id, request), None if is_free else Conflict)

    async def cancel(self) -> None:
        """Cancels the workflow; never in conflict (6.3)."""
        answer = await self.house.send(self.workflow_id, CancelWorkflow(workflow_id=self.workflow_id))
        assert answer["canceled"] == self.model.cancel()
        self.outlived_cancel = True

    # ---- operations ----

    def _on_wire(self, request: Request, **more: Any) -> tuple[type[Operation], dict[str, Any]]:
        given: dict[str, Any] = {"force": request.force, "stop_live": request.stop_live, **more}
        if request.operation == "restart":
            given["only_uninitialized"] = request.only_uninitialized
        if request.operation in {"reset-status", "jobs reset-status"}:
            given["reinitialize"] = request.reinitialize
        if request.operation == "reset-status":
            given["failed_only"] = request.failed_only
        if request.operation == "jobs reset-status":
            given["jobs"] = [self.ids[name] for name in request.jobs] + [STRANGER] * request.stranger
            given |= {"status": request.status, "return_code": request.return_code}
        if request.operation == "recover":
            given["retry_unknown"] = request.retry_unknown
            given["max_runtime"] = None if request.max_runtime_s is None else f"PT{request.max_runtime_s}S"
        return KINDS[request.operation], given

    def _predict(self, request: Request, seen: dict[str, Seen]) -> Plan | int:
        try:
            return make_plan(self.model, request, seen)
        except Refusal as refusal:
            return refusal.code

    async def preview(self, request: Request) -> str | None:
        """A dry run (SEMANTICS 5.4); the digest, None when it is refused."""
        kind, given = self._on_wire(request)
        expected = self._predict(request, self.look(request))
        before = await self.dump()
        planned = await outcome(self.house.preview(kind, self.workflow_id, **given))
        assert await self.dump() == before, "a dry run writes nothing"
        if not isinstance(expected, Plan):
            assert isinstance(planned, TorcError), f"the model refuses it with {expected}"
            assert planned.code == expected, planned
            return None
        assert not isinstance(planned, TorcError), planned
        await self._compare(planned.summary, planned.packed, expected)
        digest: str = planned.summary.plan_digest
        return digest

    async def operate(self, request: Request, expect: str | None = None) -> None:
        """The real operation. `expect`: a digest, to be refused unless it is that of the present plan."""
        kind, given = self._on_wire(request, expect=expect)
        message = kind(workflow_id=self.workflow_id, **given)
        if self.held is not None:
            await self._operate_beside(message, request)
            return
        seen = self.look(request)
        begun = await self.house.send(self.workflow_id, message)
        if has_nothing_to_do(self.model, request):
            assert begun is None
            return
        task_id, existing = begun
        assert not existing
        await self._conclude(task_id, self._predict(request, seen), has_drifted=expect == NO_DIGEST)

    async def _operate_beside(self, message: Operation, request: Request) -> None:
        """SEMANTICS 6.2, 6.3: while a task is active the same request gets it, another one a conflict."""
        held = self.held
        assert held is not None
        asked = self.house.send(self.workflow_id, message)
        if resolve(self.model, request) == held.request:
            assert await asked == (held.task_id, True)
        else:
            await self.ask(asked, Conflict)

    async def _conclude(self, task_id: int, expected: Plan | int, *, has_drifted: bool = False) -> None:
        """Waits for a task and does to the model what it did."""
        task = await self.house.wait(task_id)
        self.tasks[task_id] = task.status
        if has_drifted and isinstance(expected, Plan):
            expected = 409
        if not isinstance(expected, Plan):
            assert (task.status, task.error_code) == ("failed", expected), task
            return
        assert task.status == "succeeded", task
        await self._apply(task_id, expected)

    async def _apply(self, task_id: int, plan: Plan) -> None:
        summary, packed = await self.house.database.read(lambda db: load_plan(db, task_id))
        await self._compare(summary, packed, plan)
        apply_plan(self.model, plan)
        if self.held is not None and self.outlived_cancel:
            self.model.cancel()

    async def _compare(self, summary: Summary, packed: bytes, plan: Plan) -> None:
        assert (summary.run_id, summary.listed, summary.count) == (plan.run_id, len(plan.moves), plan.count)
        await self.house.database.read(lambda db: compare_plan(db, packed, plan))

    # ---- a task that takes its time ----

    async def hold(self, request: Request) -> None:
        """Begins an operation whose scan does not end until `let_go`."""
        kind, given = self._on_wire(request)
        seen = self.look(request)
        gate = self.house.scanner.hold()
        task_id, existing = await self.house.send(self.workflow_id, kind(workflow_id=self.workflow_id, **given))
        assert not existing
        with trio.fail_after(DEADLINE_S):
            await self.house.scanner.begun.wait()
        self.house.scanner._gate = None  # of this scan only
        self.held = Held(task_id, resolve(self.model, request), seen, self.model.version, gate)
        self.outlived_cancel = False
        self.tasks[task_id] = "running"

    async def let_go(self, how: str) -> None:
        """Lets the scan end. `how`: commit; fail: the commit fails; crash: the actor dies after the commit."""
        held = self.held
        assert held is not None
        expected = self._predict(held.request, forget_outdated(self.model, held.seen, held.version))
        if how == "fail" and isinstance(expected, Plan):
            self.house.database.failing_commits, expected = 1, 503
        if how == "crash":  # §5: the row says succeeded exactly when the effects are there
            self.house.database.fatal_commit = trio.Event()
        held.gate.set()
        await self._conclude(held.task_id, expected)
        self.held = None
        if how == "crash":
            await self._forget_workers()

    async def cancel_task(self) -> None:
        """SEMANTICS 6.7: until the commit begins."""
        held = self.held
        assert held is not None
        assert await self.house.send(self.workflow_id, CancelTask(task_id=held.task_id)) is True
        self.tasks[held.task_id] = "canceled"
        self.held = None

    # ---- what goes wrong ----

    async def fail_commit(self, what: str) -> None:
        """A request whose commit fails: its caller is told, and nothing is changed."""
        asked: dict[str, Callable[[], Awaitable[Any]]] = {
            "cancel": lambda: self.house.send(self.workflow_id, CancelWorkflow(workflow_id=self.workflow_id)),
            "hire": lambda: self.house.hire(self.workflow_id),
            "operate": lambda: self.house.send(self.workflow_id, Reinit(workflow_id=self.workflow_id)),
        }
        self.house.database.failing_commits = 1
        await self.ask(asked[what](), Unavailable)
        assert self.house.database.failing_commits == 0

    async def crash_scan(self) -> None:
        """The actor meets a bug while a task scans: the task has failed, and nothing was done (SEMANTICS 6.6)."""
        self.house.scanner.error = RuntimeError("in the scan")
        task = await self.house.wait(await self.house.begin(Reinit, self.workflow_id))
        self.house.scanner.error = None
        assert (task.status, task.error_code) == ("failed", 503)
        self.tasks[task.task_id] = task.status
        await self._forget_workers()

    async def lose_answer(self, worker: Worker, report: Report) -> None:
        """The actor dies after the commit of a report: what it said counts, its answer never comes."""
        self.house.database.fatal_commit = fatal = trio.Event()
        answer = await outcome(worker.hand.report(**self.parts(report)))
        if not fatal.is_set():  # there was nothing to commit
            self.house.database.fatal_commit = None
            await self.end_wait(worker)
            self.take(worker, report, answer)
            await self.absorb()
            return
        assert isinstance(answer, Unavailable), answer
        ended = [letter.end for letter in report.ended]
        self.model.report(worker.hand.worker_id, report.started, ended, report.returned)
        await self._forget_workers()

    async def crash(self) -> None:
        """The actor meets a bug."""
        (message,) = self.house.post(self.workflow_id, BOMB)
        assert isinstance(await error_of(message), Unavailable)
        await self._fail_held()
        await self._forget_workers()

    def restart_daemon(self) -> None:
        """The daemon ends, in the middle of whatever it does, and another one opens the same file."""
        self.thread.close()
        self.thread = HouseThread(self.path, self.disk)
        self.do(self._wake_up)

    async def _wake_up(self) -> None:
        for worker in self.workers.values():
            worker.waiting = None  # nobody is there to answer
        await self._fail_held()
        await self._forget_workers()

    async def _fail_held(self) -> None:
        """SEMANTICS 6.6: what a task was at is not done."""
        if self.held is not None:
            self.tasks[self.held.task_id] = "failed"
            self.held = None
            self.house.scanner._gate = None

    async def _forget_workers(self) -> None:
        """SEMANTICS 8.4: a new actor knows no connection; workers have their leases, and their attempts."""
        await self.house.send(self.workflow_id, Nudge())
        await self._find_unheard()  # while the model knows what was free when that was claimed
        self.model.crash([number for number, worker in self.workers.items() if not worker.is_gone])
        for worker in self.workers.values():
            if worker.waiting is not None:
                assert isinstance(await error_of(worker.waiting[0]), Unavailable)
            worker.waiting = None
            worker.is_present = False
            worker.time_left_s = None
            worker.told.clear()

    async def _find_unheard(self) -> None:
        """What was claimed in a turn whose answers were lost."""
        rows = await self.house.rows(
            "SELECT job_id, attempt, worker_id FROM job_state WHERE workflow_id = ? AND status = 3", self.workflow_id
        )
        for job_id, attempt, worker_id in rows:
            name = self.names[job_id]
            if attempt == len(self.model.jobs[name].attempts) + 1:
                self.workers[worker_id].unheard.add(self.model.claim(worker_id, name).ref)

    # ---- the end ----

    async def settle(self) -> None:
        """Nothing waits for ever: workers end all there is to do, and what is left has a reason the model knows."""
        if self.held is not None:
            await self.let_go("commit")
            await self.absorb()  # what it makes ready
        for file in list(self.unreadable):
            self.set_readable(file, readable=True)
        for worker in self.workers.values():
            if worker.is_present:
                await self.leave(worker)
            elif not worker.is_gone:
                await self.end_lease(worker)
            await self.absorb()  # what it leaves to those that wait
        await self.hire()
        last = self.workers[max(self.workers)]
        await self.work(last)
        assert all(self.model.is_stuck_rightly(name) for name in self.model.jobs), self.model.jobs
        await self.agree()
        await self.operate(Request("prepare", force=True))
        await self.work(last)
        assert self.model.is_complete, "everything that is evaluated comes to an end"
        await self.operate(Request("reinit", force=True))
        await self.work(last)
        assert self.model.is_complete
        again = self._predict(Request("reinit", force=True), self.look(Request("reinit", force=True)))
        assert isinstance(again, Plan)
        assert not again.moves, f"a run leaves nothing stale, but {again.moves}"
        await self.preview(Request("reinit", force=True))
        await self.agree()
