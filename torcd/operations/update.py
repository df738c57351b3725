"""Edits: a job's definition and attributes while it is not live, and values of user data."""

import re
import sqlite3
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from torcd.core.delta import JobEdit
from torcd.core.draft import Draft
from torcd.core.fingerprint import Definition, definition_digest, read_definition, user_data_digest
from torcd.core.problems import Problems, suggest
from torcd.core.requirements import check_env
from torcd.core.state import State
from torcd.core.status import LIVE, status_name
from torcd.protocol.depth import MAX_DEPTH, is_too_deep
from torcd.protocol.errors import Conflict, NotFound, Refused
from torcd.protocol.requests import UpdateJob, UpdateUserData
from torcd.storage.definitions import load_definitions

VARIABLE = re.compile(r"\$\{(files|user_data)\.")
MAX_VALUE = 256 * 1024
"""Largest user data value, in bytes of JSON: larger data belongs into files."""


def load_definition(db: sqlite3.Connection, workflow_id: int, job_id: int) -> Definition:
    """A job's present definition."""
    return load_definitions(db, workflow_id, [job_id])[job_id]


def find_requirement(db: sqlite3.Connection, workflow_id: int, name: str) -> int:
    """The id of a workflow's resource requirements; raises Refused."""
    row = db.execute("SELECT id FROM requirement WHERE workflow_id = ? AND name = ?", (workflow_id, name)).fetchone()
    if row is None:
        raise _no_requirement(workflow_id, name)
    return int(row[0])


def _find_handler(state: State, name: str | None) -> int:
    """The index of a failure handler, -1 for none; raises Refused."""
    names = [handler.name for handler in state.handlers]
    if name is not None and name not in names:
        raise Refused(
            f"workflow {state.workflow_id} has no failure handler {name!r}{suggest(name, names)}",
            field="failure_handler",
            value=name,
        )
    return -1 if name is None else names.index(name)


def _no_requirement(workflow_id: int, name: str) -> Refused:
    return Refused(
        f"workflow {workflow_id} has no resource requirements {name!r}", field="resource_requirements", value=name
    )


def update_job(draft: Draft, request: UpdateJob, now: Definition, requirement_id: int | None) -> None:
    """Edits one job. `now` is its definition before; `requirement_id` that of the requested requirements."""
    state = draft.state
    job = state.jobs.ids.find_one(request.job_id)
    if job < 0:
        raise NotFound(f"there is no job {request.job_id}", noun="job", id=request.job_id)
    if int(state.jobs.status[job]) in LIVE:
        raise Conflict(
            f"job {request.job_id} is {status_name(int(state.jobs.status[job]))}: wait for it to end, or stop it",
            job_id=request.job_id,
            status=status_name(int(state.jobs.status[job])),
        )
    if requirement_id is not None and all(need.name != request.resource_requirements for need in state.requirements):
        raise _no_requirement(state.workflow_id, str(request.resource_requirements))  # removed since it was looked up
    handler = -1 if request.failure_handler is UNSET else _find_handler(state, request.failure_handler)
    if job in state.definitions:
        now = read_definition(state.definitions[job][-1][1])  # edited since it was looked up, perhaps
    changed: dict[str, Any] = {
        name: getattr(request, name)
        for name in ("command", "invocation_script", "env")
        if getattr(request, name) is not UNSET
    }
    if changed.get("command", "x").strip() == "":
        raise Refused("a job's command must not be empty", field="command", value=changed["command"])
    _check_text(changed)
    edited = msgspec.structs.replace(now, **changed)
    is_new = definition_digest(edited) != definition_digest(now)
    columns = {name: msgspec.json.encode(value).decode() if name == "env" else value for name, value in changed.items()}
    columns |= _attributes(request, requirement_id)
    before = None if job in state.definitions else msgspec.json.encode(now).decode()
    draft.write(
        JobEdit(
            job=job,
            columns=columns,
            before=before if is_new else None,
            definition=msgspec.json.encode(edited).decode() if is_new else None,
            digest=definition_digest(edited),
            version=draft.next_version() if is_new else 0,
        )
    )
    if is_new:
        versions = state.definitions.setdefault(job, [(0, now)])
        versions.append((state.version_counter, edited))
        state.jobs.length[job] += _length(edited) - _length(now)
    _apply_attributes(state, job, request, requirement_id)
    if request.failure_handler is not UNSET:
        state.jobs.handler[job] = handler
    draft.notify("job_updated", {"job_id": request.job_id, "fields": sorted(columns)})


