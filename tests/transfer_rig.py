"""Exports and imports without a daemon: documents from a workbench, workbenches from documents, and what to compare."""

import copy
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from builders import job, new_workflow
from fakes import FakeDisk
from msgspec import structs
from workbench import Workbench

from torcctl.document import load_document, parse_document
from torcd.core.fingerprint import Definition, read_definition
from torcd.core.state import State
from torcd.core.status import LIVE, Status
from torcd.operations.exporting import write_document
from torcd.operations.importing import describe_import, prepare_import, write_import
from torcd.operations.operate import Planned
from torcd.protocol.pieces import cut
from torcd.protocol.transfer_requests import ImportWorkflow
from torcd.storage import nouns
from torcd.storage.exported import load_exported
from torcd.storage.lists import load_page
from torcd.storage.load import load_state

NOW_MS = 5_000


def export_text(db: sqlite3.Connection, workflow_id: int, *, results: bool = True) -> str:
    """A workflow's document."""
    return "".join(write_document(load_exported(db, workflow_id, results=results), workflow_id, NOW_MS))


def export(bench: Workbench, *, results: bool = True) -> dict[str, Any]:
    """The document of a workbench's workflow."""
    document: dict[str, Any] = json.loads(export_text(bench.db, bench.workflow_id, results=results))
    return document


def pieces_of(document: dict[str, Any], limit: int = 1000) -> list[str]:
    """A document as it is sent."""
    text = json.dumps(document, separators=(",", ":")).encode()
    return list(cut(parse_document(text, "document").lines(), limit))


def pieces_in(path: Path, limit: int = 1000) -> list[str]:
    """The document in a file as torcctl sends it."""
    return list(cut(load_document(path).lines(), limit))


def bring_in(
    db: sqlite3.Connection, pieces: list[str], *, directory: str | None = None, request_key: str | None = None
) -> int:
    """Imports a document in one transaction."""
    request = ImportWorkflow(upload="u", directory=directory, user="importer", request_key=request_key)
    wanted = prepare_import(request, pieces, NOW_MS)
    with db:
        db.execute("BEGIN IMMEDIATE")
        return write_import(db, wanted)


class ImportedBench(Workbench):
    """A workflow that was imported into another database, in which it has other ids."""

    def __init__(
        self, document: dict[str, Any] | list[str], disk: FakeDisk | None = None, *, directory: str | None = None
    ) -> None:
        pieces = document if isinstance(document, list) else pieces_of(document)
        others = [job(f"other{number}", output_files=[f"o{number}"]) for number in range(7)]
        super().__init__(new_workflow(others), copy.deepcopy(disk))
        self.workflow_id = bring_in(self.db, pieces, directory=directory)
        self.state = load_state(self.db, self.workflow_id)

    @property
    def warnings(self) -> list[str]:
        """What the user is told of the import."""
        return describe_import(self.db, self.workflow_id)[1]

    @property
    def contents(self) -> dict[str, int]:
        """How many of each it holds."""
        return describe_import(self.db, self.workflow_id)[0]


# ---- what is compared ----


