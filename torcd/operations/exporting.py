"""Writes the rows of a workflow as a document (docs/export.md): one line of JSON an entry, in pieces of text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from torcd import __version__
from torcd.core.fingerprint import Definition
from torcd.core.holder import is_history
from torcd.core.paths import base_of, relate_path
from torcd.core.status import reason_name, status_name
from torcd.protocol.document import (
    FORMAT,
    VERSION,
    EarlierDefinition,
    FileEntry,
    FormerRecord,
    JobEntry,
    Record,
    ResultEntry,
    ScriptEntry,
    Standing,
    UserDataEntry,
    ValueVersion,
)
from torcd.protocol.pieces import cut
from torcd.protocol.specification import Part
from torcd.storage.exported import Exported, Rows
from torcd.storage.rows import format_time

_encode = msgspec.json.Encoder().encode
_NO_NAMES: list[str] = []


def write_document(exported: Exported, workflow_id: int, now_ms: int) -> list[str]:
    """The document in pieces. Takes a second for 100,000 jobs: call it in a thread."""
    return list(cut(_write(_Entries(exported), workflow_id, now_ms)))


def _write(entries: "_Entries", workflow_id: int, now_ms: int) -> Iterator[bytes]:
    exported = entries.exported
    _, user, directory, header, run_id, counter, is_canceled, is_archived, created_at_ms = exported.workflow
    source = {
        "workflow_id": workflow_id,
        "user": user,
        "created_at": format_time(created_at_ms),
        "exported_at": format_time(now_ms),
        "torcd": __version__,
    }
    state = Standing(
        run_id=run_id,
        version_counter=counter,
        is_canceled=bool(is_canceled),
        is_archived=bool(is_archived),
        unarmed_actions=exported.unarmed,
    )
    head = {
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "directory": directory,
        **msgspec.json.decode(header, type=dict[str, msgspec.Raw]),
        "state": state,
    }
    before = b"{"
    for name, value in head.items():
        yield before + b"\n  " + _encode(name) + b": " + _encode(value)
        before = b","
    lists: dict[str, Callable[[], Iterator[Part]]] = {
        "files": entries.files,
        "scripts": entries.scripts,
        "user_data": entries.user_data,
        "jobs": entries.jobs,
    }
    if exported.results is not None:
        lists["results"] = entries.results
    for name in lists:
        yield b",\n  " + _encode(name) + b": ["
        before = b"\n    "
        for entry in lists[name]():
            yield before + _encode(entry)
            before = b",\n    "
        yield b"]" if before == b"\n    " else b"\n  ]"
    yield b"\n}\n"


class _Entries:
    """The entries of a document, made from rows one after the other."""

    def __init__(self, exported: Exported) -> None:
        self.exported = exported
        self._base = base_of(exported.workflow[2])
        self._job_names: dict[int, str] = {row[0]: row[1] for row in exported.jobs}
        self._replaced = _group(exported.replaced)

    # ---- files ----

    def files(self) -> Iterator[FileEntry]:
        for file_id, name, path, is_script, may_be_missing, *record in self.exported.files:
            if not is_script:
                yield FileEntry(
                    name=name,
                    path=relate_path(path, self._base),
                    on_missing="ignore" if may_be_missing else "rerun",
                    record=_record(record),
                    replaced=self._former(file_id),
                )

    def scripts(self) -> Iterator[ScriptEntry]:
        scripts = [row for row in self.exported.files if row[3]]
        for file_id, _, path, _, _, *record in sorted(scripts, key=lambda row: str(row[2])):
            yield ScriptEntry(
                path=relate_path(path, self._base), record=_record(record), replaced=self._former(file_id)
            )

    def _former(self, file_id: int) -> list[FormerRecord]:
        return [
            FormerRecord(version=version, **_seen(mtime_ns, size, digest))
            for version, mtime_ns, size, digest in self._replaced.get(file_id, ())
        ]

    # ---- user data ----

    def user_data(self) -> Iterator[UserDataEntry]:
        values = _group(self.exported.values)
        for user_data_id, name, is_ephemeral in self.exported.user_data:
            yield UserDataEntry(
                name=name,
                is_ephemeral=bool(is_ephemeral),
                versions=[
                    ValueVersion(version=version, data=msgspec.UNSET if data is None else msgspec.Raw(data.encode()))
                    for version, data in values.get(user_data_id, ())
                ],
            )

    # ---- jobs ----

    def jobs(self) -> Iterator[JobEntry]:
        exported = self.exported
        file_names = {row[0]: row[1] for row in exported.files if not row[3]}
        script_paths = {row[0]: relate_path(row[2], self._base) for row in exported.files if row[3]}
        data_names = {row[0]: row[1] for row in exported.user_data}
        requirements: dict[int, str] = {row[0]: row[1] for row in exported.requirements}
        inputs, outputs = _names(exported.inputs, file_names), _names(exported.outputs, file_names)
        scripts = _names(exported.inputs, script_paths) if script_paths else {}
        depends_on = _names(exported.dependencies, self._job_names)
        reads = _names([row[:2] for row in exported.job_user_data if not row[2]], data_names)
        writes = _names([row[:2] for row in exported.job_user_data if row[2]], data_names)
        definitions = _group(exported.definitions)
        for (
            job_id, name, command, script, env, requirement_id, scheduler, handler, priority, cancels,
            supports_termination, status, reason, attempt, run_id, worker_id, counter, may_return, retries,
        ) in exported.jobs:  # fmt: skip
            versions = definitions.get(job_id, ())
            yield JobEntry(
                name=name,
                command=command,
                invocation_script=script,
                env=msgspec.json.decode(env, type=dict[str, str]) if env != "{}" else {},
                depends_on=depends_on.get(job_id, _NO_NAMES),
                input_files=inputs.get(job_id, _NO_NAMES),
                output_files=outputs.get(job_id, _NO_NAMES),
                input_user_data=reads.get(job_id, _NO_NAMES),
                output_user_data=writes.get(job_id, _NO_NAMES),
                scripts=sorted(scripts.get(job_id, _NO_NAMES)),
                resource_requirements=requirements.get(requirement_id),
                scheduler=scheduler,
                failure_handler=handler,
                cancel_on_blocking_job_failure=bool(cancels),
                supports_termination=bool(supports_termination),
                priority=priority,
                definition_version=versions[-1][0] if versions else 0,
                earlier_definitions=[_earlier(version, text) for version, text in versions[:-1]],
                status=status_name(status),
                status_reason=reason_name(reason),
                attempt_id=attempt,
                run_id=run_id,
                attempt_is_history=is_history(worker_id),
                started_at_version=None if counter < 0 else counter,
                retries=retries,
                may_return=bool(may_return),
            )

    # ---- results ----

    def results(self) -> Iterator[ResultEntry]:
        for (
            job_id, attempt_id, run_id, return_code, status, reason, started_at_ms, ended_at_ms, exec_time_s,
            peak_memory_bytes, cpu_seconds, hostname, stdout_path, stderr_path,
        ) in self.exported.results or ():  # fmt: skip
            yield ResultEntry(
                job=self._job_names[job_id],
                attempt_id=attempt_id,
                run_id=run_id,
                status=status_name(status),
                status_reason=reason_name(reason),
                return_code=return_code,
                started_at_ms=started_at_ms,
                ended_at_ms=ended_at_ms,
                exec_time_s=exec_time_s,
                peak_memory_bytes=peak_memory_bytes,
                cpu_seconds=cpu_seconds,
                hostname=hostname,
                stdout_path=stdout_path and relate_path(stdout_path, self._base),
                stderr_path=stderr_path and relate_path(stderr_path, self._base),
            )


def _group(rows: Rows) -> dict[int, list[tuple[Any, ...]]]:
    """Rows by their first column, without it."""
    grouped: dict[int, list[tuple[Any, ...]]] = {}
    for first, *rest in rows:
        grouped.setdefault(first, []).append(tuple(rest))
    return grouped


def _names(pairs: Rows, names: dict[int, str]) -> dict[int, list[str]]:
    """Of each first id the names of the second ones, where they have one."""
    found: dict[int, list[str]] = {}
    for first, second in pairs:
        if second in names:
            found.setdefault(first, []).append(names[second])
    return found


def _seen(mtime_ns: int, size: int, digest: bytes | None) -> dict[str, Any]:
    """What a record says of a file; nothing when it was absent."""
    if size < 0:
        return {}
    return {"mtime_ns": mtime_ns, "size": size, "digest": None if digest is None else digest.hex()}


def _record(columns: Sequence[Any]) -> Record | None:
    version, mtime_ns, size, digest, is_racy = columns
    return None if version is None else Record(version=version, is_racy=bool(is_racy), **_seen(mtime_ns, size, digest))


def _earlier(version: int, text: str) -> EarlierDefinition:
    definition = msgspec.json.decode(text, type=Definition)
    return EarlierDefinition(version=version, **msgspec.structs.asdict(definition))
