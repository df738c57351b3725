"""A plan: the pure result of a decision. Which jobs change status, from, to, and why.

A dry run shows a plan, the real operation applies it, its task keeps it: it is the same plan. Packed plans hold
ids instead of indexes, so that they can be read for ever.
"""

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from torcd.core.changes import COLUMNS, Kind, Reasons
from torcd.core.columns import Column, pack_column
from torcd.core.delta import Adjustment, Records
from torcd.core.evaluation import held_canceled
from torcd.core.observation import Observation
from torcd.core.state import State
from torcd.protocol.recover import Diagnosed

Int64 = NDArray[np.int64]
_NONE: Int64 = np.empty(0, dtype=np.int64)
FILE_KINDS = (Kind.INPUT_CHANGED, Kind.INPUT_MISSING, Kind.OUTPUT_MISSING, Kind.OUTPUT_NEEDED)
JOB_IN_REF = (Kind.UPSTREAM_STALE, Kind.UPSTREAM_SETTLED)
JOB_IN_OLD = (Kind.UPSTREAM_STALE, Kind.OUTPUT_NEEDED)
HELD = 0x80
"""See `PackedPlan.why_others`."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What an undo puts back besides statuses."""

    records: Records
    """With the numbers they had."""
    jobs: Int64
    counters: Int64
    """Of `jobs`: the version counter at their last attempt."""
    workers: NDArray[np.int32]
    """Of `jobs`: who held it, see `Jobs.worker`."""
    retries: NDArray[np.int32]
    """Of `jobs`: how often they count as retried."""
    values: list[tuple[int, int]]
    """(user data, version) of values that were cleared: that version is taken back."""
    is_canceled: bool
    armed: list[int]
    """The ids of the actions that were armed."""

    def columns(self, state: State) -> list[NDArray[Any]]:
        """All of it, by ids."""
        records, values = self.records, np.array(self.values, dtype=np.int64).reshape(-1, 2)
        return [
            state.files.ids.ids[records.files], records.mtime_ns, records.size, records.digest, records.is_racy,
            records.version, state.jobs.ids.ids[self.jobs], self.counters, self.retries,
            state.values.ids.ids[values[:, 0]], values[:, 1], np.array([self.is_canceled]),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operation does to the state it was made from. Arrays over jobs are in topological order."""

    operation: str
    effect: dict[str, Any]
    run_id: int
    jobs: Int64
    """The jobs whose status changes."""
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    after_reason: NDArray[np.uint8]
    reasons: Reasons
    """Sorted by job; only of jobs in `jobs`."""
    count: int
    """The number in the sentence that tells of it."""
    spared: int
    """Jobs that have ended and stay as they are."""
    cause: str
    records: Observation = field(default_factory=Observation)
    """Files whose record changes, with what is accepted of them."""
    stopped: Int64 = field(default_factory=lambda: _NONE)
    """Live jobs whose attempts are stopped and fenced."""
    marked: Int64 = field(default_factory=lambda: _NONE)
    """Jobs that from now on may return to completed (SEMANTICS 4.9)."""
    unmarked: Int64 = field(default_factory=lambda: _NONE)
    """Jobs that may do so no more."""
    cleared: Int64 = field(default_factory=lambda: _NONE)
    """User data whose values end."""
    accepted: Int64 = field(default_factory=lambda: _NONE)
    """Jobs that count as run with the present files, definition and user data."""
    restored: Restored | None = None
    """What is put back as it was, by an undo."""
    adjustments: tuple[Adjustment, ...] = ()
    """Jobs that get other resource requirements."""
    dropped: tuple[str, ...] = ()
    """Names of resource requirements that go."""
    diagnoses: list[Diagnosed] | None = None
    """What a recover has found out about each job that failed."""
    warnings: tuple[str, ...] = ()
    clears_cancel: bool = False


class PackedPlan(msgspec.Struct, frozen=True):
    """A plan with ids, as it is stored."""

    jobs: Column
    before: Column
    after: Column
    starts: Column
    """The reasons of job `i` are the rows `starts[i]` to `starts[i + 1]`."""
    reasons: dict[str, Column]
    details: list[tuple[str, Any, Any]]
    before_reason: Column | None = None
    after_reason: Column | None = None
    """Status reasons; older plans have none."""
    others: bytes = b""
    """Of the jobs that stay as they are: their ids as steps from one to the next (<i8) and their statuses (u1),
    one after the other, compressed."""
    why_others: bytes = b""
    """Of the same, compressed: their status reasons (u1), plus `HELD` where a failure upstream stood. Older plans have
    none."""


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A stored plan, unpacked."""

    jobs: Int64
    before: Int64
    after: Int64
    before_reason: Int64
    after_reason: Int64
    starts: Int64
    reasons: dict[str, Int64]
    details: list[tuple[str, Any, Any]]
    others: bytes
    why_others: bytes


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A plan without its jobs."""

    workflow_id: int
    operation: str
    count: int
    listed: int
    plan_digest: str
    run_id: int
    warnings: list[str]
    cause: str
    spared: int
    diagnoses: list[Diagnosed] | UnsetType = UNSET
    """The first `MOST_DIAGNOSES`; unset: nothing was diagnosed, which only a recover does."""
    diagnosed: dict[str, dict[str, int]] | UnsetType = UNSET
    """Of each kind of failure: how many jobs had it, and how many of them run again."""


MOST_DIAGNOSES = 1000
"""Diagnoses that are kept with a plan: more would not fit into a message."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PackedPlan).decode


def pack_plan(plan: Plan, state: State) -> bytes:
    """The plan's jobs and reasons with ids instead of indexes."""
    ids, reasons, columns = state.jobs.ids.ids, plan.reasons, _reasons_by_id(plan, state)
    return _encode(
        PackedPlan(
            jobs=pack_column(ids[plan.jobs]),
            before=pack_column(plan.before),
            after=pack_column(plan.after),
            before_reason=pack_column(state.jobs.reason[plan.jobs]),
            after_reason=pack_column(plan.after_reason),
            starts=pack_column(np.append(np.searchsorted(reasons.job, plan.jobs), len(reasons.job))),
            reasons={name: pack_column(column) for name, column in columns.items()},
            details=list(reasons.details),
            **_pack_others(plan, state),
        )
    )


def _reasons_by_id(plan: Plan, state: State) -> dict[str, NDArray[Any]]:
    ids, reasons, ref, old_a = state.jobs.ids.ids, plan.reasons, plan.reasons.ref.copy(), plan.reasons.old_a.copy()
    is_file = np.isin(reasons.kind, FILE_KINDS)
    ref[is_file] = state.files.ids.ids[ref[is_file]]
    is_value = reasons.kind == Kind.USER_DATA_CHANGED
    ref[is_value] = state.values.ids.ids[ref[is_value]]
    for column, kinds in ((ref, JOB_IN_REF), (old_a, JOB_IN_OLD)):
        is_job = np.isin(reasons.kind, kinds)
        column[is_job] = ids[column[is_job]]
    columns = {name: getattr(reasons, name) for name in COLUMNS}
    return {**columns, "job": ids[reasons.job], "ref": ref, "old_a": old_a}


def _pack_others(plan: Plan, state: State) -> dict[str, bytes]:
    stays = np.ones(state.count, dtype=np.bool_)
    stays[plan.jobs] = False
    ids = state.jobs.ids.ids[stays]
    order = np.argsort(ids)
    steps = np.diff(ids[order], prepend=0).astype("<i8")
    why = state.jobs.reason | np.where(held_canceled(state), np.uint8(HELD), np.uint8(0))
    return {
        "others": zlib.compress(steps.tobytes() + state.jobs.status[stays][order].tobytes(), level=1),
        "why_others": zlib.compress(why[stays][order].tobytes(), level=1),
    }


class Other(NamedTuple):
    """A job that stayed as it was."""

    status: int
    reason: int
    is_held: bool
    """Whether it was canceled, and a failure upstream stood."""


def find_other(plan: ShownPlan, job_id: int) -> Other | None:
    """How a job was that stayed as it was; None: it did not, or was not there."""
    data = zlib.decompress(plan.others) if plan.others else b""
    count = len(data) // 9
    ids = np.cumsum(np.frombuffer(data, dtype="<i8", count=count))
    place = int(np.searchsorted(ids, job_id))
    if place == count or ids[place] != job_id:
        return None
    why = zlib.decompress(plan.why_others)[place] if plan.why_others else 0
    return Other(data[8 * count + place], why & ~HELD, bool(why & HELD))


def unpack_plan(packed: bytes) -> ShownPlan:
    """What `pack_plan` packed."""
    plan = _decode(packed)
    return ShownPlan(
        jobs=plan.jobs.values(),
        before=plan.before.values(),
        after=plan.after.values(),
        before_reason=_reasons(plan.before_reason, plan.jobs.count),
        after_reason=_reasons(plan.after_reason, plan.jobs.count),
        starts=plan.starts.values(),
        reasons={name: column.values() for name, column in plan.reasons.items()},
        details=plan.details,
        others=plan.others,
        why_others=plan.why_others,
    )


def _reasons(column: Column | None, count: int) -> Int64:
    return np.zeros(count, dtype=np.int64) if column is None else column.values()


def summarize(plan: Plan, state: State) -> Summary:
    """The plan without its jobs."""
    return Summary(
        workflow_id=state.workflow_id,
        operation=plan.operation,
        count=plan.count,
        listed=len(plan.jobs),
        plan_digest=digest_plan(plan, state),
        run_id=plan.run_id,
        warnings=list(plan.warnings),
        cause=plan.cause,
        spared=plan.spared,
        diagnoses=UNSET if plan.diagnoses is None else plan.diagnoses[:MOST_DIAGNOSES],
        diagnosed=UNSET if plan.diagnoses is None else _count_diagnoses(plan.diagnoses),
    )


def _count_diagnoses(diagnoses: list[Diagnosed]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for each in diagnoses:
        count = counts.setdefault(each.kind, {"count": 0, "recoverable": 0})
        count["count"] += 1
        count["recoverable"] += each.recoverable
    return counts


def digest_plan(plan: Plan, state: State) -> str:
    """Changes whenever anything that would happen changes, but not with who asks for it: hexadecimal.

    Everything is told by its id, since an index means another job after an update.
    """
    effects = hashlib.sha256(_encode((plan.operation, state.workflow_id, plan.run_id)))
    jobs, reasons = state.jobs.ids.ids, _reasons_by_id(plan, state)
    columns: list[NDArray[Any]] = [
        plan.before, plan.after, plan.after_reason, state.values.ids.ids[plan.cleared],
        *(jobs[chosen] for chosen in (plan.jobs, plan.stopped, plan.marked, plan.unmarked, plan.accepted)),
        state.files.ids.ids[plan.records.files], *plan.records.columns()[1:],
        *(reasons[name] for name in ("job", "kind", "ref", "new_a", "new_b")),
    ]  # fmt: skip
    if plan.restored is not None:
        columns += plan.restored.columns(state)
    for adjustment in plan.adjustments:
        effects.update(_encode(adjustment.need))
        columns.append(jobs[adjustment.jobs])
    for column in columns:
        effects.update(column.tobytes())
        effects.update(b"|")
    effects.update(_encode([detail[:2] if detail[0] == "accepted" else detail for detail in plan.reasons.details]))
    return effects.hexdigest()
