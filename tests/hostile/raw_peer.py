"""A peer of the daemon that sends whatever it is told to: bytes, frames, messages, well-formed or not.

It is written against the socket alone, so that nothing of the product keeps it from misbehaving.
"""

import json
import select
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torcd.protocol import PROTOCOL
from torcd.protocol.rpc import MAX_FRAME
from torcd.protocol.websocket import CLOSE, PING, TEXT, Receiver, encode_frame

PATIENCE_S = 60.0
"""For an answer that takes milliseconds on an idle machine."""

UPGRADE = (
    b"GET /v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Closed(Exception):
    """The daemon has closed the connection; `code` is that of its close frame, if there was one."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class RawPeer:
    """One connection; a context manager. Blocking, every wait has a deadline."""

    def __init__(self, path: Path, *, upgrade: bool = True, hello: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(path))
        self._receiver = Receiver(4 * MAX_FRAME)
        self._messages: list[dict[str, Any]] = []
        self._last_id = 0
        if upgrade:
            self.socket.sendall(UPGRADE)
            self._read_head()
        if upgrade and hello:
            self.call("session.hello", {"protocol": PROTOCOL, "client": "hostile", "version": "0"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Sends bytes as they are; False when the daemon does not take them any more."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_text(self, text: str | bytes) -> None:
        """Sends a text frame."""
        data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
        if not self.send(encode_frame(TEXT, data)):
            raise Closed(None)

    def call(self, method: str, params: Any) -> dict[str, Any]:
        """The whole response to a well-formed call."""
        self._last_id += 1
        call_id = f"call {self._last_id}"
        self.send_text(json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}))
        return self.response(call_id)

    def response(self, call_id: Any, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The response with this id; everything else that comes before it is dropped. Raises Closed, TimeoutError."""
        deadline = time.monotonic() + patience_s
        while True:
            message = self.receive(deadline - time.monotonic())
            if "method" not in message and message.get("id") == call_id:
                return message

    def receive(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next message. Raises Closed and TimeoutError."""
        deadline = time.monotonic() + patience_s
        while not self._messages:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"nothing came for {patience_s:.1f} s")
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed(None)
            self._take(data)
        return self._messages.pop(0)

    def wait_closed(self, patience_s: float = PATIENCE_S) -> int | None:
        """Reads until the daemon has closed; the code that it gave, if it gave one."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                self.receive(max(0.0, deadline - time.monotonic()))
            except Closed as closed:
                return closed.code

    def _take(self, data: bytes) -> None:
        self._receiver.feed(data)
        for message in self._receiver.messages():
            if message.opcode == TEXT:
                self._messages.append(json.loads(message.payload))
            elif message.opcode == CLOSE:
                raise Closed(int.from_bytes(message.payload[:2], "big") if message.payload else None)
            else:
                assert message.opcode in (PING, 0xA), message

    def _read_head(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(4096)
            if not data:
                raise Closed(None)
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self._take(rest)


def frame(
    payload: bytes, opcode: int = TEXT, *, final: bool = True, masked: bool = True, reserved: int = 0,
    says: int | None = None,
) -> bytes:  # fmt: skip
    """A frame that may be wrong: not masked, with reserved bits, or saying another length than it has."""
    size = len(payload) if says is None else says
    first = (0x80 if final else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 1 << 16:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + (size % (1 << 64)).to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload  # a mask of zeros changes nothing