def _length(definition: Definition) -> int:
    return len(definition.command) + len(msgspec.json.encode(definition.env).decode())


def _check_text(changed: dict[str, Any]) -> None:
    problems = Problems()
    check_env(changed.get("env", {}), "env", problems)
    for name in ("command", "invocation_script"):
        text = changed.get(name) or ""
        if "\0" in text:
            problems.add(name, text, "it must not hold NUL")
        if VARIABLE.search(text):
            problems.add(
                name, text, "${files…} and ${user_data…} stand in specifications only: write the path or the name"
            )
    problems.raise_any()


def _attributes(request: UpdateJob, requirement_id: int | None) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if request.priority is not UNSET:
        columns["priority"] = request.priority
    if request.cancel_on_blocking_job_failure is not UNSET:
        columns["cancel_on_failure"] = int(request.cancel_on_blocking_job_failure)
    if request.supports_termination is not UNSET:
        columns["supports_termination"] = int(request.supports_termination)
    if requirement_id is not None:
        columns["requirement_id"] = requirement_id
    if request.failure_handler is not UNSET:
        columns["failure_handler"] = request.failure_handler
    return columns


def _apply_attributes(state: State, job: int, request: UpdateJob, requirement_id: int | None) -> None:
    if request.priority is not UNSET:
        state.jobs.priority[job] = request.priority
    if request.cancel_on_blocking_job_failure is not UNSET:
        state.jobs.cancel_on_failure[job] = request.cancel_on_blocking_job_failure
    if requirement_id is not None:
        names = [need.name for need in state.requirements]
        state.jobs.requirement[job] = names.index(str(request.resource_requirements))
    if request.priority is not UNSET or requirement_id is not None:
        state.ready.add(np.array([job], dtype=np.int64))  # its old entry is in another bucket


def update_user_data(draft: Draft, index: int, request: UpdateUserData) -> None:
    """Writes a value; an equal one (in its canonical form) changes nothing."""
    if is_too_deep(request.data):
        raise Refused(
            f"a user data value may be nested {MAX_DEPTH} deep, this one is deeper: flatten it", limit=MAX_DEPTH
        )
    data = msgspec.json.encode(request.data)
    if len(data) > MAX_VALUE:
        raise Refused(
            f"a user data value may have {MAX_VALUE} bytes of JSON, this one has {len(data)}: put it in a file",
            limit=MAX_VALUE,
        )
    state = draft.state
    if request.job_id is not None:
        _check_writer(state, index, request.job_id, request.attempt_id)
    before = state.version_counter
    draft.write_user_data(index, data.decode(), user_data_digest(request.data))
    if state.version_counter != before:
        draft.notify(
            "user_data_updated",
            {"user_data_id": int(state.values.ids.ids[index]), "name": state.values.names[index]},
        )


def _check_writer(state: State, index: int, job_id: int, attempt_id: int | None) -> None:
    """A job may write only during its own latest attempt."""
    job = state.jobs.ids.find_one(job_id)
    if job < 0 or int(state.jobs.attempt[job]) != attempt_id or int(state.jobs.status[job]) not in LIVE:
        raise Conflict(
            f"attempt {attempt_id} of job {job_id} is not under way any more: its value of "
            f"{state.values.names[index]!r} was not taken",
            job_id=job_id,
            attempt_id=attempt_id,
        )


def find_value(state: State, request: UpdateUserData) -> int:
    """The index of the user data that a request names by id or by name; raises NotFound."""
    values = state.values
    wanted: object = request.name
    index = values.by_name.get(request.name or "", -1)
    if request.user_data_id is not None:
        wanted, index = request.user_data_id, values.ids.find_one(request.user_data_id)
    if index < 0:
        raise NotFound(f"workflow {state.workflow_id} has no user data {wanted!r}", noun="user_data", id=wanted)
    return index
