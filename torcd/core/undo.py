"""Taking an operation back: what it replaced is kept with its task, packed, until another one comes (SEMANTICS 5.6).

`run_id` and the version counter never decrease; records get back the numbers they had.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind, make_reasons
from torcd.core.columns import Column, pack_column
from torcd.core.delta import Adjustment, Records
from torcd.core.evaluation import evaluate
from torcd.core.plan import Plan, Restored
from torcd.core.propagation import find_closure
from torcd.core.refusals import count_jobs, name_jobs
from torcd.core.state import DIGEST, IS_SETTLED, State, count_dependencies
from torcd.core.status import LIVE, WAITING, Status, StatusReason, mask_of
from torcd.protocol.errors import Refused
from torcd.protocol.requests import Undo

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_NO_COLUMN = pack_column(np.empty(0, dtype=np.int64))


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation replaced; jobs, files and user data by id."""

    jobs: Column
    status: Column
    reason: Column
    may_return: Column
    counter: Column
    attempt: Column
    """The latest attempt of each job at that time: a later one means that it was claimed since."""
    worker: Column
    files: Column
    mtime_ns: Column
    size: Column
    digest: bytes
    is_racy: Column
    version: Column
    given: Column
    """The versions that the operation gave the files."""
    given_mtime_ns: Column | None = None
    """And their times: a newer record is not taken back. What the first versions packed lacks them."""
    values: list[tuple[int, int]]
    """(user data, version) of the values that it cleared."""
    is_canceled: bool
    stopped: int
    """How many running jobs it stopped: that cannot be taken back."""
    below: Column = _NO_COLUMN
    """Other jobs that did not run, downstream of jobs that it settled: that may make them runnable later on."""
    below_attempt: Column = _NO_COLUMN
    """The latest attempt of each of those."""
    armed: list[int] | None = None
    """The ids of the actions that were armed. What the first versions packed lacks it: there were none."""
    retries: Column | None = None
    """What the first versions packed lacks it: no job was retried then."""
    adjusted: list[tuple[str | None, str, Column]] = msgspec.field(default_factory=list)
    """(name, new name, jobs) of the resource requirements that jobs had, and got."""
    added: list[str] = msgspec.field(default_factory=list)
    """The names of those that the workflow got."""


@dataclass(frozen=True, slots=True)
class Step:
    """An operation that may be taken back."""

    task_id: int
    operation: str
    before: Before