def describe(bench: Workbench, *, as_imported: bool = False) -> dict[str, Any]:
    """All of a workflow by name; `as_imported`: live jobs as an import makes them."""
    state, db, workflow = bench.state, bench.db, bench.workflow_id
    names = bench.names()
    ordered = [names[job_id] for job_id in state.jobs.ids.ids.tolist()]
    row = db.execute(
        "SELECT name, description, project, metadata, header, sort_method, detect, run_id, counter, is_canceled,"
        " submission_directory FROM workflow WHERE id = ?",
        (workflow,),
    ).fetchone()
    return {
        "workflow": row,
        "order": ordered,
        "jobs": {name: _job(state, index, as_imported) for index, name in enumerate(ordered)},
        "definitions": _rows(
            db,
            "SELECT j.name, j.command, j.invocation_script, j.env, j.scheduler, j.priority, j.cancel_on_failure,"
            " j.supports_termination, j.definition_digest, j.definition_version, q.name FROM job j"
            " LEFT JOIN requirement q ON q.id = j.requirement_id WHERE j.workflow_id = ?",
            workflow,
        ),
        "stored definitions": [
            (job_name, version, _fields(read_definition(definition)))
            for job_name, version, definition in _rows(
                db,
                "SELECT j.name, d.version, d.definition FROM job_definition d JOIN job j ON j.id = d.job_id"
                " WHERE d.workflow_id = ?",
                workflow,
            )
        ],
        "former definitions": {
            ordered[job]: [
                _fields(read_definition(definition)) for definition in _since(int(state.jobs.counter[job]), versions)
            ]
            for job, versions in state.definitions.items()
            if state.jobs.counter[job] < versions[-1][0]  # of others the memory may keep them
        },
        "edges": [
            _rows(
                db,
                f"SELECT j.name, o.{column} FROM {table} e JOIN job j ON j.id = e.job_id"
                f" JOIN {other} o ON o.id = e.{key} WHERE e.workflow_id = ?",
                workflow,
            )
            for table, key, other, column in (
                ("job_input", "file_id", "file", "path"),
                ("job_output", "file_id", "file", "path"),
                ("job_dependency", "upstream_id", "job", "name"),
                ("job_user_data", "user_data_id", "user_data", "name || e.is_output"),
            )
        ],
        "files": _rows(
            db,
            "SELECT f.path, f.name, f.is_script, f.may_be_missing, r.mtime_ns, r.size, r.version, r.digest, r.is_racy"
            " FROM file f LEFT JOIN file_record r ON r.workflow_id = f.workflow_id AND r.file_id = f.id"
            " WHERE f.workflow_id = ?",
            workflow,
        ),
        "replaced": _rows(
            db,
            "SELECT f.path, h.version, h.mtime_ns, h.size, h.digest FROM file_history h JOIN file f ON f.id = h.file_id"
            " WHERE h.workflow_id = ?",
            workflow,
        ),
        "user data": _rows(
            db,
            "SELECT u.name, u.is_ephemeral, v.version, v.data, v.digest FROM user_data u LEFT JOIN user_data_version v"
            " ON v.workflow_id = u.workflow_id AND v.user_data_id = u.id WHERE u.workflow_id = ?",
            workflow,
        ),
        "requirements": _rows(
            db,
            "SELECT name, num_cpus, memory_bytes, num_gpus, num_nodes, runtime_s FROM requirement"
            " WHERE workflow_id = ?",
            workflow,
        ),
        "return codes": {
            each.name: each.return_code for each in load_page(db, nouns.JOBS, (workflow,), (), 0, 1000)[0]
        },
        "current results": sorted(
            (result.job_name, result.attempt_id)
            for result in load_page(db, nouns.CURRENT_RESULTS, (workflow,), (), 0, 1000)[0]
        ),
        "results": _rows(
            db,
            "SELECT j.name, r.attempt_id, r.run_id, r.return_code, r.status, r.reason, r.started_at_ms, r.ended_at_ms,"
            " r.exec_time_s, r.peak_memory_bytes, r.cpu_seconds, r.hostname, r.stdout_path, r.stderr_path"
            " FROM result r JOIN job j ON j.id = r.job_id WHERE r.workflow_id = ?",
            workflow,
        ),
    }


def _since(counter: int, versions: list[tuple[int, Definition | str]]) -> list[Definition | str]:
    """The definitions in force at the counter and since: of earlier ones the memory may know less."""
    first = max((place for place, (version, _) in enumerate(versions) if version <= counter), default=0)
    return [definition for _, definition in versions[first:]]


def _job(state: State, index: int, as_imported: bool) -> tuple[object, ...]:
    jobs = state.jobs
    status, reason = int(jobs.status[index]), int(jobs.reason[index])
    tells = int(np.sign(jobs.worker[index]))
    if as_imported and status in LIVE:
        status, reason, tells = int(Status.UNINITIALIZED), 0, -1
    columns = (jobs.attempt, jobs.run_id, jobs.counter, jobs.cancel_on_failure, jobs.priority, jobs.may_return)
    return status, reason, tells, *(column[index].item() for column in columns)


def _fields(definition: Definition) -> dict[str, object]:
    """Its fields; of lists only the set of names counts."""
    fields = structs.asdict(definition)
    return {name: sorted(set(value)) if isinstance(value, list) else value for name, value in fields.items()}


def _rows(db: sqlite3.Connection, select: str, workflow_id: int) -> list[tuple[Any, ...]]:
    return sorted(db.execute(select, (workflow_id,)).fetchall(), key=repr)


def show_plan(bench: Workbench, planned: Planned) -> list[tuple[object, ...]]:
    """The jobs of a plan with their reasons, without ids."""
    return [(each.name, each.from_, each.to, without_ids(each.reasons)) for each in bench.show(planned)]


def without_ids(reasons: Iterable[dict[str, Any]]) -> list[str]:
    """Reasons that can be compared between databases."""
    kept = [{key: value for key, value in reason.items() if not key.endswith("_id")} for reason in reasons]
    return sorted(json.dumps(reason, sort_keys=True) for reason in kept)


def is_live(state: State) -> bool:
    """Whether any job is pending or running."""
    return bool(np.isin(state.jobs.status, [int(status) for status in LIVE]).any())
