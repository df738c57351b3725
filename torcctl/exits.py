"""The exit codes, from one table, and the errors that only the command line knows."""

from torcd.protocol.errors import BadRequest, Conflict, NotFound, Refused, RemoteError, TimedOut, TorcError, Unreachable

DONE = 0
FAILED = 1
CHANGES = 10
"""`--dry-run --exit-code`: there are changes."""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell reports of a program that SIGPIPE ended: `torcctl jobs list | head`."""


class UsageError(TorcError):
    """The command line itself is wrong."""

    code = 400
    name = "usage"


class TaskFailed(TorcError):
    """The task of an operation ended without success; `data.task_id` names it."""

    code = 500
    name = "task_failed"


EXITS: dict[int, int] = {
    UsageError.code: 2,
    NotFound.code: 3,
    Conflict.code: 4,
    Unreachable.code: 5,
    TimedOut.code: 6,
    Refused.code: 7,
    BadRequest.code: 7,  # a value that does not fit its type (a number out of range) is bad input, too
}
"""Exit code by error code; every other error exits 1."""


def exit_of(error: TorcError) -> int:
    """The exit code of an error."""
    return EXITS.get(error.code, FAILED)


def name_of(error: TorcError) -> str:
    """The error's name; that of an error this client does not know came with it."""
    return str(error.data.get("name", error.name)) if isinstance(error, RemoteError) else error.name
