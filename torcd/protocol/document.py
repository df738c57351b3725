"""An exported workflow as a document: its definition, read like a specification, and where everything stands.

Everything refers to everything by name, so that ids of the importing database follow by construction. Unlike in a
specification nothing is left to expand: no parameters, no regular expressions, and commands are literal. A document
of version 1 can be imported for ever; docs/export.md describes it field by field.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType, field

from torcd.protocol.requests import Integer, Natural, Time
from torcd.protocol.specification import Header, Part

FORMAT = "torc-workflow"
VERSION = 1
"""Raised by a change that an older torcd would misunderstand; new fields with a default are none."""

Number = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
"""A run or an attempt: arrays keep them in 32 bits, and there is room for more."""
Version = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A number of the version counter."""
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Standing(Part, frozen=True, kw_only=True):
    """Where the workflow as a whole stands. `is_archived` is told, not imported."""

    run_id: Number
    version_counter: Version
    is_canceled: bool = False
    is_archived: bool = False
    unarmed_actions: list[Number] = field(default_factory=list)
    """The actions, counted from 1, that have fired, and that no operation has armed since."""


class Head(Header, frozen=True, kw_only=True):
    """Everything of a document but its long lists. `source` says where it comes from, for readers alone."""

    format: str
    version: int
    source: dict[str, Any] = field(default_factory=dict)
    directory: str
    state: Standing


class FormerRecord(Part, frozen=True, kw_only=True):
    """What was accepted of a file under a version. Without `mtime_ns` and `size`: it was seen to be absent."""

    version: Version
    mtime_ns: Nanoseconds | None = None
    size: Natural | None = None
    digest: Digest | None = None
    """16 bytes of BLAKE3 of its content, in hexadecimal; None: that was not read."""


class Record(FormerRecord, frozen=True, kw_only=True):
    """The record of a file in force. `is_racy`: a later write may have left the same time and size."""

    is_racy: bool = False


class FileEntry(Part, frozen=True, kw_only=True):
    """A file. Its path is below `directory` when it is relative. Without a `record` it was never looked at."""

    name: str
    path: str
    on_missing: Literal["rerun", "ignore"] = "rerun"
    record: Record | None = None
    replaced: list[FormerRecord] = field(default_factory=list)


class ScriptEntry(Part, frozen=True, kw_only=True):
    """A script that was found in commands: an input that nobody declared."""

    path: str
    record: Record | None = None
    replaced: list[FormerRecord] = field(default_factory=list)


class ValueVersion(Part, frozen=True, kw_only=True):
    """A value that a user data has had from a version on; without `data` it was cleared."""

    version: Version
    data: msgspec.Raw | UnsetType = UNSET


class UserDataEntry(Part, frozen=True, kw_only=True):
    """A user data with all its values, oldest first."""

    name: str
    is_ephemeral: bool = False
    versions: list[ValueVersion] = field(default_factory=list)


class EarlierDefinition(Part, frozen=True, kw_only=True):
    """A definition that an edit has replaced, in force from a version on. Its names need not exist any more."""

    version: Version
    command: str
    invocation_script: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    depends_on: list[str] = field(default_factory=list)
    input_files: list[str] = field(default_factory=list)
    output_files: list[str] = field(default_factory=list)
    input_user_data: list[str] = field(default_factory=list)
    output_user_data: list[str] = field(default_factory=list)


class JobEntry(Part, frozen=True, kw_only=True):
    """A job and where it stands. It has no definition but this when no edit has replaced one."""

    name: str
    command: str
    invocation_script: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    """All that the job gets: the workflow's environment is not added."""
    depends_on: list[str] = field(default_factory=list)
    input_files: list[str] = field(default_factory=list)
    output_files: list[str] = field(default_factory=list)
    input_user_data: list[str] = field(default_factory=list)
    output_user_data: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    """Paths, as `scripts` has them."""
    resource_requirements: str | None = None
    scheduler: str | None = None
    failure_handler: str | None = None
    cancel_on_blocking_job_failure: bool = True
    supports_termination: bool = False
    priority: int = 0
    definition_version: Version = 0
    """From which version on its definition has been in force."""
    earlier_definitions: list[EarlierDefinition] = field(default_factory=list)
    """Oldest first."""
    status: str
    status_reason: str | None = None
    attempt_id: Number = 0
    """The number of its latest attempt; 0: it had none."""
    run_id: Number = 0
    """The run of that attempt."""
    attempt_is_history: bool = False
    """That attempt does not tell of the present status: the job was reset since, or accepted (SEMANTICS 8.5)."""
    started_at_version: Version | None = None
    """The version counter when its latest attempt that started did so; None: none ever has."""
    retries: Number = 0
    """How often its failure handler had it tried again since an operation last touched it."""
    may_return: bool = False
    """It was reset, and returns to completed if all that it takes turns out unchanged (SEMANTICS 4.9)."""


class ResultEntry(Part, frozen=True, kw_only=True):
    """What one attempt of a job left behind."""

    job: str
    attempt_id: Number
    run_id: Number
    status: str
    status_reason: str | None = None
    return_code: Integer | None = None
    started_at_ms: Time | None = None
    ended_at_ms: Time
    exec_time_s: Annotated[float, msgspec.Meta(ge=0)]
    peak_memory_bytes: Natural | None = None
    cpu_seconds: float | None = None
    hostname: str = ""
    stdout_path: str | None = None
    stderr_path: str | None = None


LISTS: dict[str, type[Part]] = {
    "files": FileEntry,
    "scripts": ScriptEntry,
    "user_data": UserDataEntry,
    "jobs": JobEntry,
    "results": ResultEntry,
}
"""The long lists of a document, in the order in which they are written and sent."""
