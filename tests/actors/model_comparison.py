"""Compares the reference model with the real thing: with what users are shown, and with what the database holds."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from actor_rig import House
from reference_model import ABSENT, ENDED, LIVE, NEVER, Model, Seen
from reference_operations import Plan

from torcd.core.plan import unpack_plan
from torcd.protocol.model import File
from torcd.storage.lists import Listing, load_page
from torcd.storage.nouns import ALL_RESULTS, CURRENT_RESULTS, FILES, JOBS, USER_DATA
from torcd.storage.plans import show_page

View = dict[str, Any]
"""Everything that the model and the product must agree on, under names that tell where they do not."""


async def compare(house: House, workflow_id: int, model: Model, tasks: dict[int, str]) -> None:
    """Fails unless model, database, log and memory agree; `tasks` are the statuses of all tasks by id."""
    found = await house.database.read(lambda db: _look(db, workflow_id))
    expected = _expect(model) | {"tasks": tasks}
    for part in expected:
        assert found[part] == expected[part], part
    assert found["seqs"] == list(range(1, found["last_seq"] + 1)), "SEMANTICS 7.1: numbered without gaps"
    assert found["replayed"] == {name: job.state for name, job in model.jobs.items()}, "7.1: every change is in the log"
    assert sum(status in {"queued", "running"} for status in found["tasks"].values()) <= 1, "SEMANTICS 6.1"
    await house.check(workflow_id)
    published = house.supervisor.published(workflow_id)
    assert published is not None
    assert (published.run_id, published.is_canceled, published.complete) == (
        model.run_id,
        model.is_canceled,
        model.is_complete,
    )


def _expect(model: Model) -> View:
    jobs = model.jobs.items()
    return {
        "jobs": {
            name: {
                "state": job.state,
                "attempt": len(job.attempts),
                "run_id": job.attempts[-1].run_id if job.attempts else 0,
                "return_code": job.return_code,
                "worker": job.current.worker if job.current is not None and job.status in LIVE else None,
                "runtime_s": None if job.need is None else job.need[1],
            }
            for name, job in jobs
        },
        "results": {
            each.ref: (each.run_id, each.result.return_code, each.result.status, each.result.reason)
            for _, job in jobs
            for each in job.attempts
            if each.result is not None
        },
        "current results": {
            job.current.ref
            for _, job in jobs
            if job.status in ENDED and job.current is not None and job.current.result is not None
        },
        "files": {file: model.record(file) for file in model.records},
        "values": model.values,
        "workflow": (model.run_id, model.is_canceled),
    }


def _look(db: sqlite3.Connection, workflow_id: int) -> View:
    jobs = _list(db, JOBS, workflow_id)
    results = _list(db, ALL_RESULTS, workflow_id)
    runtimes = dict(
        db.execute(
            "SELECT j.id, q.runtime_s FROM job_state s JOIN job j ON j.id = s.job_id"
            " LEFT JOIN requirement q ON q.id = j.requirement_id WHERE s.workflow_id = ?",
            (workflow_id,),
        )
    )
    (run_id, is_canceled, last_seq), *_ = db.execute(
        "SELECT run_id, is_canceled, event_seq FROM workflow WHERE id = ?", (workflow_id,)
    )
    return {
        "jobs": {
            job.name: {
                "state": (job.status, job.status_reason),
                "attempt": job.attempt_id,
                "run_id": job.run_id,
                "return_code": job.return_code,
                "worker": job.worker_id,
                "runtime_s": runtimes[job.id],
            }
            for job in jobs
        },
        "results": {
            (each.job_name, each.attempt_id): (each.run_id, each.return_code, each.status, each.status_reason)
            for each in results
        },
        "current results": {(each.job_name, each.attempt_id) for each in _list(db, CURRENT_RESULTS, workflow_id)},
        "files": {file.name: _seen(file) for file in _list(db, FILES, workflow_id)},
        "values": {value.name: value.data for value in _list(db, USER_DATA, workflow_id) if value.is_set},
        "workflow": (run_id, bool(is_canceled)),
        "tasks": dict(db.execute("SELECT id, status FROM task WHERE workflow_id = ?", (workflow_id,))),
        "last_seq": last_seq,
        "seqs": [seq for (seq,) in db.execute("SELECT seq FROM event WHERE workflow_id = ?", (workflow_id,))],
        "replayed": _replay(db, workflow_id, {job.id: job.name for job in jobs}),
    }


def _list(db: sqlite3.Connection, listing: Listing[Any], workflow_id: int) -> list[Any]:
    return load_page(db, listing, (workflow_id,), (), 0, 5000)[0]


def _seen(file: File) -> Seen:
    if file.mtime_ns is not None and file.size is not None:
        return file.mtime_ns, file.size
    return {"never": NEVER, "absent": ABSENT}[file.recorded]


def _replay(db: sqlite3.Connection, workflow_id: int, names: dict[int, str]) -> dict[str, tuple[str, str | None]]:
    """The state of each job as somebody knows it who has read the log and nothing else."""
    states: dict[str, tuple[str, str | None]] = dict.fromkeys(names.values(), ("uninitialized", None))
    for (text,) in db.execute(
        "SELECT data FROM event WHERE workflow_id = ? AND kind = 'jobs_changed' ORDER BY seq", (workflow_id,)
    ):
        for change in json.loads(text)["changes"]:
            for job_id in _ids(change["jobs"]):
                states[names[job_id]] = (change["status"], change["status_reason"])
    return states


def _ids(ranges: str) -> Iterator[int]:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


# ---- plans ----

Shown = list[tuple[str, str, str, list[str]]]
"""Of each job of a plan: name, from, to, reasons."""


def compare_plan(db: sqlite3.Connection, packed: bytes, plan: Plan) -> None:
    """Fails unless a plan of the product shows what the model's does: the same jobs in the same order, and why."""
    page, _ = show_page(db, unpack_plan(packed), 0, 5000)
    found: Shown = [(job.name, job.from_, job.to, sorted(map(repr, map(_reason, job.reasons)))) for job in page]
    expected: Shown = [
        (name, move.before[0], move.after[0], sorted(map(repr, move.reasons))) for name, move in plan.moves.items()
    ]
    assert found == expected


def _reason(shown: dict[str, Any]) -> tuple[object, ...]:
    """A reason as the model gives it."""
    kind = shown["kind"]
    match kind:
        case "input_changed":
            return kind, shown["file"], _record(shown["stored"]), _record(shown["observed"])
        case "input_missing":
            return kind, shown["file"], _record(shown["stored"])
        case "output_missing":
            return kind, shown["file"]
        case "definition_changed":
            return kind, shown["field"], shown["old"], shown["new"]
        case "user_data_changed":
            return kind, shown["name"], shown["old"], shown["new"]
        case "upstream_stale":
            return kind, shown["root"], shown["via"]
        case "not_completed":
            return kind, shown["status"]
        case _:
            return (kind,)


def _record(shown: dict[str, int] | None) -> tuple[int, int] | None:
    return None if shown is None else (shown["mtime_ns"], shown["size"])
