"""The jobs that a command is about: named by keys, on the command line or on standard input, or selected by how they
ended.

A key is an id or, in the selected workflow, a name; digits are an id, unless -k names a workflow that has no such id
and a job of that name. Keys may come in thousands: they are looked up in a few requests, before anything is changed,
and what does not exist refuses all of them. Which jobs `--status` and `--return-code` select is left to the daemon,
that finds it out when it acts.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.exits import UsageError
from torcctl.options import hint_at_global
from torcctl.parameters import PlainKey
from torcctl.selection import check_id, choose_workflow, is_id, workflow_of_option
from torcd.protocol.errors import NotFound, Refused
from torcd.protocol.lookups import FindJobs

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Key

STDIN = "-"
"""The key that stands for all those on standard input, one a line, without the white space around them."""

KEYS_AT_ONCE = 5_000
"""Keys in one request: below 1 MiB with names of ordinary length."""


class JobSelection(msgspec.Struct, frozen=True, kw_only=True):
    """What a request about jobs says of them, under the names of its fields."""

    workflow_id: int
    jobs: list[int]
    status: str | None = None
    return_code: int | None = None

    def fields(self) -> dict[str, Any]:
        """For a request that takes all of them."""
        return msgspec.structs.asdict(self)


class Found(msgspec.Struct, frozen=True):
    """The answer to `jobs.find`."""

    workflow_id: int
    jobs: list[int]


def select_jobs(
    context: "Context", keys: "Sequence[Key]", *, status: str | None = None, return_code: int | None = None
) -> JobSelection | None:
    """What selects jobs; None, after a warning, when nothing does: an empty shell expansion or input.

    Raises NotFound for a job that does not exist or is one of another workflow than the others, or than -k says.
    """
    ids, names = _read_keys(keys)
    if not (ids or names or status is not None or return_code is not None):
        context.warn("no job was named: nothing was changed")
        return None
    workflow_id, jobs = _find(context, ids, names)
    return JobSelection(workflow_id=workflow_id, jobs=jobs, status=status, return_code=return_code)


def _read_keys(keys: "Sequence[Key]") -> tuple[dict[int, str], list[str]]:
    """Ids, with the keys that they were, and names, each once."""
    found: dict[str, None] = {}
    for key in keys:
        if isinstance(key, PlainKey):
            found[str(key)] = None
        elif key == STDIN:
            found |= dict.fromkeys(_read_stdin())
        elif key.startswith("-"):
            hint = hint_at_global([key]) or "; see --help. A key that begins with a dash stands behind --"
            raise UsageError(f"unknown option {key!r}{hint}", option=key)
        else:
            found[key] = None
    ids = {key: check_id(int(key), "job") for key in found if is_id(key)}
    return {number: key for key, number in ids.items()}, [key for key in found if key not in ids]


def _read_stdin() -> list[str]:
    if sys.stdin is None:
        raise UsageError("the key - stands for keys on standard input, which is closed")
    try:
        keys = [line.strip() for line in sys.stdin]
    except UnicodeDecodeError as error:
        raise Refused(f"the keys on standard input are not valid UTF-8: {error}") from error
    return [key for key in keys if key]


def _find(context: "Context", ids: dict[int, str], names: list[str]) -> tuple[int, list[int]]:
    workflow_id = workflow_of_option(context)
    if workflow_id is None and not ids:
        workflow_id = choose_workflow(context)
    jobs: list[int] = []
    numbers = list(ids)
    for at in range(0, len(numbers), KEYS_AT_ONCE):
        found = _find_ids(context, workflow_id, {number: ids[number] for number in numbers[at : at + KEYS_AT_ONCE]})
        workflow_id = found.workflow_id
        jobs += found.jobs
    for at in range(0, len(names), KEYS_AT_ONCE):
        found = context.get(FindJobs(workflow_id=workflow_id, names=names[at : at + KEYS_AT_ONCE]), Found)
        workflow_id = found.workflow_id
        jobs += found.jobs
    assert workflow_id is not None
    return workflow_id, jobs


def _find_ids(context: "Context", workflow_id: int | None, ids: dict[int, str]) -> Found:
    """The jobs with these ids; where -k names a workflow that lacks some of them, those that are named so there."""
    try:
        return context.get(FindJobs(workflow_id=workflow_id, ids=list(ids)), Found)
    except NotFound as error:
        lost = [number for number in error.data.get("ids", []) if number in ids]
        if workflow_of_option(context) is None or not lost:
            raise
        try:
            named = context.get(FindJobs(workflow_id=workflow_id, names=[ids[number] for number in lost]), Found)
        except NotFound:
            raise error from None
    rest = {number: key for number, key in ids.items() if number not in lost}
    more = _find_ids(context, workflow_id, rest).jobs if rest else []
    return Found(named.workflow_id, list(dict.fromkeys([*more, *named.jobs])))
