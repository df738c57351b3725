"""The jobs that a command is about: named by keys, on the command line or on standard input, or selected by how they
ended.

A key is an id or, in the selected workflow, a name; digits are an id. Keys may come in thousands: they are looked up
in a few requests, before anything is changed, and what does not exist refuses all of them. Which jobs `--status` and
`--return-code` select is left to the daemon, that finds it out when it acts.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.exits import UsageError
from torcctl.selection import choose_workflow, is_id, workflow_of_option
from torcd.protocol.errors import Refused
from torcd.protocol.lookups import FindJobs

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Key

STDIN = "-"
"""The key that stands for all those on standard input, separated by white space."""

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


def _read_keys(keys: "Sequence[Key]") -> tuple[list[int], list[str]]:
    """Ids and names, each once."""
    found: dict[str, None] = {}
    for key in keys:
        if key == STDIN:
            found |= dict.fromkeys(_read_stdin())
        elif key.startswith("-"):
            advice = "see --help; a job of this name is named by its id, or on standard input (-)"
            raise UsageError(f"unknown option {key!r}; {advice}", option=key)
        else:
            found[key] = None
    ids = {key: int(key) for key in found if is_id(key)}
    return list(dict.fromkeys(ids.values())), [key for key in found if key not in ids]


def _read_stdin() -> list[str]:
    if sys.stdin is None:
        raise UsageError("the key - stands for keys on standard input, which is closed")
    try:
        return sys.stdin.read().split()
    except UnicodeDecodeError as error:
        raise Refused(f"the keys on standard input are not valid UTF-8: {error}") from error


def _find(context: "Context", ids: list[int], names: list[str]) -> tuple[int, list[int]]:
    workflow_id = workflow_of_option(context)
    if workflow_id is None and not ids:
        workflow_id = choose_workflow(context)
    pieces: list[dict[str, Any]] = [{"ids": ids[at : at + KEYS_AT_ONCE]} for at in range(0, len(ids), KEYS_AT_ONCE)]
    pieces += [{"names": names[at : at + KEYS_AT_ONCE]} for at in range(0, len(names), KEYS_AT_ONCE)]
    jobs: list[int] = []
    for piece in pieces:
        found = context.get(FindJobs(workflow_id=workflow_id, **piece), Found)
        workflow_id = found.workflow_id
        jobs += found.jobs
    assert workflow_id is not None
    return workflow_id, jobs
