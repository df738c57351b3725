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


class PackedPlan(msgspec.Struct, frozen=True):
    """A plan with ids, as it is stored: each array as the bytes of little-endian int64."""

    jobs: bytes
    before: bytes
    after: bytes
    reasons: dict[str, bytes]
    details: list[tuple[str, Any, Any]]

    def column(self, name: str) -> Int64:
        """One column of the reasons."""
        return np.frombuffer(self.reasons[name], dtype="<i8")

    @property
    def job_ids(self) -> Int64:
        """The jobs, in topological order."""
        return np.frombuffer(self.jobs, dtype="<i8")


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


def _bytes(column: NDArray[Any]) -> bytes:
    return column.astype("<i8", copy=False).tobytes()


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
            jobs=_bytes(ids[plan.jobs]),
            before=_bytes(plan.before),
            after=_bytes(plan.after),
            reasons={name: _bytes(columns.get(name, getattr(reasons, name))) for name in COLUMNS},
            details=list(reasons.details),
        )
    )


def unpack_plan(packed: bytes) -> PackedPlan:
    """What `pack_plan` made."""
    return _decode(packed)


def summarize(plan: Plan, state: State, packed: bytes) -> Summary:
    """The plan without its jobs. The digest changes whenever anything that would happen changes."""
    header = _encode((plan.operation, sorted(plan.effect.items()), state.workflow_id, plan.run_id))
    return Summary(
        workflow_id=state.workflow_id,
        operation=plan.operation,
        count=plan.count,
        listed=len(plan.jobs),
        plan_digest=hashlib.sha256(header + packed).hexdigest(),
        run_id=plan.run_id,
        warnings=list(plan.warnings),
        cause=plan.cause,
        spared=plan.spared,
    )
