"""A plan: the pure result of a decision. Which jobs change status, from, to, and why.

A dry run shows a plan, the real operation applies it, its task keeps it: it is the same plan. Packed plans hold
ids instead of indexes, so that they can be read for ever.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from torcd.core.changes import Kind, Reasons
from torcd.core.state import State

Int64 = NDArray[np.int64]
COLUMNS = ("job", "kind", "ref", "old_a", "old_b", "new_a", "new_b")
FILE_KINDS = (Kind.INPUT_CHANGED, Kind.INPUT_MISSING, Kind.OUTPUT_MISSING)


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
    files: Int64
    """Files whose record changes, with what is accepted of them."""
    mtime_ns: Int64
    size: Int64
    stopped: Int64
    """Live jobs whose attempts are stopped and fenced."""
    count: int
    """The number in the sentence that tells of it."""
    spared: int
    cause: str
    warnings: tuple[str, ...] = ()
    clears_cancel: bool = False


class Column(msgspec.Struct, frozen=True, gc=False):
    """Integers in as few bytes as they need: `low` plus unsigned little-endian numbers of `width` bytes.

    `width` 0: all are `low`.
    """

    count: int
    low: int
    width: int
    data: bytes

    def values(self) -> Int64:
        """The integers."""
        if self.width == 0:
            return np.full(self.count, self.low, dtype=np.int64)
        return np.frombuffer(self.data, dtype=f"<u{self.width}").astype(np.int64) + self.low


def pack_column(values: NDArray[np.integer[Any]]) -> Column:
    """The column of some integers."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    width = next(width for width in (0, 1, 2, 4, 8) if high - low < 1 << 8 * width)
    data = (values.astype(np.int64, copy=False) - low).astype(f"<u{width}").tobytes() if width else b""
    return Column(len(values), low, width, data)


class PackedPlan(msgspec.Struct, frozen=True):
    """A plan with ids, as it is stored."""

    jobs: Column
    before: Column
    after: Column
    starts: Column
    """The reasons of job `i` are the rows `starts[i]` to `starts[i + 1]`."""
    reasons: dict[str, Column]
    details: list[tuple[str, Any, Any]]


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A stored plan, unpacked."""

    jobs: Int64
    before: Int64
    after: Int64
    starts: Int64
    reasons: dict[str, Int64]
    details: list[tuple[str, Any, Any]]


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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PackedPlan).decode


def pack_plan(plan: Plan, state: State) -> bytes:
    """The plan's jobs and reasons with ids instead of indexes."""
    ids = state.jobs.ids.ids
    reasons, ref = plan.reasons, plan.reasons.ref.copy()
    is_file = np.isin(reasons.kind, FILE_KINDS)
    ref[is_file] = state.files.ids.ids[ref[is_file]]
    is_value = reasons.kind == Kind.USER_DATA_CHANGED
    ref[is_value] = state.values.ids.ids[ref[is_value]]
    old_a, new_a = reasons.old_a.copy(), reasons.new_a.copy()
    is_upstream = reasons.kind == Kind.UPSTREAM_STALE
    ref[is_upstream] = ids[ref[is_upstream]]
    old_a[is_upstream] = ids[old_a[is_upstream]]
    columns = {"job": ids[reasons.job], "ref": ref, "old_a": old_a, "new_a": new_a}
    return _encode(
        PackedPlan(
            jobs=pack_column(ids[plan.jobs]),
            before=pack_column(plan.before),
            after=pack_column(plan.after),
            starts=pack_column(np.append(np.searchsorted(reasons.job, plan.jobs), len(reasons.job))),
            reasons={name: pack_column(columns.get(name, getattr(reasons, name))) for name in COLUMNS},
            details=list(reasons.details),
        )
    )


def unpack_plan(packed: bytes) -> ShownPlan:
    """What `pack_plan` packed."""
    plan = _decode(packed)
    return ShownPlan(
        jobs=plan.jobs.values(),
        before=plan.before.values(),
        after=plan.after.values(),
        starts=plan.starts.values(),
        reasons={name: column.values() for name, column in plan.reasons.items()},
        details=plan.details,
    )


def summarize(plan: Plan, state: State) -> Summary:
    """The plan without its jobs. The digest changes whenever anything that would happen changes."""
    effects = hashlib.sha256(_encode((plan.operation, state.workflow_id, plan.run_id)))
    reasons = plan.reasons
    for column in (
        plan.jobs, plan.before, plan.after, plan.after_reason, plan.stopped, plan.files, plan.mtime_ns, plan.size,
        reasons.job, reasons.kind, reasons.ref, reasons.new_a, reasons.new_b,
    ):  # fmt: skip
        effects.update(column.tobytes())
        effects.update(b"|")
    effects.update(_encode(reasons.details))
    return Summary(
        workflow_id=state.workflow_id,
        operation=plan.operation,
        count=plan.count,
        listed=len(plan.jobs),
        plan_digest=effects.hexdigest(),
        run_id=plan.run_id,
        warnings=list(plan.warnings),
        cause=plan.cause,
        spared=plan.spared,
    )
