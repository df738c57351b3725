"""A blocking connection to the daemon: what a command needs, with the standard library alone.

The framing is our own (`websocket`), because importing wsproto costs 40 ms of a command's 90 ms. Nothing here
starts a daemon, reconnects or repeats a request: that is the caller's decision.

A Connection belongs to one thread. Every wait has a deadline; a wait without an end of its own (an event
stream) is guarded by pings.
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import msgspec

from torcd import __version__
from torcd.protocol import PROTOCOL, websocket
from torcd.protocol.address import Address, Endpoint, need_fingerprint, parse_url
from torcd.protocol.errors import ERRORS, Refused, TooLarge, Unreachable, error_from_wire
from torcd.protocol.requests import Hello, Request
from torcd.protocol.rpc import MAX_FRAME, Incoming, decode_incoming, encode_call
from torcd.protocol.unix import open_unix

CONNECT_TIMEOUT_S = 10.0
"""For connect, handshake and hello each: a daemon that takes longer is stuck."""

CALL_TIMEOUT_S = 60.0
"""For a request that is answered without waiting for anything: generous, for file systems that hang."""

PING_AFTER_S = 20.0
"""Silence after which a ping asks whether the daemon is still there."""

SILENCE_LIMIT_S = 60.0
"""Silence, pings included, after which the connection counts as lost."""

RECEIVE_BYTES = 256 * 1024
MAX_HEAD = 16 * 1024
"""Longest answer to the handshake, in bytes."""


class NobodyAnswers(Unreachable):
    """Nothing listens at the address: the one case in which a daemon may be started."""


class HungUp(Unreachable):
    """The other side closed the connection, as a daemon does that ends."""


class NoAnswer(Unreachable):
    """The daemon is there but took too long over a call: repeating it would only add to its load."""


class Notification(msgspec.Struct, frozen=True):
    """What the daemon sends unasked: `event`, `progress` or `lagged`."""

    method: str
    params: msgspec.Raw


OnNotification = Callable[[Notification], None]


class Connection:
    """One session. Made by `connect`; closed by whoever made it."""

    def __init__(self, stream: socket.socket, address: Address, left_over: bytes = b"") -> None:
        self.address = address
        self.url = address.url
        self._stream = stream
        self._receiver = websocket.Receiver(MAX_FRAME)
        self._receiver.feed(left_over)
        self._incoming = self._receiver.messages()
        self._last_id = 0
        self._answers: dict[int, Incoming] = {}
        """Answers that came before they were asked for; bounded by the calls in flight."""
        self._notifications: deque[Notification] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- calls --------------------------------------------------------------------------------------------

    def call(
        self,
        request: Request,
        *,
        timeout_s: float | None = CALL_TIMEOUT_S,
        on_notification: OnNotification | None = None,
    ) -> msgspec.Raw:
        """The result of a request. Raises the daemon's error, or Unreachable when no answer comes."""
        return self.finish(self.begin(request), timeout_s=timeout_s, on_notification=on_notification)

    def begin(self, request: Request) -> int:
        """Sends a request and returns the id of the call; several may be in flight.

        Raises Refused or TooLarge for what cannot be sent, Unreachable when the connection is lost.
        """
        self._last_id += 1
        try:
            frame = encode_call(self._last_id, request)
        except UnicodeEncodeError as error:
            raise Refused(f"{request.METHOD}: {error.object!r} is not valid UTF-8") from error
        if len(frame) > MAX_FRAME:
            raise TooLarge(
                f"the request {request.METHOD} is {len(frame)} bytes; at most {MAX_FRAME} fit into one",
                limit=MAX_FRAME,
            )
        self._send(websocket.encode_frame(websocket.TEXT, frame))
        return self._last_id

    def finish(
        self,
        call_id: int,
        *,
        timeout_s: float | None = CALL_TIMEOUT_S,
        on_notification: OnNotification | None = None,
    ) -> msgspec.Raw:
        """The result of a call that was begun. With `timeout_s` None only the pings limit the wait.

        Notifications that arrive meanwhile go to `on_notification`, or are kept for `receive`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while call_id not in self._answers:
            if not self._advance(deadline):
                raise NoAnswer(f"torcd at {self.url} did not answer within {timeout_s:g} s", url=self.url)
            if on_notification is not None:
                while self._notifications:
                    on_notification(self._notifications.popleft())
        answer = self._answers.pop(call_id)
        if answer.error is not None:
            raise error_from_wire(answer.error.code, answer.error.message, answer.error.data)
        if isinstance(answer.result, msgspec.UnsetType):
            raise self._lost("it sent an answer with neither result nor error")
        return answer.result

    # ---- notifications ------------------------------------------------------------------------------------

    def receive(self, timeout_s: float | None = None) -> Notification | None:
        """The next notification, or None when there was none for `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._notifications:
            if not self._advance(deadline):
                return None
        return self._notifications.popleft()

    def notifications(self) -> Iterator[Notification]:
        """All notifications, as they come, until the connection is lost (Unreachable)."""
        while True:
            notification = self.receive()
            assert notification is not None  # without a deadline there is always a next one, or an error
            yield notification

    # ---- the wire -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Says goodbye without waiting for an answer, and closes."""
        try:
            self._stream.settimeout(1.0)
            self._stream.sendall(websocket.encode_close(1000))
        except OSError:
            pass  # the daemon is gone already: nothing is left to be told
        finally:
            self._stream.close()

    def _lost(self, why: str, kind: type[Unreachable] = Unreachable) -> Unreachable:
        return kind(f"the connection to torcd at {self.url} was lost: {why}", url=self.url)

    def _send(self, data: bytes) -> None:
        try:
            self._stream.settimeout(CALL_TIMEOUT_S)
            self._stream.sendall(data)
        except OSError as error:
            raise self._lost(str(error), HungUp) from error

    def _advance(self, deadline: float | None) -> bool:
        """Takes in one message, waiting for it; False at the deadline."""
        unanswered = 0
        while True:
            try:
                message = next(self._incoming, None)
            except websocket.ProtocolViolation as error:
                self._send(websocket.encode_close(error.close_code))
                raise self._lost(str(error)) from error
            if message is not None:
                self._on_message(message)
                return True
            self._incoming = self._receiver.messages()
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return False
            # Counted, not measured: after this process itself was stopped the daemon can still answer.
            if unanswered * PING_AFTER_S >= SILENCE_LIMIT_S:
                raise self._lost(f"it was silent for {SILENCE_LIMIT_S:g} s")
            has_come = self._read(PING_AFTER_S if deadline is None else min(PING_AFTER_S, deadline - now))
            unanswered = 0 if has_come else unanswered + 1

    def _read(self, timeout_s: float) -> bool:
        """Feeds what arrives within `timeout_s` to the receiver; false when nothing does, and a ping is sent."""
        self._stream.settimeout(max(timeout_s, 0.001))
        try:
            data = self._stream.recv(RECEIVE_BYTES)
        except TimeoutError:
            if timeout_s >= PING_AFTER_S:
                self._send(websocket.encode_frame(websocket.PING))
            return False
        except OSError as error:
            raise self._lost(str(error), HungUp) from error
        if not data:
            raise self._lost("it closed the connection", HungUp)
        self._receiver.feed(data)
        return True

    def _on_message(self, message: websocket.Message) -> None:
        if message.opcode == websocket.PING:
            self._send(websocket.encode_frame(websocket.PONG, message.payload))
        elif message.opcode == websocket.CLOSE:
            code, reason = websocket.decode_close(message.payload)
            raise self._lost(f"it closed the session ({code}{', ' + reason if reason else ''})", HungUp)
        elif message.opcode == websocket.TEXT:
            self._on_text(message.payload)

    def _on_text(self, text: bytes) -> None:
        try:
            incoming = decode_incoming(text)
        except msgspec.DecodeError as error:
            raise self._lost(f"it sent no JSON-RPC message ({error})") from error
        if isinstance(incoming.id, int):
            self._answers[incoming.id] = incoming
        elif incoming.method is not None and isinstance(incoming.params, msgspec.Raw):
            self._notifications.append(Notification(incoming.method, incoming.params))
        elif incoming.error is not None:  # no id: the daemon could not read a request of ours
            raise error_from_wire(incoming.error.code, incoming.error.message, incoming.error.data)


# ---- connecting ---------------------------------------------------------------------------------------


def connect(
    url: str, *, token: str | None = None, fingerprint: str | None = None, timeout_s: float = CONNECT_TIMEOUT_S
) -> Connection:
    """A session with the daemon at `url`, as `connect_to` makes it."""
    return connect_to(Address(url=url, token=token, fingerprint=fingerprint), timeout_s=timeout_s)


def connect_to(address: Address, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
    """A session with the daemon at an address, `session.hello` done.

    Raises NobodyAnswers when nothing listens there, HungUp when what listens closes the connection, Unreachable
    when it does not answer properly or has another certificate, Forbidden when another user listens there, and the
    daemon's own error when it refuses (another protocol, a wrong token).
    """
    url = address.url
    endpoint = parse_url(url)
    stream = _open(endpoint, address, timeout_s)
    try:
        connection = Connection(stream, address, _shake_hands(stream, endpoint, url, timeout_s))
        # On a Unix socket the kernel says who is there; nobody needs to be told a token.
        token = None if endpoint.path is not None else address.token
        hello = Hello(protocol=PROTOCOL, client="torcctl", version=__version__, token=token)
        connection.call(hello, timeout_s=timeout_s)
    except BaseException:
        stream.close()
        raise
    return connection


def _open(endpoint: Endpoint, address: Address, timeout_s: float) -> socket.socket:
    url = address.url
    fingerprint = need_fingerprint(address) if endpoint.tls else None
    try:
        if endpoint.path is not None:
            return open_unix(endpoint.path, timeout_s)
        stream = socket.create_connection((endpoint.host or "", endpoint.port or 0), timeout_s)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise NobodyAnswers(f"no daemon answers at {url}: {error.strerror}", url=url) from error
    except OSError as error:
        raise Unreachable(f"torcd at {url} cannot be reached: {error}", url=url) from error
    return stream if fingerprint is None else _encrypt(stream, fingerprint, url, timeout_s)


def _encrypt(stream: socket.socket, fingerprint: str, url: str, timeout_s: float) -> socket.socket:
    from torcd.protocol.tls import wrap_stream  # its import takes 20 ms, and few clients need it

    try:
        return wrap_stream(stream, fingerprint, url, timeout_s)
    except TimeoutError as error:
        raise Unreachable(f"what listens at {url} did not shake hands (TLS) in {timeout_s:g} s", url=url) from error
    except OSError as error:
        raise HungUp(
            f"what listens at {url} did not shake hands (TLS): {error}. If it is torcd, it has too many "
            "connections that did not say who they are: try again",
            url=url,
        ) from error


def _shake_hands(stream: socket.socket, endpoint: Endpoint, url: str, timeout_s: float) -> bytes:
    """Does the websocket handshake; what came after it, usually nothing."""
    host = "localhost" if endpoint.path else f"{endpoint.host}:{endpoint.port}"
    key = websocket.new_key()
    deadline = time.monotonic() + timeout_s
    try:
        stream.settimeout(timeout_s)
        stream.sendall(websocket.encode_upgrade(host, "/v1", key))
        head, rest = _read_head(stream, deadline)
        status = websocket.check_upgrade(head, key)
    except TimeoutError as error:
        raise Unreachable(
            f"torcd at {url} accepted the connection but did not answer within {timeout_s:g} s", url=url
        ) from error
    except OSError as error:
        raise HungUp(f"what listens at {url} did not shake hands: {error}", url=url) from error
    except websocket.ProtocolViolation as error:
        raise Unreachable(f"what listens at {url} did not shake hands: {error}", url=url) from error
    if status != 101:
        text = rest.decode(errors="replace").strip() or "no reason given"
        raise ERRORS.get(status, Unreachable)(f"torcd at {url} refused the connection ({status}): {text}", url=url)
    return rest


def _read_head(stream: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        if len(buffer) > MAX_HEAD:
            raise websocket.ProtocolViolation("its answer to the handshake has no end")
        stream.settimeout(max(deadline - time.monotonic(), 0.001))
        data = stream.recv(4096)
        if not data:
            raise ConnectionResetError("it closed the connection during the handshake")
        buffer += data
    head, _, rest = buffer.partition(b"\r\n\r\n")
    return head, rest
