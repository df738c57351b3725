"""Queries of single things and of their past: by id or by name, beside the plain lists."""

from msgspec import field

from torcd.protocol.requests import Integer, ListRequest, Request


class FindJobs(Request, frozen=True, kw_only=True):
    """The ids of jobs that are named by id or by name: all of them, or NotFound.

    They must be in one workflow: `workflow_id`, or left out that of the first id. Answers {workflow_id, jobs}, the
    ids first, then those of the names, each in the order given.
    """

    METHOD = "jobs.find"
    workflow_id: Integer | None = None
    ids: list[Integer] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class GetFile(Request, frozen=True, kw_only=True):
    """One file, by `file_id` or by `workflow_id` and `name`; a declared file comes before a script of that name."""

    METHOD = "files.get"
    file_id: Integer | None = None
    workflow_id: Integer | None = None
    name: str | None = None


class ListFileHistory(ListRequest, frozen=True, kw_only=True):
    """Pages through a file's record and the records that it replaced, newest first; `cursor` is a version."""

    METHOD = "files.history"
    file_id: Integer


class ListUserDataHistory(ListRequest, frozen=True, kw_only=True):
    """Pages through all values that a user data has had, newest first; `cursor` is a version."""

    METHOD = "user_data.history"
    user_data_id: Integer


class GetWorker(Request, frozen=True, kw_only=True):
    METHOD = "workers.get"
    worker_id: Integer
