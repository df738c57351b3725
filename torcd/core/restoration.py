"""What a document says besides its definition, checked and ready to be stored: statuses, records, values, results.

Jobs, files and user data are given by their index in the expansion; a script's index counts on after the files'.
Live jobs become uninitialized: no worker holds them here.
"""

from typing import Any

import msgspec

from torcd.core.document import Document
from torcd.core.entry_checks import STATUS_OF, EntryChecks
from torcd.core.expansion import Expansion
from torcd.core.fingerprint import Definition, user_data_digest
from torcd.core.holder import as_history
from torcd.core.paths import base_of, resolve_path
from torcd.core.problems import Problems
from torcd.core.specification import BAD_PATH
from torcd.core.state import ABSENT
from torcd.core.status import ENDED, LIVE, SETTLED, Status, StatusReason
from torcd.protocol.document import (
    EarlierDefinition,
    FileEntry,
    FormerRecord,
    JobEntry,
    ResultEntry,
    ScriptEntry,
)

_ENDED = [name for name, status in STATUS_OF.items() if status in ENDED]
_WAITS = {"blocked": True, "ready": False}
"""Whether a job with this status waits for another one."""
_NO_MTIME = -1
"""What a scan gives for the time of an absent file."""

NOBODY = 2**31 - 1
"""Who held the attempts that an import brings along: a worker whom this database has never had, nor will have."""

JobRow = tuple[int, int, int, int, int, int, bool, int]
"""Status, reason, attempt, run_id, worker, version counter at the last start, may_return, retries."""
RecordRow = tuple[int, int, int, int, bytes | None, bool]
"""File, mtime_ns, size, version, digest, is_racy."""
FormerRow = tuple[int, int, int, int, bytes | None]
"""File, version, mtime_ns, size, digest."""
ResultRow = tuple[Any, ...]
"""Job, then the columns of a result from its attempt on, but for its worker."""


class Restoration(msgspec.Struct, frozen=True, kw_only=True):
    """Where a new workflow stands."""

    run_id: int
    version_counter: int
    is_canceled: bool
    jobs: list[JobRow]
    definitions: list[tuple[int, int, str]]
    """Job, version, definition as JSON, the one in force included; only of jobs that were edited."""
    definition_versions: list[tuple[int, int]]
    """Job, version of the definition in force; only of those."""
    scripts: list[str]
    records: list[RecordRow]
    replaced: list[FormerRow]
    values: list[tuple[int, int, str | None, bytes | None]]
    """User data, version, JSON, digest."""
    results: list[ResultRow]
    unarmed: list[int]
    """The numbers of the actions that have fired."""
    live: int
    """How many jobs were pending or running."""


