"""A workflow specification as written by a user: field names, types and defaults.

Unknown fields are refused at decoding. Names, references, parameters and cycles are checked by
`torcd.core.specification`, which expands these structs into jobs.
"""

from typing import Any, Literal

import msgspec
from msgspec import field

ParameterValue = str | int | float | bool | list[str | int | float | bool]
"""A range "1:10", a list "[a,b]" (as text or as a real list), or one plain value."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False, omit_defaults=True):
    """Base of the pieces of a specification."""


class Parameterized(Part, frozen=True, kw_only=True):
    """What can stand for many objects: one for each combination of its parameters."""

    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    parameter_mode: Literal["product", "zip"] = "product"
    use_parameters: list[str] = field(default_factory=list)


class JobSpec(Parameterized, frozen=True, kw_only=True):
    """One job, or one for each combination of its parameters."""

    name: str
    command: str
    invocation_script: str | None = None
    depends_on: list[str] = field(default_factory=list)
    depends_on_regexes: list[str] = field(default_factory=list)
    input_files: list[str] = field(default_factory=list)
    input_file_regexes: list[str] = field(default_factory=list)
    output_files: list[str] = field(default_factory=list)
    output_file_regexes: list[str] = field(default_factory=list)
    input_user_data: list[str] = field(default_factory=list)
    input_user_data_regexes: list[str] = field(default_factory=list)
    output_user_data: list[str] = field(default_factory=list)
    output_user_data_regexes: list[str] = field(default_factory=list)
    resource_requirements: str | None = None
    scheduler: str | None = None
    failure_handler: str | None = None
    cancel_on_blocking_job_failure: bool = True
    supports_termination: bool = False
    priority: int = 0
    env: dict[str, str] = field(default_factory=dict)


class FileSpec(Parameterized, frozen=True, kw_only=True):
    """A file that jobs read or write. A relative path is under the submission directory.

    `on_missing: ignore`: an intermediate that something else may remove; its job runs again only when a job that must
    run needs the file.
    """

    name: str
    path: str
    on_missing: Literal["rerun", "ignore"] = "rerun"


class UserDataSpec(Parameterized, frozen=True, kw_only=True):
    """A JSON value that jobs read or write. `data` left out: no value yet (not the same as null)."""

    name: str
    data: Any = msgspec.UNSET
    is_ephemeral: bool = False


class ResourceRequirementsSpec(Part, frozen=True, kw_only=True):
    """What a job needs. `memory` is "512k", "1m", "2g"; `runtime` an ISO 8601 duration."""

    name: str
    num_cpus: int = 1
    memory: str = "1m"
    num_gpus: int = 0
    num_nodes: int = 1
    runtime: str = "PT1H"


class FailureHandlerRule(Part, frozen=True, kw_only=True):
    """What to do about some exit codes."""

    exit_codes: list[int] = field(default_factory=list)
    match_all_exit_codes: bool = False
    recovery_script: str | None = None
    max_retries: int = 3


class FailureHandlerSpec(Part, frozen=True, kw_only=True):
    """Rules that retry a failed job."""

    name: str
    rules: list[FailureHandlerRule]


class SlurmSchedulerSpec(Part, frozen=True, kw_only=True):
    """What to ask of Slurm for one kind of allocation."""

    name: str | None = None
    account: str | None = None
    partition: str | None = None
    nodes: int = 1
    walltime: str = "01:00:00"
    mem: str | None = None
    gres: str | None = None
    qos: str | None = None
    ntasks_per_node: int | None = None
    tmp: str | None = None
    extra: str | None = None


class ActionSpec(Part, frozen=True, kw_only=True):
    """Something to do when the workflow or some of its jobs reach a state."""

    trigger_type: Literal["on_workflow_start", "on_workflow_complete", "on_jobs_ready", "on_jobs_complete"]
    action_type: Literal["run_commands", "schedule_nodes"]
    jobs: list[str] = field(default_factory=list)
    job_name_regexes: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    scheduler: str | None = None
    scheduler_type: Literal["slurm", "local"] | None = None
    num_allocations: int = 1
    start_one_worker_per_node: bool = False
    max_parallel_jobs: int | None = None
    persistent: bool = False


class Header(Part, frozen=True, kw_only=True):
    """Everything of a specification but its long lists."""

    name: str
    user: str | None = None
    description: str | None = None
    project: str | None = None
    metadata: Any = None
    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    resource_requirements: list[ResourceRequirementsSpec] = field(default_factory=list)
    failure_handlers: list[FailureHandlerSpec] = field(default_factory=list)
    slurm_schedulers: list[SlurmSchedulerSpec] = field(default_factory=list)
    slurm_defaults: dict[str, Any] = field(default_factory=dict)
    actions: list[ActionSpec] = field(default_factory=list)
    jobs_sort_method: Literal["none", "gpus_runtime_memory", "gpus_memory_runtime"] = "none"
    detect: Literal["mtime", "content"] = "mtime"
    track_scripts: bool = True


class WorkflowSpec(Header, frozen=True, kw_only=True):
    """A whole specification."""

    jobs: list[JobSpec]
    files: list[FileSpec] = field(default_factory=list)
    user_data: list[UserDataSpec] = field(default_factory=list)


class Piece(Part, frozen=True, kw_only=True):
    """A part of the long lists of a specification, small enough for one frame; pieces keep their order."""

    jobs: list[JobSpec] = field(default_factory=list)
    files: list[FileSpec] = field(default_factory=list)
    user_data: list[UserDataSpec] = field(default_factory=list)
