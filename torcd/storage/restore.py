"""Writes where an imported workflow stands, and counts what it holds, inside the caller's transaction."""

import sqlite3

import msgspec

from torcd.core.restoration import NOBODY, Restoration


def restore_state(db: sqlite3.Connection, workflow_id: int, new: Restoration) -> None:
    """Gives a workflow that was just created, from the same document, its state.

    What is at an index has its id in the order of the ids: so they were given.
    """
    db.execute(
        "UPDATE workflow SET run_id = ?, counter = ?, is_canceled = ? WHERE id = ?",
        (new.run_id, new.version_counter, new.is_canceled, workflow_id),
    )
    db.execute("UPDATE action SET is_armed = 0, fired = 0 WHERE workflow_id = ?", (workflow_id,))
    db.executemany(
        "UPDATE action SET fired = 1 WHERE workflow_id = ? AND number = ?",
        [(workflow_id, number) for number in new.unarmed],
    )
    _restore_jobs(db, workflow_id, new)
    _restore_files(db, workflow_id, new)
    values = _ids(db, "SELECT id FROM user_data WHERE workflow_id = ? ORDER BY id", workflow_id)
    db.executemany(
        "INSERT INTO user_data_version VALUES (?, ?, ?, ?, ?)",
        ((workflow_id, values[index], *rest) for index, *rest in new.values),
    )


def _ids(db: sqlite3.Connection, select: str, workflow_id: int) -> list[int]:
    return [row[0] for row in db.execute(select, (workflow_id,))]


def _restore_jobs(db: sqlite3.Connection, workflow_id: int, new: Restoration) -> None:
    jobs = _ids(db, "SELECT job_id FROM job_state WHERE workflow_id = ? ORDER BY job_id", workflow_id)
    db.executemany(
        "UPDATE job_state SET status = ?, reason = ?, attempt = ?, run_id = ?, worker_id = ?, counter = ?,"
        " may_return = ?, retries = ? WHERE workflow_id = ? AND job_id = ?",
        ((*row, workflow_id, job_id) for row, job_id in zip(new.jobs, jobs, strict=True)),
    )
    db.executemany(
        "UPDATE job SET definition_version = ? WHERE id = ?",
        ((version, jobs[index]) for index, version in new.definition_versions),
    )
    db.executemany(
        "INSERT INTO job_definition VALUES (?, ?, ?, ?)",
        ((workflow_id, jobs[index], version, text) for index, version, text in new.definitions),
    )
    db.executemany(
        "INSERT INTO result (workflow_id, worker_id, job_id, attempt_id, run_id, return_code, status, reason,"
        " started_at_ms, ended_at_ms, exec_time_s, peak_memory_bytes, cpu_seconds, hostname, stdout_path,"
        " stderr_path) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((workflow_id, NOBODY, jobs[index], *rest) for index, *rest in new.results),
    )


def _restore_files(db: sqlite3.Connection, workflow_id: int, new: Restoration) -> None:
    files = _ids(db, "SELECT id FROM file WHERE workflow_id = ? AND is_script = 0 ORDER BY id", workflow_id)
    known = db.execute("SELECT path, id FROM file WHERE workflow_id = ? AND is_script = 1", (workflow_id,))
    scripts: dict[str, int] = dict(known.fetchall())
    for path in new.scripts:
        if path not in scripts:  # one that a job had before it was edited
            added = db.execute(
                "INSERT INTO file (workflow_id, name, path, is_script) VALUES (?, ?, ?, 1)", (workflow_id, path, path)
            )
            scripts[path] = added.lastrowid or 0
    files += [scripts[path] for path in new.scripts]
    db.executemany(
        "INSERT INTO file_record (workflow_id, file_id, mtime_ns, size, version, digest, is_racy)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((workflow_id, files[index], *rest) for index, *rest in new.records),
    )
    db.executemany(
        "INSERT INTO file_history (workflow_id, file_id, version, mtime_ns, size, digest) VALUES (?, ?, ?, ?, ?, ?)",
        ((workflow_id, files[index], *rest) for index, *rest in new.replaced),
    )


_COUNTS = {
    "jobs": "job_state WHERE workflow_id = ?",
    "files": "file WHERE workflow_id = ? AND is_script = 0",
    "user_data": "user_data WHERE workflow_id = ?",
    "scripts": "file WHERE workflow_id = ? AND is_script = 1",
    "results": "result WHERE workflow_id = ?",
}


def count_contents(db: sqlite3.Connection, workflow_id: int) -> dict[str, int]:
    """How many jobs, files, user data, scripts and results a workflow holds."""
    return {
        noun: db.execute(f"SELECT count(*) FROM {rows}", (workflow_id,)).fetchone()[0] for noun, rows in _COUNTS.items()
    }


def load_origin(db: sqlite3.Connection, workflow_id: int) -> dict[str, object]:
    """What the event of a workflow's creation says."""
    (text,) = db.execute("SELECT data FROM event WHERE workflow_id = ? AND seq = 1", (workflow_id,)).fetchone()
    origin: dict[str, object] = msgspec.json.decode(text, type=dict[str, object])
    return origin
