"""Expected failures, as the user is told of them: a code, a sentence and data for programs.

A bug is never one of these: it stays an ordinary exception.
"""

from typing import Any, ClassVar


class TorcError(Exception):
    """An expected failure. `code` is HTTP's number (or a JSON-RPC one), `data` is JSON for programs."""

    code: ClassVar[int] = 500
    name: ClassVar[str] = "internal"

    def __init__(self, message: str, /, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class BadRequest(TorcError):
    """The request does not fit its type; `data.path` names the field."""

    code = -32602
    name = "invalid_params"


class UnknownMethod(TorcError):
    """There is no such method in this version of the daemon."""

    code = -32601
    name = "method_not_found"


class NotAMessage(TorcError):
    """The frame is no JSON-RPC 2.0 request."""

    code = -32600
    name = "invalid_request"


class NotJson(TorcError):
    """The frame is not JSON."""

    code = -32700
    name = "parse_error"


class Unauthorized(TorcError):
    """`session.hello` is missing, or its token or protocol is not accepted."""

    code = 401
    name = "unauthorized"


class Forbidden(TorcError):
    """The peer is another user."""

    code = 403
    name = "forbidden"


class NotFound(TorcError):
    """There is no object with this id or name; `data` holds `noun` and `id`."""

    code = 404
    name = "not_found"


class TimedOut(TorcError):
    """The wait ended before what it waited for; that goes on."""

    code = 408
    name = "timeout"


class Conflict(TorcError):
    """Something under way, or something that changed meanwhile, stands against the request."""

    code = 409
    name = "conflict"


class TooLarge(TorcError):
    """A message, an upload or a specification exceeds a limit; `data.limit` is it."""

    code = 413
    name = "too_large"


class Refused(TorcError):
    """The input is wrong or a precondition does not hold: nothing was changed."""

    code = 422
    name = "refused"


class Busy(TorcError):
    """A limit of connections, calls or subscriptions is reached: try again later."""

    code = 429
    name = "busy"


class Unavailable(TorcError):
    """The daemon cannot carry this out now (stopping, disk full, actor restarted): nothing was changed."""

    code = 503
    name = "unavailable"


class Unreachable(TorcError):
    """No daemon answers (raised by the client alone, never sent)."""

    code = 0
    name = "unreachable"


class RemoteError(TorcError):
    """An error of a daemon whose code this client does not know."""


ERRORS: dict[int, type[TorcError]] = {
    kind.code: kind
    for kind in (
        BadRequest, UnknownMethod, NotAMessage, NotJson, Unauthorized, Forbidden, NotFound, TimedOut, Conflict,
        TooLarge, Refused, Busy, Unavailable,
    )
}  # fmt: skip


def error_from_wire(code: int, message: str, data: dict[str, Any] | None) -> TorcError:
    """The exception for an error object that a daemon sent."""
    return ERRORS.get(code, RemoteError)(message, **(data or {}))
