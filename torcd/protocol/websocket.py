"""RFC 6455 as seen by a client: the handshake's text and the frames. Bytes in, bytes out; no sockets here.

Written by hand because importing wsproto takes 40 ms, almost half of the 90 ms that a command may take from
start to exit. Extensions are never offered, so a frame with a reserved bit set is an error.
"""

import base64
import hashlib
import os
from collections.abc import Iterator

import msgspec

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_CONTROL = 125
"""Most bytes that a ping, pong or close may carry (RFC 6455, 5.5)."""

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ProtocolViolation(Exception):
    """The peer broke the websocket protocol; `close_code` is what to tell it."""

    def __init__(self, message: str, close_code: int = 1002) -> None:
        super().__init__(message)
        self.close_code = close_code


class Message(msgspec.Struct, frozen=True):
    """A whole text message, or one control frame."""

    opcode: int
    payload: bytes


def new_key() -> str:
    """A random `Sec-WebSocket-Key`."""
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    """The `Sec-WebSocket-Accept` that answers a key."""
    digest = hashlib.sha1(key.encode() + _ACCEPT_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def encode_upgrade(host: str, path: str, key: str) -> bytes:
    """The client's half of the handshake."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def check_upgrade(head: bytes, key: str) -> int:
    """The HTTP status of the server's half; raises ProtocolViolation when it is no valid answer."""
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ProtocolViolation(f"not an HTTP answer: {lines[0]!r}")
    if status != "101":
        return int(status)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("sec-websocket-accept") != accept_of(key):
        raise ProtocolViolation("the answer to the handshake does not match its key")
    return 101


def _masked(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one large integer: a loop over bytes would take a second per 10 MB."""
    size = len(payload)
    repeated = mask * (size // 4 + 1)
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated[:size], "little")
    return number.to_bytes(size, "little")


def encode_frame(opcode: int, payload: bytes = b"") -> bytes:
    """One final frame, masked as a client's frames must be."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    return head + mask + _masked(payload, mask)


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame."""
    return encode_frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[: MAX_CONTROL - 2])


def decode_close(payload: bytes) -> tuple[int, str]:
    """The code (1005 when there is none) and the reason of a close frame."""
    if len(payload) < 2:
        return 1005, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")


class Receiver:
    """Puts messages together from the bytes of a server. `limit` bounds a message, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._parts: list[bytes] | None = None
        """The fragments of the text message under way; None between messages."""
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Adds bytes as they came from the socket."""
        self._buffer += data

    def messages(self) -> Iterator[Message]:
        """The messages that are complete; raises ProtocolViolation."""
        while (frame := self._take_frame()) is not None:
            final, opcode, payload = frame
            if opcode >= CLOSE:
                yield Message(opcode, payload)
                continue
            message = self._join(final, opcode, payload)
            if message is not None:
                yield message

    def _join(self, final: bool, opcode: int, payload: bytes) -> Message | None:
        if (opcode == CONTINUATION) == (self._parts is None):
            raise ProtocolViolation("a fragment is out of order")
        if self._parts is None:
            self._parts, self._size = [], 0
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > self._limit:
            raise ProtocolViolation(f"a message exceeds {self._limit} bytes", 1009)
        if not final:
            return None
        whole = b"".join(self._parts)
        self._parts = None
        return Message(TEXT, whole)

    def _take_frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, size = buffer[0], buffer[1]
        final, opcode = bool(first & 0x80), first & 0x0F
        if first & 0x70 or opcode not in (CONTINUATION, TEXT, CLOSE, PING, PONG):
            raise ProtocolViolation(f"an unexpected frame (first byte {first:#04x})")
        if size & 0x80:
            raise ProtocolViolation("a server's frame is masked")
        if opcode >= CLOSE and (not final or size > MAX_CONTROL):
            raise ProtocolViolation("a control frame is fragmented or too long")
        start = 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if size > self._limit:
            raise ProtocolViolation(f"a frame of {size} bytes exceeds {self._limit}", 1009)
        end = start + size
        if len(buffer) < end:
            return None
        payload = bytes(buffer[start:end])
        del buffer[:end]
        return final, opcode, payload
