"""Reads the present definitions of jobs, many at once."""

import sqlite3
from collections.abc import Sequence

import msgspec

from torcd.core.fingerprint import NO_ENV, NO_NAMES, Definition

FILES = (
    "SELECT e.job_id, f.name FROM {} e JOIN file f ON f.id = e.file_id WHERE e.workflow_id = ?"
    " AND e.job_id IN (SELECT value FROM json_each(?)) AND f.is_script = 0"
)
USER_DATA = (
    "SELECT e.job_id, u.name FROM job_user_data e JOIN user_data u ON u.id = e.user_data_id WHERE e.workflow_id = ?"
    " AND e.job_id IN (SELECT value FROM json_each(?)) AND e.is_output = {}"
)
LISTS = {
    "input_files": FILES.format("job_input"),
    "output_files": FILES.format("job_output"),
    "input_user_data": USER_DATA.format(0),
    "output_user_data": USER_DATA.format(1),
    "depends_on": "SELECT d.job_id, j.name FROM job_dependency d JOIN job j ON j.id = d.upstream_id"
    " WHERE d.workflow_id = ? AND d.job_id IN (SELECT value FROM json_each(?))",
}


def load_definitions(db: sqlite3.Connection, workflow_id: int, job_ids: Sequence[int]) -> dict[int, Definition]:
    """The definition of each of a workflow's jobs that is asked for."""
    wanted = str(list(job_ids))
    lists: dict[str, dict[int, list[str]]] = {}
    for name, select in LISTS.items():
        names = lists[name] = {}
        for job_id, listed in db.execute(select, (workflow_id, wanted)):
            names.setdefault(job_id, []).append(listed)
    rows = db.execute(
        "SELECT id, command, invocation_script, env FROM job WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
    )
    decode = msgspec.json.Decoder(dict[str, str]).decode
    return {
        job_id: Definition(
            command=command,
            invocation_script=script,
            env=decode(env) if env != "{}" else NO_ENV,
            **{name: names.get(job_id, NO_NAMES) for name, names in lists.items()},
        )
        for job_id, command, script, env in rows
    }
