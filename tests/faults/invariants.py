"""What must hold after every event, whatever was killed, stopped or cut: looked up in the database and the journal."""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from cutting_proxy import Acknowledged

WORKER_LOST = "worker_lost"
CHANGED = """
    SELECT job_id, attempt_id, worker_id, return_code, status, started_at_ms, ended_at_ms FROM result
"""


class Violation(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """Remembers what was there, since what is promised must stay."""

    def __init__(self, database: Path, journal: Path, acknowledged: Acknowledged) -> None:
        self._database = database
        self._journal = journal
        self._acknowledged = acknowledged
        self._results: dict[tuple[int, int], tuple[Any, ...]] = {}
        self._ended_tasks: dict[int, str] = {}
        self._event_seqs: dict[int, int] = {}

    def check(self) -> None:
        """Raises Violation."""
        self._check_overlaps()
        acknowledged = self._acknowledged.ends()  # before the look: what is acknowledged later may be missing in it
        carried_out = self._count_carried_out()
        db = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)
        try:
            db.execute("BEGIN")
            self._check_soundness(db)
            self._check_results(db, acknowledged)
            self._check_tasks(db)
            self._check_events(db)
            self._check_retries(db)
            self._check_actions(db, carried_out)
        finally:
            db.close()

    def _check_overlaps(self) -> None:
        path = self._journal / "overlaps"
        if path.exists():
            raise Violation(f"a job ran twice at the same time: {path.read_text().strip()}")

    def _check_soundness(self, db: sqlite3.Connection) -> None:
        found = db.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            raise Violation(f"the database is damaged: {found}")
        if broken := db.execute("PRAGMA foreign_key_check").fetchall():
            raise Violation(f"rows without their parents: {broken}")

    def _check_results(self, db: sqlite3.Connection, acknowledged: dict[tuple[int, int], int]) -> None:
        rows = {(row[0], row[1]): row for row in db.execute(CHANGED)}
        for attempt, code in acknowledged.items():
            row = rows.get(attempt)
            if row is None or row[3] != code or row[5] is None:
                raise Violation(f"attempt {attempt} was acknowledged with return code {code}; the database has {row}")
        for attempt, before in self._results.items():
            if rows.get(attempt) != before:
                raise Violation(f"the result of attempt {attempt} was {before} and is {rows.get(attempt)}")
        # That of an attempt that was given up may still be replaced by what its worker tells.
        self._results = {attempt: row for attempt, row in rows.items() if row[5] is not None}
        lost = db.execute(
            "SELECT job_id, attempt FROM job_state s WHERE status BETWEEN 5 AND 6 AND attempt > 0 AND NOT EXISTS"
            " (SELECT 1 FROM result r WHERE r.workflow_id = s.workflow_id AND r.job_id = s.job_id"
            "  AND r.attempt_id = s.attempt)"
        ).fetchall()
        if lost:
            raise Violation(f"completed or failed attempts without a result: {lost}")

    def _check_tasks(self, db: sqlite3.Connection) -> None:
        events: dict[int, list[dict[str, Any]]] = {}
        for (data,) in db.execute("SELECT data FROM event WHERE kind = 'operation'"):
            event = json.loads(data)
            if event["task_id"] is not None:
                events.setdefault(event["task_id"], []).append(event)
        run_ids = dict(db.execute("SELECT id, run_id FROM workflow"))
        reached: dict[int, int] = {}
        for task_id, workflow_id, status in db.execute("SELECT id, workflow_id, status FROM task"):
            done = events.pop(task_id, [])
            if len(done) != (status == "succeeded"):
                raise Violation(f"task {task_id} is {status} and has had effects {len(done)} times")
            former = self._ended_tasks.get(task_id, status)
            if former != status:
                raise Violation(f"task {task_id} had {former} and is now {status}")
            if status not in ("queued", "running"):
                self._ended_tasks[task_id] = status
            for event in done:
                reached[workflow_id] = max(reached.get(workflow_id, 0), event["run_id"])
        if events:
            raise Violation(f"effects of tasks that are not there: {sorted(events)}")
        for workflow_id, run_id in reached.items():
            if run_ids[workflow_id] != run_id:
                raise Violation(f"workflow {workflow_id} is at run {run_ids[workflow_id]}, its tasks made it {run_id}")
        if missing := [task_id for task_id in self._ended_tasks if task_id not in self._known(db)]:
            raise Violation(f"tasks that are not there any more: {missing}")

    def _known(self, db: sqlite3.Connection) -> set[int]:
        return {task_id for (task_id,) in db.execute("SELECT id FROM task")}

    def _check_retries(self, db: sqlite3.Connection) -> None:
        query = (
            "SELECT job_id, retries, (SELECT count(*) FROM result r WHERE r.job_id = s.job_id AND r.status = 6)"
            " AS failures FROM job_state s WHERE retries > failures"
        )
        if found := db.execute(query).fetchall():
            raise Violation(f"jobs were retried more often than they failed (job, retries, failures): {found}")

    def _count_carried_out(self) -> Counter[tuple[int, int]]:
        """How often each action, (workflow, number), was carried out; counted before the database is looked at."""
        path = self._journal / "actions"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter((int(workflow), int(number)) for workflow, number in map(str.split, lines))

    def _check_actions(self, db: sqlite3.Connection, carried_out: Counter[tuple[int, int]]) -> None:
        fired = {(row[0], row[1]): row[2] for row in db.execute("SELECT workflow_id, number, fired FROM action")}
        for action, count in carried_out.items():
            if count > fired[action]:
                raise Violation(f"action {action} has fired {fired[action]} times and was carried out {count} times")
        rows = db.execute("SELECT action_id, count(*) FROM firing WHERE status = 'running' GROUP BY action_id")
        if found := [row for row in rows if row[1] > 1]:
            raise Violation(f"actions are under way more than once at the same time: {found}")
        counted = dict(db.execute("SELECT action_id, count(*) FROM firing GROUP BY action_id"))
        for action_id, times in db.execute("SELECT id, fired FROM action"):
            if counted.get(action_id, 0) != times:
                raise Violation(f"action {action_id} has fired {times} times and has {counted.get(action_id)} firings")

    def _check_events(self, db: sqlite3.Connection) -> None:
        query = "SELECT w.id, w.event_seq, count(e.seq), max(e.seq) FROM workflow w LEFT JOIN event e ON"
        for workflow_id, last, count, newest in db.execute(f"{query} e.workflow_id = w.id GROUP BY w.id"):
            if (count, newest or 0) != (last, last):
                raise Violation(f"workflow {workflow_id} has {count} events up to {newest}, not {last} without a gap")
            if last < self._event_seqs.get(workflow_id, 0):
                raise Violation(f"workflow {workflow_id} has forgotten events")
            self._event_seqs[workflow_id] = last