class Restorer:
    """Checks where a document says that everything stands; what is wrong goes to `problems`."""

    def __init__(self, document: Document, expansion: Expansion, directory: str, problems: Problems) -> None:
        self._document = document
        self._expansion = expansion
        self._base = base_of(directory)
        self._problems = problems
        self._state = document.head.state
        self._checks = EntryChecks(self._state, problems)
        self._jobs = {job.name: index for index, job in enumerate(document.jobs)}
        self._paths = [resolve_path(script.path, self._base) for script in document.scripts]
        self._scripts = set(self._paths)

    def restore(self) -> Restoration:
        """The restoration, not to be used if there is a problem."""
        document, state = self._document, self._state
        self._check_scripts()
        records, replaced = self._take_records()
        rows = [self._take_job(index, job) for index, job in enumerate(document.jobs)]
        self._check_waiting()
        definitions = self._take_definitions()
        return Restoration(
            run_id=state.run_id,
            version_counter=state.version_counter,
            is_canceled=state.is_canceled,
            jobs=rows,
            definitions=definitions,
            definition_versions=[
                (index, job.definition_version) for index, job in enumerate(document.jobs) if job.definition_version
            ],
            scripts=self._paths,
            records=records,
            replaced=replaced,
            values=self._take_values(),
            results=self._take_results(),
            unarmed=self._take_unarmed(),
            live=sum(STATUS_OF.get(job.status) in LIVE for job in document.jobs),
        )

    def scripts_of_jobs(self) -> list[tuple[int, str]]:
        """(job, absolute path) of the scripts that jobs take; a path that is not listed is noted."""
        found = []
        listed = [script.path for script in self._document.scripts]
        for index, job in enumerate(self._document.jobs):
            for place, written in enumerate(job.scripts):
                path = resolve_path(written, self._base)
                if path not in self._scripts:
                    where = f"jobs[{index}].scripts[{place}]"
                    self._problems.add(where, written, f"there is no script {written!r} in scripts", near=listed)
                found.append((index, path))
        return found

    # ---- files ----

    def _check_scripts(self) -> None:
        seen: set[str] = set()
        for index, script in enumerate(self._document.scripts):
            if not script.path or "\0" in script.path:
                self._problems.add(f"scripts[{index}].path", script.path, BAD_PATH)
            if self._paths[index] in seen:
                self._problems.add(f"scripts[{index}].path", script.path, f"the script {script.path!r} is listed twice")
            seen.add(self._paths[index])

    def _take_records(self) -> tuple[list[RecordRow], list[FormerRow]]:
        records: list[RecordRow] = []
        former: list[FormerRow] = []
        entries: list[FileEntry | ScriptEntry] = [*self._document.files, *self._document.scripts]
        count = len(self._document.files)
        for index, entry in enumerate(entries):
            if entry.record is None and not entry.replaced:
                continue
            where = f"files[{index}]" if index < count else f"scripts[{index - count}]"
            if (record := entry.record) is not None:
                self._checks.check_record(f"{where}.record", record)
                self._checks.check_version(f"{where}.record.version", record.version)
                records.append((index, *_seen(record), record.version, _bytes(record), record.is_racy))
            self._checks.check_versions(f"{where}.replaced", [each.version for each in entry.replaced])
            for place, each in enumerate(entry.replaced):
                self._checks.check_record(f"{where}.replaced[{place}]", each)
                former.append((index, each.version, *_seen(each), _bytes(each)))
        return records, former

    # ---- jobs ----

    def _take_job(self, index: int, job: JobEntry) -> JobRow:
        status = self._checks.find_status(f"jobs[{index}].status", job.status)
        reason = self._checks.find_reason(f"jobs[{index}].status_reason", job.status_reason)
        self._checks.check_run(f"jobs[{index}].run_id", job.run_id)
        counter = -1
        if job.started_at_version is not None:
            counter = job.started_at_version
            self._checks.check_version(f"jobs[{index}].started_at_version", counter)
        worker = NOBODY if job.attempt_id else 0
        if job.attempt_is_history or status in LIVE:
            worker = as_history(worker)
        if status in LIVE:
            status, reason = Status.UNINITIALIZED, StatusReason.NONE
        retries = 0 if status == Status.UNINITIALIZED else job.retries
        return status, reason, job.attempt_id, job.run_id, worker, counter, job.may_return, retries

    def _check_waiting(self) -> None:
        """A blocked job that waits for nothing would wait for ever, a ready one that waits would run too soon."""
        entries, expansion = self._document.jobs, self._expansion
        is_open = [STATUS_OF.get(job.status) not in SETTLED for job in entries]
        file_producer = {file: index for index, job in enumerate(expansion.jobs) for file in job.output_files}
        data_producer = {data: index for index, job in enumerate(expansion.jobs) for data in job.output_user_data}
        for index, job in enumerate(expansion.jobs):
            status = entries[index].status
            if status not in _WAITS:
                continue
            upstream = (
                *job.depends_on,
                *(file_producer.get(file, -1) for file in job.input_files),
                *(data_producer.get(data, -1) for data in job.input_user_data),
            )
            if any(other >= 0 and is_open[other] for other in upstream) != _WAITS[status]:
                what = "something that it depends on is" if status == "ready" else "nothing that it depends on is"
                message = f"{status}, but {what} still to end; write uninitialized"
                self._problems.add(f"jobs[{index}].status", status, message)

    def _take_definitions(self) -> list[tuple[int, int, str]]:
        found = []
        for index, job in enumerate(self._document.jobs):
            earlier = job.earlier_definitions
            if not earlier and not job.definition_version:
                continue
            where = f"jobs[{index}]"
            self._checks.check_versions(f"{where}.earlier_definitions", [each.version for each in earlier])
            self._checks.check_version(f"{where}.definition_version", job.definition_version)
            if earlier and job.definition_version <= earlier[-1].version:
                message = f"{job.definition_version} does not come after {earlier[-1].version}, the last earlier one's"
                self._problems.add(f"{where}.definition_version", job.definition_version, message)
            definitions: list[tuple[int, EarlierDefinition | JobEntry]] = [(each.version, each) for each in earlier]
            for version, each in [*definitions, (job.definition_version, job)]:
                definition = Definition(**{name: getattr(each, name) for name in Definition.__struct_fields__})
                found.append((index, version, msgspec.json.encode(definition).decode()))
        return found

    # ---- user data ----

    def _take_values(self) -> list[tuple[int, int, str | None, bytes | None]]:
        found: list[tuple[int, int, str | None, bytes | None]] = []
        for index, entry in enumerate(self._document.user_data):
            self._checks.check_versions(f"user_data[{index}].versions", [each.version for each in entry.versions])
            for place, each in enumerate(entry.versions):
                if isinstance(each.data, msgspec.UnsetType):
                    found.append((index, each.version, None, None))
                    continue
                value = self._checks.read_value(f"user_data[{index}].versions[{place}].data", bytes(each.data))
                found.append((index, each.version, msgspec.json.encode(value).decode(), user_data_digest(value)))
        return found

    # ---- actions ----

    def _take_unarmed(self) -> list[int]:
        count = len(self._document.head.actions)
        for place, number in enumerate(self._state.unarmed_actions):
            if not 1 <= number <= count:
                message = f"there is no action {number}: the document has {count}, counted from 1"
                self._problems.add(f"state.unarmed_actions[{place}]", number, message)
        return self._state.unarmed_actions

    # ---- results ----

    def _take_results(self) -> list[ResultRow]:
        seen: set[tuple[int, int]] = set()
        return [
            self._take_result(f"results[{place}]", entry, seen) for place, entry in enumerate(self._document.results)
        ]

    def _take_result(self, where: str, entry: ResultEntry, seen: set[tuple[int, int]]) -> ResultRow:
        job = self._jobs.get(entry.job, -1)
        if job < 0:
            self._problems.add(f"{where}.job", entry.job, f"there is no job {entry.job!r}", near=self._jobs)
        elif not 1 <= entry.attempt_id <= self._document.jobs[job].attempt_id:
            message = f"job {entry.job!r} has had no attempt {entry.attempt_id}"
            self._problems.add(f"{where}.attempt_id", entry.attempt_id, message)
        elif (job, entry.attempt_id) in seen:
            message = f"attempt {entry.attempt_id} of job {entry.job!r} has a result already"
            self._problems.add(f"{where}.attempt_id", entry.attempt_id, message)
        seen.add((job, entry.attempt_id))
        self._checks.check_run(f"{where}.run_id", entry.run_id)
        status = self._checks.find_status(f"{where}.status", entry.status)
        if status not in ENDED and entry.status in STATUS_OF:
            self._problems.add(f"{where}.status", entry.status, f"an attempt ends as one of {', '.join(_ENDED)}")
        reason = self._checks.find_reason(f"{where}.status_reason", entry.status_reason)
        return (
            job, entry.attempt_id, entry.run_id, entry.return_code, status, reason, entry.started_at_ms,
            entry.ended_at_ms, entry.exec_time_s, entry.peak_memory_bytes, entry.cpu_seconds, entry.hostname,
            self._log(f"{where}.stdout_path", entry.stdout_path), self._log(f"{where}.stderr_path", entry.stderr_path),
        )  # fmt: skip

    def _log(self, where: str, path: str | None) -> str | None:
        if path is None:
            return None
        if not path or "\0" in path:
            self._problems.add(where, path, BAD_PATH)
        return resolve_path(path, self._base)


def _seen(record: FormerRecord) -> tuple[int, int]:
    return (
        _NO_MTIME if record.mtime_ns is None else record.mtime_ns,
        ABSENT if record.size is None else record.size,
    )


def _bytes(record: FormerRecord) -> bytes | None:
    return None if record.digest is None else bytes.fromhex(record.digest)
