"""Updating a workflow from a changed specification: the requests, and what they are answered with."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from torcd.protocol.model import Answer
from torcd.protocol.requests import Natural, Request, WorkflowRequest
from torcd.protocol.specification import Header

SECTIONS = ("jobs", "files", "user_data", "resource_requirements")
"""The kinds of objects that are matched by name, under their names in specifications."""

CHANGES = ("added", "changed", "removed")
"""What may happen to an object."""


class UpdateWorkflow(WorkflowRequest, frozen=True, kw_only=True):
    """Makes a workflow what a changed specification says, a header and an upload: all of it, or nothing.

    Answers `Update`. To ask again is safe: what is done already is no difference any more.
    """

    METHOD = "workflows.update"
    header: Header
    upload: str | None = None
    dry_run: bool = False
    expect: str | None = None


class GetUpdate(Request, frozen=True, kw_only=True):
    """Pages through the differences of an update or its dry run; `update` came with the first page."""

    METHOD = "workflows.update_page"
    update: str
    cursor: Natural = 0


class FieldDifference(Answer, frozen=True, kw_only=True):
    """A field that differs. A long value is cut, and then a text."""

    field: str
    old: Any
    new: Any


class Difference(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """An object that is added, changed or removed."""

    section: Literal["jobs", "files", "user_data", "resource_requirements"]
    change: Literal["added", "changed", "removed"]
    id: int | None
    """Null for what a dry run would add."""
    name: str
    path: str | UnsetType = UNSET
    """Of files that are added or removed."""
    results: int | UnsetType = UNSET
    """Of jobs that are removed: how many results go with them."""
    fields: list[FieldDifference] | UnsetType = UNSET
    """Of what is changed."""


class Update(Answer, frozen=True, kw_only=True):
    """What an update does or would do, with the first of its differences."""

    workflow_id: int
    dry_run: bool
    count: int
    """How many objects and fields of the header differ."""
    plan_digest: str
    counts: dict[str, dict[str, int]]
    """Of each section: how many objects are added, changed, removed."""
    results_removed: int
    header: list[FieldDifference]
    warnings: list[str]
    differences: list[msgspec.Raw]
    """Each a `Difference`."""
    next_cursor: int | None
    update: str
