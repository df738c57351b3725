"""JSON-RPC 2.0 in websocket text frames: one message a frame.

The envelope is decoded first and its params kept raw, so that a bad request can be answered under its id.
"""

from functools import cache
from typing import Any, Literal

import msgspec

from torcd.protocol.errors import BadRequest, NotAMessage, NotJson, TorcError, UnknownMethod
from torcd.protocol.methods import METHODS
from torcd.protocol.requests import Request

MAX_FRAME = 16 * 1024 * 1024
"""Largest frame either side accepts, in bytes."""

SOFT_FRAME = 1024 * 1024
"""Both sides send less than this: a larger message would hold up an event loop."""


class Call(msgspec.Struct, frozen=True):
    """A request or notification as it arrives; `params` is decoded by its method's struct."""

    method: str
    jsonrpc: Literal["2.0"]
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"{}")


class ErrorObject(msgspec.Struct, frozen=True):
    """The `error` of a response."""

    code: int
    message: str
    data: dict[str, Any] | None = None


class Incoming(msgspec.Struct, frozen=True):
    """What a client receives: a response (`id`) or a notification (`method`)."""

    jsonrpc: Literal["2.0"]
    id: int | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ErrorObject | None = None
    method: str | None = None
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_encoder = msgspec.json.Encoder()
_call = msgspec.json.Decoder(Call)
_incoming = msgspec.json.Decoder(Incoming)


@cache
def _decoder(method: str) -> msgspec.json.Decoder[Request] | None:
    """Made on first use: a client needs none of them."""
    kind = METHODS.get(method)
    return None if kind is None else msgspec.json.Decoder(kind)


def decode_call(frame: str | bytes) -> Call:
    """The envelope of a frame; raises NotJson or NotAMessage."""
    try:
        return _call.decode(frame)
    except msgspec.ValidationError as error:
        raise NotAMessage(f"not a JSON-RPC 2.0 request: {error}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJson(f"the frame is not JSON: {error}") from error


def decode_request(call: Call) -> Request:
    """The typed request of a call; raises UnknownMethod or BadRequest with the path of the field."""
    decoder = _decoder(call.method)
    if decoder is None:
        raise UnknownMethod(f"there is no method {call.method!r} in this version of torcd", method=call.method)
    try:
        return decoder.decode(call.params)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        raise BadRequest(f"{call.method}: {error}", path=path.strip("`") or "$", why=message) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJson(f"{call.method}: params are not JSON: {error}") from error


def encode_call(call_id: int, request: Request) -> bytes:
    """The frame of a request."""
    return _encoder.encode({"jsonrpc": "2.0", "id": call_id, "method": request.METHOD, "params": request})


def encode_result(call_id: int | str | None, result: Any) -> bytes:
    """The frame of a success."""
    return _encoder.encode({"jsonrpc": "2.0", "id": call_id, "result": result})


def encode_error(call_id: int | str | None, error: TorcError) -> bytes:
    """The frame of a failure."""
    data = {"name": error.name, **error.data}
    return _encoder.encode(
        {
            "jsonrpc": "2.0",
            "id": call_id,
            "error": {"code": error.code, "message": error.message, "data": data},
        }
    )


def encode_notification(method: str, params: Any) -> bytes:
    """The frame of a notification."""
    return _encoder.encode({"jsonrpc": "2.0", "method": method, "params": params})


def decode_incoming(frame: str | bytes) -> Incoming:
    """What a daemon sent; raises msgspec.DecodeError when it is no JSON-RPC message."""
    return _incoming.decode(frame)
