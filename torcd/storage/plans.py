"""Shows stored plans: puts names, paths and values to the ids of a packed plan, a page at a time.

What an update of the workflow has removed since then is shown as `removed job 12`, without a path or values.
"""

import sqlite3
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from torcd.core.changes import Kind
from torcd.core.plan import FILE_KINDS, JOB_IN_OLD, JOB_IN_REF, ShownPlan, Summary
from torcd.core.state import ABSENT, NEVER
from torcd.core.status import reason_name, status_name
from torcd.protocol.model import PlanJob

Reason = dict[str, Any]


def show_page(db: sqlite3.Connection, plan: ShownPlan, cursor: int, limit: int) -> tuple[list[PlanJob], int | None]:
    """The jobs from place `cursor` on, and the place of the next page (None: there is no more)."""
    end = min(cursor + limit, len(plan.jobs))
    if cursor >= end:
        return [], None
    ids = plan.jobs[cursor:end].tolist()
    moves = (plan.before, plan.before_reason, plan.after, plan.after_reason)
    columns = [column[cursor:end].tolist() for column in moves]
    rows = range(int(plan.starts[cursor]), int(plan.starts[end]))
    names = _Names(db, plan, rows, ids)
    reasons: dict[int, list[Reason]] = {}
    for row in rows:
        job_id, reason = names.show(row)
        reasons.setdefault(job_id, []).append(reason)
    jobs = [
        PlanJob(
            id=job_id,
            name=names.jobs[job_id],
            from_=status_name(was),
            from_reason=reason_name(why_was),
            to=status_name(becomes),
            to_reason=reason_name(why_becomes),
            reasons=reasons.get(job_id, []),
        )
        for job_id, was, why_was, becomes, why_becomes in zip(ids, *columns, strict=True)
    ]
    return jobs, end if end < len(plan.jobs) else None


class _Names:
    """The names that one page needs, each looked up once."""

    def __init__(self, db: sqlite3.Connection, plan: ShownPlan, rows: range, ids: list[int]) -> None:
        self._db = db
        self._plan = plan
        self._first = rows.start
        self._columns = {name: column[rows.start : rows.stop] for name, column in plan.reasons.items()}
        kind, ref = self._columns["kind"], self._columns["ref"]
        others = np.concatenate(
            (ref[np.isin(kind, JOB_IN_REF)], self._columns["old_a"][np.isin(kind, JOB_IN_OLD)])
        ).tolist()
        self.jobs = _find_names(db, "job", [*ids, *others])
        files = ref[np.isin(kind, FILE_KINDS)].tolist()
        self._files = _find_names(db, "file", files)
        self._paths = _look_up(db, "SELECT id, path FROM file", files)
        self._values = _find_names(db, "user_data", ref[kind == Kind.USER_DATA_CHANGED].tolist())

    def show(self, place: int) -> tuple[int, Reason]:
        """The job of one row, and the reason as users see it."""
        row = {name: int(column[place - self._first]) for name, column in self._columns.items()}
        return row["job"], self._show(row)

    def _show(self, row: dict[str, int]) -> Reason:
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
                via = self.jobs[row["old_a"]]
                return {"kind": "upstream_stale", "root": self.jobs[ref], "root_id": ref, "via": via}
            case Kind.NOT_COMPLETED:
                why = reason_name(row["old_a"])
                return {"kind": "not_completed", "status": status_name(ref), "status_reason": why}
            case Kind.OUTPUT_NEEDED:
                return {"kind": "output_missing", **self._file(ref), "needed_by": self.jobs[row["old_a"]]}
            case Kind.ACCEPTED:
                _, reason, by = self._plan.details[ref]
                return {"kind": "accepted", "reason": reason, "by": by}
            case Kind.UPSTREAM_SETTLED:
                return {"kind": "upstream_settled", "upstream": self.jobs[ref], "upstream_id": ref}
            case Kind.UNDONE:
                return {"kind": "undone", "task_id": ref}
            case _:
                return {"kind": "requested"}

    def _file(self, file_id: int) -> Reason:
        return {"file": self._files[file_id], "path": self._paths.get(file_id)}

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


def _find_names(db: sqlite3.Connection, table: str, ids: list[int]) -> dict[int, str]:
    """The name of each object, or what stands for it when it was removed."""
    removed = {each: f"removed {table.replace('_', ' ')} {each}" for each in ids}
    return removed | _look_up(db, f"SELECT id, name FROM {table}", ids)


def _look_up(db: sqlite3.Connection, select: str, ids: list[int]) -> dict[int, str]:
    wanted = str(sorted(set(ids)))
    return dict(db.execute(f"{select} WHERE id IN (SELECT value FROM json_each(?))", (wanted,)).fetchall())


def show_summary(summary: Summary, jobs: list[PlanJob], *, dry_run: bool) -> dict[str, Any]:
    """A plan as users see it, with a page of its jobs."""
    known = {name: value for name, value in msgspec.structs.asdict(summary).items() if value is not UNSET}
    return {**known, "dry_run": dry_run, "jobs": jobs}
