"""A daemon without any state: a thread that speaks the protocol and answers as a test tells it.

Its websocket side is wsproto, so that the client under test meets an implementation that is not its own.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Request, TextMessage

from torcd.protocol.address import unix_url
from torcd.protocol.errors import TorcError, UnknownMethod
from torcd.protocol.rpc import decode_call, decode_request, encode_error, encode_notification, encode_result

Handler = Callable[[dict[str, Any], "Session"], Any]


class Drop(Exception):
    """Ends a connection."""


class Session:
    """One connection, as handlers see it."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.websocket = WSConnection(ConnectionType.SERVER)
        self._later: list[bytes] = []
        self._drops = False

    def notify(self, method: str, **params: Any) -> None:
        """Sends a notification, after the answer to the call under way."""
        self._later.append(encode_notification(method, params))

    def drop(self) -> None:
        """Closes the connection without an answer to the call under way."""
        raise Drop

    def drop_after_answer(self) -> None:
        """Closes the connection once the call under way is answered."""
        self._drops = True

    def send(self, event: Event) -> None:
        self.stream.sendall(self.websocket.send(event))

    def answer(self, frame: bytes) -> None:
        self.send(TextMessage(data=frame.decode()))
        for later in self._later:
            self.send(TextMessage(data=later.decode()))
        self._later.clear()
        if self._drops:
            raise Drop


class FakeDaemon:
    """Serves a Unix socket. `on` sets what a method answers with: a value, a TorcError or a function."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = unix_url(path)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._handlers: dict[str, Any] = {"session.hello": {"protocol": 1, "version": "0.1.0"}}
        self._threads: list[threading.Thread] = []
        self._sessions: list[Session] = []
        self.start()

    def start(self) -> None:
        """Listens, for the first time or again."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        """Is gone, with all connections."""
        self.close_listener()
        for session in self._sessions:
            with contextlib.suppress(OSError):
                session.stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5)

    def close_listener(self) -> None:
        """Accepts nothing more; connections go on."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def on(self, method: str, answer: Any) -> None:
        self._handlers[method] = answer

    def requests(self, method: str) -> list[dict[str, Any]]:
        """The params of all calls of a method."""
        return [params for called, params in self.calls if called == method]

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            session = Session(stream)
            self._sessions.append(session)
            self._spawn(self._serve, session)

    def _serve(self, session: Session) -> None:
        with session.stream:
            while True:
                try:
                    data = session.stream.recv(65536)
                    session.websocket.receive_data(data or None)
                    for event in session.websocket.events():
                        if not self._on_event(session, event):
                            return
                except (OSError, Drop):
                    return
                if not data:
                    return

    def _on_event(self, session: Session, event: Event) -> bool:
        if isinstance(event, Request):
            session.send(AcceptConnection())
        elif isinstance(event, Ping):
            session.send(event.response())
        elif isinstance(event, CloseConnection):
            return False
        elif isinstance(event, TextMessage):
            assert event.message_finished
            session.answer(self._answer(session, event.data))
        return True

    def _answer(self, session: Session, text: str) -> bytes:
        call = decode_call(text)
        assert isinstance(call.id, int)
        decode_request(call)  # the client sends what the vocabulary allows, or the test fails
        params = msgspec.json.decode(call.params)
        self.calls.append((call.method, params))
        try:
            answer = self._handlers.get(call.method, UnknownMethod(f"the fake has no {call.method}"))
            if callable(answer):
                answer = answer(params, session)
            if isinstance(answer, TorcError):
                raise answer
            return encode_result(call.id, answer)
        except TorcError as error:
            return encode_error(call.id, error)