_RECORD = ("mtime_ns", "size", "digest", "is_racy", "version")
"""The columns of a file's record."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Before).decode


class Notebook:
    """Notes the state before a plan is applied, and packs it afterwards."""

    def __init__(self, state: State, plan: Plan) -> None:
        jobs, files, self._state = state.jobs, state.files, state
        touched = np.zeros(state.count, dtype=np.bool_)
        for chosen in (plan.jobs, plan.marked, plan.unmarked, plan.accepted):
            touched[chosen] = True
        self._jobs = np.flatnonzero(touched)
        below = _find_below(state, plan, touched)
        self._files = plan.records.files
        self._stopped = len(plan.stopped)
        self._is_canceled = state.is_canceled
        self._armed = [action.id for action in state.actions if action.is_armed]
        self._columns: dict[str, NDArray[Any]] = {
            "status": jobs.status[self._jobs],
            "reason": jobs.reason[self._jobs],
            "may_return": jobs.may_return[self._jobs],
            "counter": jobs.counter[self._jobs],
            "attempt": jobs.attempt[self._jobs],
            "worker": jobs.worker[self._jobs],
            "retries": jobs.retries[self._jobs],
            "mtime_ns": files.mtime_ns[self._files],
            "size": files.size[self._files],
            "is_racy": files.is_racy[self._files],
            "version": files.version[self._files],
            "below": state.jobs.ids.ids[below],
            "below_attempt": state.jobs.attempt[below],
        }
        self._digest = files.digest[self._files].tobytes()
        self._cleared = plan.cleared.tolist()
        self._added = [each.need.name for each in plan.adjustments if each.is_new and each.need is not None]
        self._adjusted = [
            (_name_of(state, base), each.need.name, pack_column(state.jobs.ids.ids[jobs]))
            for each in plan.adjustments
            if each.need is not None
            for base, jobs in _split(each.jobs, state.jobs.requirement)
        ]

    def pack(self) -> bytes:
        """All that is needed to take the plan back, now that it was applied."""
        state = self._state
        columns = {name: pack_column(values) for name, values in self._columns.items()}
        values = state.values
        return _encode(
            Before(
                jobs=pack_column(state.jobs.ids.ids[self._jobs]),
                files=pack_column(state.files.ids.ids[self._files]),
                digest=self._digest,
                given=pack_column(state.files.version[self._files]),
                given_mtime_ns=pack_column(state.files.mtime_ns[self._files]),
                values=[(int(values.ids.ids[index]), values.latest(index)[0]) for index in self._cleared],
                is_canceled=self._is_canceled,
                stopped=self._stopped,
                armed=self._armed,
                adjusted=self._adjusted,
                added=self._added,
                **columns,
            )
        )


def _split(jobs: Int64, column: NDArray[np.int32]) -> list[tuple[int, Int64]]:
    """Jobs by what they have in a column."""
    values = column[jobs]
    return [(value, jobs[values == value]) for value in sorted(set(values.tolist()))]


def _name_of(state: State, requirement: int) -> str | None:
    return None if requirement < 0 else state.requirements[requirement].name


def _find_below(state: State, plan: Plan, touched: Mask) -> Int64:
    """Jobs that an operation does not touch, but some of which may run only because of what it settles."""
    settled = plan.jobs[IS_SETTLED[plan.after]]
    if not len(settled):
        return settled
    below = find_closure(state.graph, settled, state.jobs.status == Status.DISABLED).jobs
    idle = mask_of(frozenset({Status.UNINITIALIZED, Status.BLOCKED, Status.CANCELED}))[state.jobs.status[below]]
    return below[idle & ~touched[below]]


def unpack_before(packed: bytes) -> Before:
    """What `Notebook.pack` packed."""
    return _decode(packed)


def plan_undo(state: State, request: Undo, steps: tuple[Step, ...]) -> Plan:
    """The plan that puts back what the steps replaced, the newest first; raises Refused."""
    if not steps:
        raise Refused(
            f"workflow {state.workflow_id} has no operation that could be taken back: undo is for the last reset, "
            "reinit, restart, recover or accept",
            workflow_id=state.workflow_id,
        )
    last = steps[-1]
    former = _Former(state)
    for step in steps:
        former.put(step.before)
    _check(state, last, former, sum(step.before.stopped for step in steps))
    jobs = np.flatnonzero(former.known)
    after = np.where(former.known, former.status, state.jobs.status)
    after_reason = np.where(former.known, former.reason, state.jobs.reason)
    released = _find_released(state, former, after, after_reason)
    waiting = np.flatnonzero((after == Status.BLOCKED) | (after == Status.READY) | released)
    after[waiting] = Status.UNINITIALIZED
    after[waiting], after_reason[waiting] = evaluate(state.graph, after, waiting, state.jobs.cancel_on_failure)
    after_reason[(after == Status.READY) & (former.retries > 0)] = StatusReason.RETRY
    changed = np.flatnonzero((after != state.jobs.status) | (after_reason != state.jobs.reason))
    marked = former.known & former.may_return
    return Plan(
        operation=request.NAME,
        effect=request.effect(),
        run_id=state.run_id,
        jobs=changed,
        before=state.jobs.status[changed],
        after=after[changed],
        after_reason=after_reason[changed],
        reasons=make_reasons(Kind.UNDONE, changed, last.task_id),
        count=len(changed),
        spared=0,
        adjustments=tuple(_put_needs_back(state, steps)),
        dropped=tuple(name for step in steps for name in step.before.added),
        cause=f"by taking back task {last.task_id} ({last.operation})",
        marked=np.flatnonzero(marked & ~state.jobs.may_return),
        unmarked=np.flatnonzero(former.known & ~former.may_return & state.jobs.may_return),
        restored=Restored(
            records=former.records(),
            jobs=jobs,
            counters=former.counter[jobs],
            workers=former.worker[jobs],
            retries=former.retries[jobs],
            values=former.values(),
            is_canceled=last.before.is_canceled or state.is_canceled,
            armed=last.before.armed or [],
        ),
    )


def _put_needs_back(state: State, steps: tuple[Step, ...]) -> Iterator[Adjustment]:
    """The jobs that still have the resource requirements that an operation gave them, with those of before.

    Where those are gone, or others have been chosen since, nothing is put back.
    """
    needs = {need.name: index for index, need in enumerate(state.requirements)}
    for former, given, column in (each for step in steps for each in step.before.adjusted):
        found = state.jobs.ids.find(column.values())
        jobs = found[found >= 0]
        jobs = jobs[state.jobs.requirement[jobs] == needs.get(given, -2)]
        if len(jobs) and (former is None or former in needs):
            yield Adjustment(jobs=jobs, need=None if former is None else state.requirements[needs[former]])


def _find_released(state: State, former: "_Former", after: NDArray[np.uint8], reason: NDArray[np.uint8]) -> Mask:
    """Jobs that a failure has canceled since, once everything else had settled, some of which waits again now."""
    released = np.zeros(state.count, dtype=np.bool_)
    canceled = ~former.known & (after == Status.CANCELED) & (reason == StatusReason.UPSTREAM_FAILED)
    if canceled.any() and not state.is_canceled:
        waiting, _ = count_dependencies(state.graph, after)
        roots = np.flatnonzero(canceled & (waiting > state.waiting))
        released[find_closure(state.graph, roots, ~canceled).jobs] = True
    return released


class _Former:
    """The former state, put together from steps: columns over all jobs, true where `known`, and over all files."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.known = np.zeros(state.count, dtype=np.bool_)
        self.below = np.zeros(state.count, dtype=np.bool_)
        """True for jobs of which nothing is put back, but the attempt is known."""
        self.status = state.jobs.status.copy()
        self.reason = state.jobs.reason.copy()
        self.may_return = state.jobs.may_return.copy()
        self.counter = state.jobs.counter.copy()
        self.attempt = state.jobs.attempt.copy()
        self.worker = state.jobs.worker.copy()
        self.retries = state.jobs.retries.copy()
        self._files = replace(state.files, **{name: getattr(state.files, name).copy() for name in _RECORD})
        self._is_back = np.zeros(len(state.files.size), dtype=np.bool_)
        self._given = np.zeros(len(state.files.size), dtype=np.int64)
        """Of files that go back: the first of the versions that are taken back."""
        self._values: list[tuple[int, int]] = []

    def put(self, before: Before) -> None:
        """Goes one step back. What is not there any more is left out."""
        found = self._state.jobs.ids.find(before.jobs.values())
        there = found >= 0
        jobs = found[there]
        self.known[jobs] = True
        for name in ("status", "reason", "may_return", "counter", "attempt", "worker"):
            column: NDArray[np.generic] = getattr(self, name)
            column[jobs] = getattr(before, name).values()[there].astype(column.dtype)
        self.retries[jobs] = 0 if before.retries is None else before.retries.values()[there]
        found = self._state.jobs.ids.find(before.below.values())
        there = found >= 0
        self.below[found[there]] = True
        self.attempt[found[there]] = before.below_attempt.values()[there]
        self._put_records(before)
        self._values += before.values

    def _put_records(self, before: Before) -> None:
        """Only of files whose record is what the operation left behind."""
        files = self._files
        found, given = files.ids.find(before.files.values()), before.given.values()
        is_left = found >= 0
        there = found[is_left]
        is_left[is_left] = files.version[there] == given[is_left]
        if before.given_mtime_ns is not None:
            there = found[is_left]
            is_left[is_left] = files.mtime_ns[there] == before.given_mtime_ns.values()[is_left]
        back = found[is_left]
        for name in ("mtime_ns", "size", "is_racy", "version"):
            column: NDArray[np.generic] = getattr(files, name)
            column[back] = getattr(before, name).values()[is_left].astype(column.dtype)
        files.digest[back] = np.frombuffer(before.digest, dtype=DIGEST)[is_left]
        self._is_back[back] = True
        self._given[back] = given[is_left]

    def records(self) -> Records:
        """The records to put back: not of files that a job has taken since as the operation had recorded them."""
        files = self._files
        used = np.full(len(files.size), -1, dtype=np.int64)
        np.maximum.at(used, files.inputs.items, self.counter[files.inputs.owners()])
        back = np.flatnonzero(self._is_back & ((files.version == self._given) | (used < self._given)))
        return Records(
            files=back,
            **{name: getattr(files, name)[back] for name in _RECORD},
            is_new=False,
            is_restored=True,
        )

    def values(self) -> list[tuple[int, int]]:
        """(user data, version) of the cleared values that nothing was written over since."""
        values = self._state.values
        found = [(values.ids.find_one(value_id), version) for value_id, version in self._values]
        return [(index, version) for index, version in found if index >= 0 and values.latest(index)[0] == version]


