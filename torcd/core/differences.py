"""In what a changed specification differs from a workflow: jobs, files and the like are matched by name.

It knows neither how the present is stored nor what is done about a difference. The critical attributes of a job
are compared by their digest, so that a hundred thousand jobs that stay as they are cost nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from torcd.core.expansion import Expansion, NewJob, NewRequirement
from torcd.core.fingerprint import NO_NAMES, Definition, find_definition_changes
from torcd.protocol.specification import Header
from torcd.protocol.update import SECTIONS

LINKS = frozenset(("input_files", "output_files", "input_user_data", "output_user_data", "depends_on"))
"""The critical attributes of a job that name other objects."""

TEXTS = frozenset(("command", "invocation_script"))
"""Those that may name scripts (SEMANTICS 4.5)."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """Base of what there may be a million of: the garbage collector never looks at it."""


class Attributes(Item, frozen=True, gc=False):
    """What of a job may change without making it stale, under its names in specifications."""

    priority: int
    resource_requirements: str | None
    scheduler: str | None
    failure_handler: str | None
    cancel_on_blocking_job_failure: bool
    supports_termination: bool


class PresentJob(Item, frozen=True, gc=False):
    """A job as it is."""

    id: int
    status: int
    digest: bytes
    attributes: Attributes


class PresentFile(Item, frozen=True, gc=False):
    """A declared file as it is."""

    id: int
    path: str
    may_be_missing: bool


class PresentValue(Item, frozen=True, gc=False):
    """User data as they are; no digest: there is no value."""

    id: int
    is_ephemeral: bool
    digest: bytes | None


class PresentRequirement(Item, frozen=True, gc=False):
    """Resource requirements as they are."""

    id: int
    need: NewRequirement


@dataclass(frozen=True, slots=True)
class Present:
    """A workflow as it is; its objects by name."""

    workflow_id: int
    is_archived: bool
    header: Header
    jobs: Mapping[str, PresentJob]
    files: Mapping[str, PresentFile]
    user_data: Mapping[str, PresentValue]
    requirements: Mapping[str, PresentRequirement]


class FieldChange(Item, frozen=True, gc=False):
    """A field that differs, by its name in specifications."""

    field: str
    old: Any
    new: Any


class Changed(Item, frozen=True, gc=False):
    """An object that is on both sides and differs: its id, its index in the expansion, and how."""

    id: int
    new: int
    fields: list[FieldChange]

    def touches(self, names: Collection[str]) -> bool:
        """Whether one of these fields differs."""
        return any(each.field in names for each in self.fields)


class Removed(Item, frozen=True, gc=False):
    """An object that the specification has no more."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Section:
    """The differences of one kind of object."""

    added: list[int] = field(default_factory=list)
    """Indexes in the expansion."""
    changed: list[Changed] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many objects differ."""
        return len(self.added) + len(self.changed) + len(self.removed)


@dataclass(frozen=True, slots=True)
class Differences:
    """All that is to be done to make a workflow what the specification says."""

    jobs: Section
    files: Section
    user_data: Section
    resource_requirements: Section
    header: list[FieldChange]
    redefined: dict[int, tuple[Definition, Definition]]
    """Of each changed job, by index, whose critical attributes differ: its definition and the new one."""

    def sections(self) -> dict[str, Section]:
        """The sections under their names in specifications."""
        return {name: getattr(self, name) for name in SECTIONS}

    @property
    def count(self) -> int:
        """How many objects and fields of the header differ; 0: nothing is to be done."""
        return sum(section.count for section in self.sections().values()) + len(self.header)


def find_redefined(present: Present, expansion: Expansion) -> dict[int, int]:
    """The jobs, id by index, whose critical attributes differ."""
    known = present.jobs
    return {
        index: before.id
        for index, job in enumerate(expansion.jobs)
        if (before := known.get(job.name)) is not None and before.digest != job.definition_digest
    }


def find_new_values(present: Present, expansion: Expansion) -> dict[int, int]:
    """The user data, id by index, that have another value in the specification; one without a value keeps its own."""
    known = present.user_data
    return {
        index: before.id
        for index, value in enumerate(expansion.user_data)
        if value.digest is not None and (before := known.get(value.name)) is not None and before.digest != value.digest
    }


def find_differences(
    present: Present,
    header: Header,
    expansion: Expansion,
    definitions: Mapping[int, Definition],
    values: Mapping[int, Any],
) -> Differences:
    """Everything that differs. `definitions` and `values`: the present ones, by id, of what the two above found."""
    redefined = {
        index: (definitions[job_id], definition_of(expansion, expansion.jobs[index]))
        for index, job_id in find_redefined(present, expansion).items()
    }
    return Differences(
        jobs=_compare_jobs(present, expansion, redefined),
        files=_compare_files(present, expansion),
        user_data=_compare_user_data(present, expansion, values),
        resource_requirements=_compare_requirements(present, expansion),
        header=_compare_headers(present.header, header),
        redefined=redefined,
    )


def definition_of(expansion: Expansion, job: NewJob) -> Definition:
    """The critical attributes of a job, by names."""

    def names(objects: Sequence[Any], indexes: list[int]) -> list[str]:
        return [objects[index].name for index in indexes] if indexes else NO_NAMES

    return Definition(
        command=job.command,
        invocation_script=job.invocation_script,
        env=job.env,
        input_files=names(expansion.files, job.input_files),
        output_files=names(expansion.files, job.output_files),
        input_user_data=names(expansion.user_data, job.input_user_data),
        output_user_data=names(expansion.user_data, job.output_user_data),
        depends_on=names(expansion.jobs, job.depends_on),
    )


def attributes_of(expansion: Expansion, job: NewJob) -> Attributes:
    """The other attributes of a job."""
    return Attributes(
        priority=job.priority,
        resource_requirements=expansion.requirements[job.requirement].name if job.requirement >= 0 else None,
        scheduler=job.scheduler,
        failure_handler=job.failure_handler,
        cancel_on_blocking_job_failure=job.cancel_on_blocking_job_failure,
        supports_termination=job.supports_termination,
    )


def _compare_jobs(
    present: Present, expansion: Expansion, redefined: Mapping[int, tuple[Definition, Definition]]
) -> Section:
    section = Section()
    for index, job in enumerate(expansion.jobs):
        before = present.jobs.get(job.name)
        if before is None:
            section.added.append(index)
            continue
        attributes = attributes_of(expansion, job)
        if index not in redefined and attributes == before.attributes:
            continue
        changes = find_definition_changes(*redefined[index]) if index in redefined else []
        fields = [FieldChange(*change) for change in changes]
        fields += _struct_changes(before.attributes, attributes, Attributes.__struct_fields__)
        section.changed.append(Changed(before.id, index, fields))
    _note_removed(section, present.jobs, (job.name for job in expansion.jobs))
    return section


def _compare_files(present: Present, expansion: Expansion) -> Section:
    section = Section()
    for index, file in enumerate(expansion.files):
        before = present.files.get(file.name)
        if before is None:
            section.added.append(index)
            continue
        fields = [] if before.path == file.path else [FieldChange("path", before.path, file.path)]
        if before.may_be_missing != file.may_be_missing:
            policies = ("rerun", "ignore")
            fields.append(FieldChange("on_missing", policies[before.may_be_missing], policies[file.may_be_missing]))
        if fields:
            section.changed.append(Changed(before.id, index, fields))
    _note_removed(section, present.files, (file.name for file in expansion.files))
    return section


def _compare_user_data(present: Present, expansion: Expansion, values: Mapping[int, Any]) -> Section:
    section = Section()
    for index, value in enumerate(expansion.user_data):
        before = present.user_data.get(value.name)
        if before is None:
            section.added.append(index)
            continue
        fields = []
        if value.data is not None and value.digest != before.digest:
            fields.append(FieldChange("data", values.get(before.id), msgspec.json.decode(value.data)))
        if before.is_ephemeral != value.is_ephemeral:
            fields.append(FieldChange("is_ephemeral", before.is_ephemeral, value.is_ephemeral))
        if fields:
            section.changed.append(Changed(before.id, index, fields))
    _note_removed(section, present.user_data, (value.name for value in expansion.user_data))
    return section


def _compare_requirements(present: Present, expansion: Expansion) -> Section:
    section = Section()
    for index, need in enumerate(expansion.requirements):
        before = present.requirements.get(need.name)
        if before is None:
            section.added.append(index)
        elif fields := _struct_changes(before.need, need, NewRequirement.__struct_fields__):
            section.changed.append(Changed(before.id, index, fields))
    _note_removed(section, present.requirements, (need.name for need in expansion.requirements))
    return section


def _compare_headers(before: Header, after: Header) -> list[FieldChange]:
    """The fields that differ, but for the requirements: those have a section of their own."""
    names = [name for name in Header.__struct_fields__ if name != "resource_requirements"]
    return [
        FieldChange(each.field, msgspec.to_builtins(each.old), msgspec.to_builtins(each.new))
        for each in _struct_changes(before, after, names)
    ]


def _struct_changes(before: msgspec.Struct, after: msgspec.Struct, names: Iterable[str]) -> list[FieldChange]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in names)
    return [FieldChange(name, old, new) for name, old, new in pairs if old != new]


def _note_removed(section: Section, present: Mapping[str, Any], names: Iterable[str]) -> None:
    left = set(names)
    section.removed.extend(Removed(each.id, name) for name, each in present.items() if name not in left)
