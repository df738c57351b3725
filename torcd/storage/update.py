"""Writes the differences between a workflow and a changed specification, inside the caller's transaction.

Sets of rows, never one row after the other. Statuses are left alone: they follow from the new graph, when that has
been loaded.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from torcd.core.differences import LINKS, TEXTS, Differences, Present, Section
from torcd.core.expansion import Expansion
from torcd.protocol.specification import Header
from torcd.storage.actions import update_actions
from torcd.storage.create import (
    Numbering,
    header_columns,
    insert_edges,
    insert_files,
    insert_jobs,
    insert_requirements,
    insert_scripts,
    insert_user_data,
    insert_values,
)
from torcd.storage.rows import next_ids

OF_JOB = (
    "job_state", "job_definition", "job_dependency", "job_input", "job_output", "job_user_data", "result",
)  # fmt: skip
OF_FILE = ("file_record", "file_history")
OF_USER_DATA = ("user_data_version",)


@dataclass(frozen=True, slots=True)
class Specification:
    """A changed specification, expanded."""

    header: Header
    expansion: Expansion
    scripts: list[tuple[int, str]]
    """(job index, absolute path) of the scripts found in the commands of all jobs."""


def write_differences(
    db: sqlite3.Connection, present: Present, specification: Specification, differences: Differences
) -> Numbering:
    """Makes the workflow what the specification says; answers the ids of everything in it."""
    return _Update(db, present, specification, differences).write()


class _Update:
    """One update while it is written."""

    def __init__(
        self, db: sqlite3.Connection, present: Present, specification: Specification, differences: Differences
    ) -> None:
        self._db = db
        self._workflow_id = present.workflow_id
        self._present = present
        self._specification = specification
        self._expansion = specification.expansion
        self._differences = differences
        self._numbering = self._number()

    def write(self) -> Numbering:
        """Writes everything, what is added before what is removed: jobs that change may refer to either."""
        version = self._write_workflow()
        self._write_requirements()
        self._write_files()
        self._write_user_data(version)
        scripts = self._load_scripts()
        self._remove_jobs()
        self._change_jobs(version, scripts)
        self._add_jobs()
        self._write_scripts(scripts)
        self._write_actions()
        self._remove_rest(scripts)
        return self._numbering

    # ---- ids ----

    def _number(self) -> Numbering:
        expansion, present, differences = self._expansion, self._present, self._differences

        def ids(table: str, section: Section, objects: Sequence[Any], known: Mapping[str, Any]) -> list[int]:
            new = iter(next_ids(self._db, table, len(section.added)))
            return [known[each.name].id if each.name in known else next(new) for each in objects]

        return Numbering(
            jobs=ids("job", differences.jobs, expansion.jobs, present.jobs),
            files=ids("file", differences.files, expansion.files, present.files),
            user_data=ids("user_data", differences.user_data, expansion.user_data, present.user_data),
            requirements=ids(
                "requirement", differences.resource_requirements, expansion.requirements, present.requirements
            ),
        )

    def _delete(self, table: str, column: str, ids: Collection[int]) -> None:
        if ids:
            own = "+workflow_id" if column == "id" else "workflow_id"
            self._db.execute(
                f"DELETE FROM {table} WHERE {own} = ? AND {column} IN (SELECT value FROM json_each(?))",
                (self._workflow_id, str(sorted(ids))),
            )

    # ---- the workflow, and what jobs refer to ----

    def _write_workflow(self) -> int:
        """The header and, when there are new definitions or values, one new number of the version counter."""
        expansion, values = self._expansion.user_data, self._differences.user_data
        (version,) = self._db.execute("SELECT counter FROM workflow WHERE id = ?", (self._workflow_id,)).fetchone()
        gets_value = any(expansion[index].data is not None for index in values.added)
        has_value = any(change.touches({"data"}) for change in values.changed)
        version += bool(self._differences.redefined or gets_value or has_value)
        header = self._specification.header
        columns = header_columns(header) | {"counter": version}
        if header.user is not None:
            columns["user"] = header.user
        self._db.execute(
            f"UPDATE workflow SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?",
            (*columns.values(), self._workflow_id),
        )
        return int(version)

    def _write_requirements(self) -> None:
        section, ids, needs = (
            self._differences.resource_requirements, self._numbering.requirements, self._expansion.requirements,
        )  # fmt: skip
        insert_requirements(
            self._db,
            self._workflow_id,
            [ids[index] for index in section.added],
            [needs[index] for index in section.added],
        )
        self._db.executemany(
            "UPDATE requirement SET num_cpus = ?, memory_bytes = ?, num_gpus = ?, num_nodes = ?, runtime_s = ?"
            " WHERE id = ?",
            [(*msgspec.structs.astuple(needs[change.new])[1:], change.id) for change in section.changed],
        )

    def _write_files(self) -> None:
        section, ids, files = self._differences.files, self._numbering.files, self._expansion.files
        insert_files(
            self._db,
            self._workflow_id,
            [ids[index] for index in section.added],
            [files[index] for index in section.added],
        )
        self._db.executemany(
            "UPDATE file SET path = ?, may_be_missing = ? WHERE id = ?",
            [(files[change.new].path, files[change.new].may_be_missing, change.id) for change in section.changed],
        )

    def _write_user_data(self, version: int) -> None:
        section, ids, values = self._differences.user_data, self._numbering.user_data, self._expansion.user_data
        added = section.added
        insert_user_data(
            self._db, self._workflow_id, [ids[index] for index in added], [values[index] for index in added], version
        )
        written = [change for change in section.changed if change.touches({"data"})]
        insert_values(
            self._db,
            self._workflow_id,
            [change.id for change in written],
            [values[change.new] for change in written],
            version,
        )
        self._db.executemany(
            "UPDATE user_data SET is_ephemeral = ? WHERE id = ?",
            [(values[change.new].is_ephemeral, change.id) for change in section.changed],
        )

    # ---- jobs ----

    def _remove_jobs(self) -> None:
        ids = [job.id for job in self._differences.jobs.removed]
        for table in OF_JOB:
            self._delete(table, "job_id", ids)
        self._delete("job", "id", ids)

    def _add_jobs(self) -> None:
        added, numbering = self._differences.jobs.added, self._numbering
        ids = [numbering.jobs[index] for index in added]
        jobs = [self._expansion.jobs[index] for index in added]
        insert_jobs(self._db, self._workflow_id, ids, jobs, numbering.requirements)
        insert_edges(self._db, self._workflow_id, ids, jobs, numbering)

    def _change_jobs(self, version: int, scripts: Mapping[str, int]) -> None:
        jobs, requirements = self._expansion.jobs, self._numbering.requirements
        self._db.executemany(
            "UPDATE job SET requirement_id = ?, scheduler = ?, failure_handler = ?, priority = ?,"
            " cancel_on_failure = ?, supports_termination = ? WHERE id = ?",
            [
                (
                    requirements[job.requirement] if job.requirement >= 0 else None,
                    job.scheduler, job.failure_handler, job.priority, job.cancel_on_blocking_job_failure,
                    job.supports_termination, job_id,
                )
                for job_id, job in ((change.id, jobs[change.new]) for change in self._differences.jobs.changed)
            ],
        )  # fmt: skip
        self._redefine(version)
        relinked = [change for change in self._differences.jobs.changed if change.touches(LINKS)]
        ids = [change.id for change in relinked]
        for table in ("job_output", "job_dependency", "job_user_data"):
            self._delete(table, "job_id", ids)
        self._db.execute(
            "DELETE FROM job_input WHERE workflow_id = ? AND job_id IN (SELECT value FROM json_each(?))"
            " AND file_id NOT IN (SELECT value FROM json_each(?))",
            (self._workflow_id, str(ids), str(list(scripts.values()))),
        )
        insert_edges(self._db, self._workflow_id, ids, [jobs[change.new] for change in relinked], self._numbering)

    def _redefine(self, version: int) -> None:
        """New definitions; the first one of a job that never had another is kept as what it ran with."""
        encode = msgspec.json.Encoder().encode
        ids, redefined = self._numbering.jobs, self._differences.redefined
        self._db.executemany(
            "UPDATE job SET command = ?, invocation_script = ?, env = ?, definition_digest = ?, definition_version = ?"
            " WHERE id = ?",
            [
                (job.command, job.invocation_script, encode(job.env).decode(), job.definition_digest, version, job_id)
                for job_id, job in ((ids[index], self._expansion.jobs[index]) for index in redefined)
            ],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO job_definition VALUES (?, ?, ?, ?)",
            (
                (self._workflow_id, ids[index], number, encode(definition).decode())
                for index, (old, new) in redefined.items()
                for number, definition in ((0, old), (version, new))
            ),
        )

    def _write_actions(self) -> None:
        ids = self._numbering.jobs
        jobs = [[ids[job] for job in each] for each in self._expansion.actions]
        update_actions(self._db, self._workflow_id, self._specification.header.actions, jobs)

    # ---- scripts (SEMANTICS 4.5) ----

    def _load_scripts(self) -> dict[str, int]:
        """The ids of all scripts by their paths."""
        return dict(
            self._db.execute(
                "SELECT name, id FROM file INDEXED BY file_by_name WHERE workflow_id = ? AND is_script = 1",
                (self._workflow_id,),
            ).fetchall()
        )

    def _write_scripts(self, scripts: Mapping[str, int]) -> None:
        """The scripts of jobs that are new or have another text; other jobs keep theirs."""
        edited = {change.new for change in self._differences.jobs.changed if change.touches(TEXTS)}
        self._db.execute(
            "DELETE FROM job_input WHERE workflow_id = ? AND job_id IN (SELECT value FROM json_each(?))"
            " AND file_id IN (SELECT value FROM json_each(?))",
            (
                self._workflow_id,
                str([self._numbering.jobs[index] for index in edited]),
                str(list(scripts.values())),
            ),
        )
        searched = edited.union(self._differences.jobs.added)
        found = [
            (self._numbering.jobs[index], path)
            for index, path in self._specification.scripts
            if index in searched
        ]  # fmt: skip
        insert_scripts(self._db, self._workflow_id, found, scripts)

    # ---- what nobody refers to any more ----

    def _remove_rest(self, scripts: Mapping[str, int]) -> None:
        differences = self._differences
        files = [file.id for file in differences.files.removed] + self._find_unused(scripts)
        for table in OF_FILE:
            self._delete(table, "file_id", files)
        self._delete("file", "id", files)
        values = [value.id for value in differences.user_data.removed]
        for table in OF_USER_DATA:
            self._delete(table, "user_data_id", values)
        self._delete("user_data", "id", values)
        self._delete("requirement", "id", [need.id for need in differences.resource_requirements.removed])

    def _find_unused(self, scripts: Mapping[str, int]) -> list[int]:
        if not scripts:
            return []
        used = self._db.execute(
            "SELECT DISTINCT file_id FROM job_input WHERE workflow_id = ? AND file_id IN"
            " (SELECT value FROM json_each(?))",
            (self._workflow_id, str(list(scripts.values()))),
        )
        return sorted(set(scripts.values()).difference(file_id for (file_id,) in used))
