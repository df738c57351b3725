"""Shows stored plans: puts names, paths and values to the ids of a packed plan, a page at a time."""

import sqlite3
from typing import Any

import msgspec
import numpy as np

from torcd.core.changes import Kind
from torcd.core.plan import PackedPlan, Summary
from torcd.core.state import ABSENT, NEVER
from torcd.core.status import status_name
from torcd.protocol.model import PlanJob

Reason = dict[str, Any]
FILE_KINDS = (Kind.INPUT_CHANGED, Kind.INPUT_MISSING, Kind.OUTPUT_MISSING)


def show_page(db: sqlite3.Connection, plan: PackedPlan, cursor: int, limit: int) -> tuple[list[PlanJob], int | None]:
    """The jobs from place `cursor` on, and the place of the next page (None: there is no more)."""
    ids = plan.job_ids[cursor : cursor + limit]
    before = np.frombuffer(plan.before, dtype="<i8")[cursor : cursor + limit]
    after = np.frombuffer(plan.after, dtype="<i8")[cursor : cursor + limit]
    rows = _reason_rows(plan, cursor, len(ids))
    names = _Names(db, plan, rows, ids.tolist())
    reasons: dict[int, list[Reason]] = {}
    for place in rows.tolist():
        reasons.setdefault(int(plan.column("job")[place]), []).append(names.show(place))
    jobs = [
        PlanJob(
            id=job_id,
            name=names.jobs[job_id],
            from_=status_name(was),
            to=status_name(becomes),
            reasons=reasons.get(job_id, []),
        )
        for job_id, was, becomes in zip(ids.tolist(), before.tolist(), after.tolist(), strict=True)
    ]
    end = cursor + len(ids)
    return jobs, end if end < len(plan.job_ids) else None


def _reason_rows(plan: PackedPlan, cursor: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The places of the reasons of some jobs: reasons are in the order of the jobs."""
    jobs, owners = plan.job_ids, plan.column("job")
    if not len(owners) or not count:
        return np.empty(0, dtype=np.int64)
    order = np.argsort(jobs, kind="stable")
    place = order[np.searchsorted(jobs, owners, sorter=order)]
    return np.flatnonzero((place >= cursor) & (place < cursor + count))


class _Names:
    """The names that one page needs, each looked up once."""

    def __init__(
        self,
        db: sqlite3.Connection,
        plan: PackedPlan,
        rows: np.ndarray[Any, np.dtype[np.int64]],
        ids: list[int],
    ) -> None:
        self._plan = plan
        self._columns = {name: plan.column(name) for name in plan.reasons}
        kind, ref = self._columns["kind"][rows], self._columns["ref"][rows]
        upstream = kind == Kind.UPSTREAM_STALE
        others = np.concatenate((ref[upstream], self._columns["old_a"][rows][upstream])).tolist()
        self.jobs = _look_up(db, "SELECT id, name FROM job", [*ids, *others])
        files = ref[np.isin(kind, FILE_KINDS)].tolist()
        self._files = _look_up(db, "SELECT id, name FROM file", files)
        self._paths = _look_up(db, "SELECT id, path FROM file", files)
        self._values = _look_up(db, "SELECT id, name FROM user_data", ref[kind == Kind.USER_DATA_CHANGED].tolist())
        self._db = db

    def show(self, place: int) -> Reason:
        """One reason, as users see it."""
        row = {name: int(column[place]) for name, column in self._columns.items()}
        ref = row["ref"]
        match row["kind"]:
            case Kind.INPUT_CHANGED:
                return {
                    "kind": "input_changed", **self._file(ref), "stored": _record(row["old_a"], row["old_b"]),
                    "observed": _record(row["new_a"], row["new_b"]),
                }  # fmt: skip
            case Kind.INPUT_MISSING:
                return {
                    "kind": "input_missing",
                    **self._file(ref),
                    "stored": _record(row["old_a"], row["old_b"]),
                }
            case Kind.OUTPUT_MISSING:
                return {"kind": "output_missing", **self._file(ref)}
            case Kind.DEFINITION_CHANGED:
                field, old, new = self._plan.details[ref]
                return {"kind": "definition_changed", "field": field, "old": old, "new": new}
            case Kind.USER_DATA_CHANGED:
                return {
                    "kind": "user_data_changed", "name": self._values[ref], "old": self._value(ref, row["old_a"]),
                    "new": self._value(ref, row["new_a"]),
                }  # fmt: skip
            case Kind.UPSTREAM_STALE:
                return {
                    "kind": "upstream_stale", "root": self.jobs[ref], "root_id": ref, "via": self.jobs[row["old_a"]],
                    "via_id": row["old_a"],
                }  # fmt: skip
            case Kind.NOT_COMPLETED:
                return {"kind": "not_completed", "status": status_name(ref)}
            case _:
                return {"kind": "requested"}

    def _file(self, file_id: int) -> Reason:
        return {"file": self._files[file_id], "path": self._paths[file_id]}

    def _value(self, user_data_id: int, version: int) -> Any:
        row = self._db.execute(
            "SELECT data FROM user_data_version WHERE user_data_id = ? AND version = ? AND workflow_id ="
            " (SELECT workflow_id FROM user_data WHERE id = ?)",
            (user_data_id, version, user_data_id),
        ).fetchone()
        return None if row is None or row[0] is None else msgspec.json.decode(row[0])


def _record(mtime_ns: int, size: int) -> Reason | None:
    """A record in a reason; None: absent, or never recorded."""
    return None if size in {ABSENT, NEVER} else {"mtime_ns": mtime_ns, "size": size}


def _look_up(db: sqlite3.Connection, select: str, ids: list[int]) -> dict[int, str]:
    wanted = str(sorted(set(ids)))
    return dict(db.execute(f"{select} WHERE id IN (SELECT value FROM json_each(?))", (wanted,)).fetchall())


def show_summary(summary: Summary, jobs: list[PlanJob], *, dry_run: bool) -> dict[str, Any]:
    """A plan as users see it, with a page of its jobs."""
    return {**msgspec.structs.asdict(summary), "dry_run": dry_run, "jobs": jobs}