def _check(state: State, last: Step, former: _Former, stopped: int) -> None:
    """Raises Refused when something that the operation made runnable was claimed, or was changed otherwise.

    A claim that was handed back, or has expired, counts: its number must not be given out again (SEMANTICS 5.3), so the
    job cannot go back to the attempt before. Nor does its status tell whether a process has started after all.
    """
    what = f"task {last.task_id} ({last.operation}) cannot be taken back"
    if stopped:
        raise Refused(
            f"{what}: it stopped {count_jobs(stopped)} that ran", workflow_id=state.workflow_id, task_id=last.task_id
        )
    jobs = state.jobs
    claimed = (jobs.attempt != former.attempt) | (former.known & mask_of(LIVE)[jobs.status])
    if claimed.any():
        text = f"{what}: since then {{}} went to a worker. Use `jobs accept` for what need not run"
        raise _refusal(state, last, text, np.flatnonzero(claimed))
    moved = _find_moved(state, last, former)
    if moved.any():
        raise _refusal(state, last, f"{what}: since then {{}} changed otherwise", np.flatnonzero(moved))


def _find_moved(state: State, last: Step, former: _Former) -> Mask:
    """The jobs that are neither as they were nor where the operation, and what follows from it, may have left them."""
    status, reason = state.jobs.status, state.jobs.reason
    as_left = mask_of(WAITING)[status] | ((status == Status.CANCELED) & (reason == StatusReason.UPSTREAM_FAILED))
    as_left |= (status == Status.COMPLETED) & np.isin(reason, (StatusReason.UNCHANGED_INPUTS, StatusReason.ACCEPTED))
    moved: Mask = ~as_left & ((status != former.status) | (reason != former.reason))
    if state.is_canceled and not last.before.is_canceled:  # nothing may wait again in a workflow canceled since
        moved |= mask_of(WAITING)[former.status]
    moved &= former.known
    moved |= former.below & (status == Status.COMPLETED)  # spared by early cutoff, for what the operation had settled
    return moved


def _refusal(state: State, last: Step, text: str, jobs: Int64) -> Refused:
    who = f"{count_jobs(len(jobs))} ({name_jobs(state, jobs)})"
    return Refused(
        text.format(who),
        workflow_id=state.workflow_id,
        task_id=last.task_id,
        jobs=state.jobs.ids.ids[jobs[:1000]].tolist(),
        count=len(jobs),
    )
