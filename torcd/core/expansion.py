"""What a specification expands to: plain jobs, files, user data and requirements that refer to each other by
index.

The lists are not to be changed; they are lists only because those are cheap to build in such numbers.
"""

import msgspec


class NewFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file of a new workflow. `path` is absolute."""

    name: str
    path: str
    may_be_missing: bool = False


class NewUserData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """User data of a new workflow. `data` is JSON; it and `digest` are None when there is no value yet."""

    name: str
    data: bytes | None
    digest: bytes | None
    is_ephemeral: bool


class NewRequirement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Resource requirements of a new workflow."""

    name: str
    num_cpus: int
    memory_bytes: int
    num_gpus: int
    num_nodes: int
    runtime_s: float


class NewJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job of a new workflow. Lists hold indexes into the lists of its `Expansion`, ascending, each once."""

    name: str
    command: str
    invocation_script: str | None
    env: dict[str, str]
    """The workflow's environment with the job's own on top."""
    depends_on: list[int]
    """Explicit dependencies only; those through files and user data follow from the lists below."""
    input_files: list[int]
    output_files: list[int]
    input_user_data: list[int]
    output_user_data: list[int]
    requirement: int
    """-1: none named and the specification has none called "default"."""
    scheduler: str | None
    failure_handler: str | None
    priority: int
    cancel_on_blocking_job_failure: bool
    supports_termination: bool
    definition_digest: bytes


class Expansion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A valid specification, expanded: names are unique, references exist, the graph has no cycle."""

    jobs: list[NewJob]
    files: list[NewFile]
    user_data: list[NewUserData]
    requirements: list[NewRequirement]
    actions: list[list[int]]
    """Of each action of the header, the jobs that it is about, ascending; none: the workflow as a whole."""
