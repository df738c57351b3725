"""Actions of workflows: what is to be done when the workflow or some of its jobs get somewhere, and what was done."""

from typing import Literal

import msgspec

from torcd.protocol.model import Answer
from torcd.protocol.requests import ListRequest

FiringStatus = Literal["queued", "running", "succeeded", "failed", "interrupted"]


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """Which firing of which action."""

    action_id: int
    number: int
    run_id: int


class ListActions(ListRequest, frozen=True, kw_only=True):
    """Pages through the actions of a workflow."""

    METHOD = "actions.list"


class ListFirings(ListRequest, frozen=True, kw_only=True):
    """Pages through all firings of the actions of a workflow."""

    METHOD = "actions.firings"


class Action(Answer, frozen=True, kw_only=True):
    """Something to do at a moment, with its latest firing."""

    id: int
    action_id: int
    workflow_id: int
    number: int
    """Its place in the specification, from 1."""
    trigger_type: str
    action_type: str
    num_jobs: int | None
    """How many jobs it is about; null: the workflow as a whole."""
    jobs: list[str]
    job_name_regexes: list[str]
    commands: list[str]
    scheduler: str | None
    num_allocations: int | None
    max_parallel_jobs: int | None
    is_armed: bool
    """Whether it fires when its moment comes. That disarms it; an operation that changes a job that it is about arms it
    again."""
    fired: int
    """How often it has fired."""
    status: str | None
    """Of its latest firing: `queued`, `running`, `succeeded`, `failed`, or `interrupted` (the daemon ended meanwhile:
    what came of it is not known, and it is not repeated)."""
    fired_at: str | None
    ended_at: str | None
    return_code: int | None
    error: str | None


class FiringShown(Answer, frozen=True, kw_only=True):
    """One firing of an action."""

    id: int
    firing_id: int
    action_id: int
    workflow_id: int
    number: int
    """That of the action."""
    firing: int
    """Counts the firings of the action."""
    run_id: int
    trigger_type: str
    action_type: str
    status: str
    fired_at: str
    started_at: str | None
    ended_at: str | None
    return_code: int | None
    error: str | None
    stdout_path: str | None
    stderr_path: str | None
    allocations: list[int]
    """Ids of the allocations that it submitted."""
