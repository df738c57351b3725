"""Queries of single things and of their past: by id or by name, beside the plain lists."""

from msgspec import field

from torcd.protocol.requests import Integer, Request


class FindJobs(Request, frozen=True, kw_only=True):
    """The ids of jobs that are named by id or by name: all of them, or NotFound.

    They must be in one workflow: `workflow_id`, or left out that of the first id. Answers {workflow_id, jobs}, the
    ids first, then those of the names, each in the order given.
    """

    METHOD = "jobs.find"
    workflow_id: Integer | None = None
    ids: list[Integer] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
