"""The blocking connection against wsproto, and against servers that misbehave."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from torcd.protocol import client as client_module
from torcd.protocol.address import Address, parse_url, unix_url
from torcd.protocol.client import SILENCE_LIMIT_S, Connection, NoAnswer, NobodyAnswers, connect
from torcd.protocol.errors import Busy, NotFound, Refused, TooLarge, Unauthorized, Unreachable
from torcd.protocol.requests import AppendUpload, GetJob, GetStatus
from torcd.protocol.rpc import MAX_FRAME
from torcd.protocol.specification import JobSpec, Piece

Script = Callable[["Peer"], None]


class Peer:
    """The daemon's end of one connection, driven step by step by a test's script."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.websocket = WSConnection(ConnectionType.SERVER)
        self._events: list[Event] = []
        self._text = ""

    def next_event(self) -> Event:
        while not self._events:
            self.websocket.receive_data(self.stream.recv(1 << 20) or None)
            self._events += self.websocket.events()
        return self._events.pop(0)

    def accept(self) -> None:
        assert isinstance(self.next_event(), Request)
        self.send(AcceptConnection())

    def call(self) -> dict[str, Any]:
        """The next request, put together from its parts."""
        text = ""
        while True:
            event = self.next_event()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                found: dict[str, Any] = msgspec.json.decode(text)
                return found

    def greet(self) -> None:
        """Handshake and hello."""
        self.accept()
        assert self.call()["method"] == "session.hello"
        self.answer(1, {})

    def send(self, event: Event) -> None:
        self.stream.sendall(self.websocket.send(event))

    def send_json(self, **message: Any) -> None:
        self.send(TextMessage(data=msgspec.json.encode({"jsonrpc": "2.0", **message}).decode()))

    def answer(self, call_id: int, result: Any) -> None:
        self.send_json(id=call_id, result=result)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Script], str]]:
    """Serves one connection by a script, in a thread; gives the address. The script must end."""
    listener = socket.socket(socket.AF_UNIX)
    threads = []

    def start(script: Script) -> str:
        path = tmp_path / "socket"
        listener.bind(str(path))
        listener.listen()

        def run() -> None:
            stream, _ = listener.accept()
            with stream:
                stream.settimeout(5)
                script(Peer(stream))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        return unix_url(path)

    yield start
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    listener.close()


Serve = Callable[[Script], str]


def text_frame(data: bytes, *, final: bool = True, opcode: int = 1) -> bytes:
    assert len(data) < 126
    return bytes(((0x80 if final else 0) | opcode, len(data))) + data


# ---- calls -------------------------------------------------------------------------------------------------


def test_a_call_gives_the_raw_result(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        call = peer.call()
        assert (call["method"], call["params"]) == ("jobs.get", {"job_id": 4})
        peer.answer(call["id"], {"id": 4, "new_field": None})

    with connect(serve(script)) as connection:
        assert bytes(connection.call(GetJob(job_id=4))) == b'{"id":4,"new_field":null}'


def test_hello_tells_protocol_and_version_and_on_a_unix_socket_no_token(serve: Serve) -> None:
    seen: list[dict[str, Any]] = []

    def script(peer: Peer) -> None:
        peer.accept()
        seen.append(peer.call()["params"])
        peer.answer(1, {})

    connect(serve(script), token="secret").close()
    assert (seen[0]["protocol"], seen[0]["client"], seen[0]["token"]) == (1, "torcctl", None)


def test_answers_may_come_in_another_order_than_calls(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        calls = [peer.call() for _ in range(3)]
        for call in reversed(calls):
            peer.answer(call["id"], call["params"]["job_id"])

    with connect(serve(script)) as connection:
        ids = [connection.begin(GetJob(job_id=number)) for number in (10, 20, 30)]
        assert [int(bytes(connection.finish(call_id))) for call_id in ids] == [10, 20, 30]


def test_an_error_is_raised_as_its_own_kind_with_its_data(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        error = {"code": 404, "message": "no job 4", "data": {"noun": "job", "id": 4}}
        peer.send_json(id=peer.call()["id"], error=error)

    with connect(serve(script)) as connection, pytest.raises(NotFound, match="no job 4") as caught:
        connection.call(GetJob(job_id=4))
    assert caught.value.data["id"] == 4


def test_messages_of_every_length_of_header_pass_both_ways(serve: Serve) -> None:
    sizes = [0, 1, 80, 125, 126, 300, 65535, 65536, 1_500_000]

    def script(peer: Peer) -> None:
        peer.greet()
        for _ in sizes:
            call = peer.call()
            peer.answer(call["id"], call["params"]["piece"]["jobs"][0]["command"])

    with connect(serve(script)) as connection:
        for size in sizes:
            command = "é" * (size // 2) + "x" * (size % 2)
            piece = Piece(jobs=[JobSpec(name="j", command=command)])
            answer = connection.call(AppendUpload(upload="u", piece=piece))
            assert msgspec.json.decode(answer) == command


def test_a_request_that_no_frame_can_hold_is_refused_here(serve: Serve) -> None:
    piece = Piece(jobs=[JobSpec(name="j", command="x" * MAX_FRAME)])
    with connect(serve(Peer.greet)) as connection, pytest.raises(TooLarge):
        connection.call(AppendUpload(upload="u", piece=piece))


def test_no_answer_in_time_is_told_apart_from_a_lost_connection(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.call()
        assert isinstance(peer.next_event(), CloseConnection)

    with connect(serve(script)) as connection, pytest.raises(NoAnswer, match="did not answer within"):
        connection.call(GetStatus(workflow_id=1), timeout_s=0.01)


# ---- notifications -----------------------------------------------------------------------------------------


def test_notifications_during_a_call_are_kept_or_handed_on(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for _ in range(2):
            call = peer.call()
            peer.send_json(method="progress", params={"subscription": 1, "progress": {"done": call["id"]}})
            peer.answer(call["id"], None)

    seen: list[Any] = []
    with connect(serve(script)) as connection:
        connection.call(GetJob(job_id=1))
        connection.call(GetJob(job_id=2), on_notification=seen.append)
        assert [notification.method for notification in seen] == ["progress", "progress"]


def test_notifications_are_received_one_by_one(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for seq in (1, 2):
            peer.send_json(method="event", params={"subscription": 1, "event": {"seq": seq}})

    seen = []
    with connect(serve(script)) as connection:
        for _, notification in zip(range(2), connection.notifications(), strict=False):
            seen.append(msgspec.json.decode(notification.params)["event"]["seq"])
    assert seen == [1, 2]


# ---- the websocket -----------------------------------------------------------------------------------------


def test_a_ping_is_answered_also_between_fragments(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        call = peer.call()
        text = msgspec.json.encode({"jsonrpc": "2.0", "id": call["id"], "result": "whole"})
        peer.stream.sendall(text_frame(text[:9], final=False))
        peer.send(Ping(payload=b"there?"))
        pong = peer.next_event()
        assert isinstance(pong, Pong)
        assert bytes(pong.payload) == b"there?"
        peer.stream.sendall(text_frame(text[9:20], final=False, opcode=0))
        peer.stream.sendall(text_frame(text[20:], opcode=0))

    with connect(serve(script)) as connection:
        assert bytes(connection.call(GetJob(job_id=1))) == b'"whole"'


def test_frames_that_arrive_byte_by_byte_are_put_together(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        call = peer.call()
        peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for byte in text_frame(msgspec.json.encode({"jsonrpc": "2.0", "id": call["id"], "result": 1})):
            peer.stream.sendall(bytes((byte,)))

    with connect(serve(script)) as connection:
        assert bytes(connection.call(GetJob(job_id=1))) == b"1"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bytes((0x81, 0x80)) + b"mask", "masked"),
        (bytes((0xC1, 0)), "unexpected frame"),
        (bytes((0x82, 0)), "unexpected frame"),
        (bytes((0x80, 0)), "out of order"),
        (bytes((0x09, 0)), "fragmented"),
        (bytes((0x81, 127)) + struct.pack(">Q", MAX_FRAME + 1), "exceeds"),
        (text_frame(b"[1]"), "no JSON-RPC message"),
        (text_frame(b'{"jsonrpc":"2.0","id":2}'), "neither result nor error"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_left(serve: Serve, data: bytes, why: str) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.call()
        peer.stream.sendall(data)
        assert isinstance(peer.next_event(), CloseConnection)

    with connect(serve(script)) as connection, pytest.raises(Unreachable, match=why):
        connection.call(GetJob(job_id=1))


def test_the_reason_of_a_close_is_passed_on(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.call()
        peer.send(CloseConnection(code=1001, reason="torcd is stopping"))

    with connect(serve(script)) as connection, pytest.raises(Unreachable, match="torcd is stopping"):
        connection.call(GetJob(job_id=1))


def test_silence_is_broken_by_pings_and_ends_the_wait(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for _ in range(5):
            assert isinstance(peer.next_event(), Ping), "seen, and not answered"
        assert isinstance(peer.next_event(), CloseConnection)

    with connect(serve(script)) as connection:
        monkeypatch.setattr(client_module, "PING_AFTER_S", 0.01)
        monkeypatch.setattr(client_module, "SILENCE_LIMIT_S", 0.05)
        with pytest.raises(Unreachable, match="silent"):
            connection.receive()


class Quiet:
    """A stream on which nothing comes in time but what answers the pings, and an event in the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> None:
        self.now = 0.0
        self._answers = list(answers)
        self._ready = [b""]
        self._waits_s = 0.0
        monkeypatch.setattr(client_module.time, "monotonic", lambda: self.now)

    def settimeout(self, timeout_s: float) -> None:
        self._waits_s = timeout_s

    def sendall(self, data: bytes) -> None:
        self._ready.append(self._answers.pop(0))

    def recv(self, count: int) -> bytes:
        if data := self._ready.pop():
            return data
        self._ready.append(b"")
        self.now += self._waits_s
        raise TimeoutError


PONG = bytes((0x8A, 0))
EVENT = text_frame(b'{"jsonrpc":"2.0","method":"event","params":{}}')


def receive(stream: Quiet) -> str:
    notification = Connection(cast(socket.socket, stream), Address(url="ws://localhost:1")).receive()
    assert notification is not None
    return notification.method


def test_pongs_keep_a_quiet_connection_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Quiet(monkeypatch, *[PONG] * 9, EVENT)
    assert receive(stream) == "event"
    assert stream.now > 3 * SILENCE_LIMIT_S


def test_a_message_that_comes_slowly_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Quiet(monkeypatch, *(bytes((byte,)) for byte in EVENT))
    assert receive(stream) == "event"
    assert stream.now > 3 * SILENCE_LIMIT_S


def test_a_client_that_was_stopped_asks_whether_the_daemon_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-Z, or with its machine: its own silence says nothing of the daemon."""

    class Stopped(Quiet):
        def recv(self, count: int) -> bytes:
            try:
                return super().recv(count)
            except TimeoutError:
                self.now += 10 * SILENCE_LIMIT_S
                raise

    assert receive(Stopped(monkeypatch, PONG, EVENT)) == "event"


# ---- connecting --------------------------------------------------------------------------------------------


def test_nothing_there_is_told_apart_from_a_bad_answer(tmp_path: Path) -> None:
    with pytest.raises(NobodyAnswers):
        connect(unix_url(tmp_path / "none"))
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead"))
    dead.close()
    with pytest.raises(NobodyAnswers):
        connect(unix_url(tmp_path / "dead"))


def test_a_path_that_is_too_long_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="TORCD_SOCKET") as caught:
        connect(unix_url(tmp_path / ("x" * 120)))
    assert not isinstance(caught.value, NobodyAnswers)


def test_what_speaks_no_websocket_is_not_torcd(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.stream.recv(4096)
        peer.stream.sendall(b"220 mail ready\r\n\r\n")

    with pytest.raises(Unreachable, match="did not shake hands"):
        connect(serve(script))


def test_a_handshake_has_a_deadline(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        while peer.stream.recv(4096):
            pass

    with pytest.raises(Unreachable, match="did not answer within"):
        connect(serve(script), timeout_s=0.05)


def test_a_refused_handshake_is_an_error_of_its_code(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        assert isinstance(peer.next_event(), Request)
        head = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\r\n"
        peer.stream.sendall(head + b"too many connections")

    with pytest.raises(Busy, match="too many connections"):
        connect(serve(script))


def test_another_protocol_is_refused_with_the_daemons_sentence(serve: Serve) -> None:
    sentence = "torcd speaks protocol 2, this client 1: update torcctl"

    def script(peer: Peer) -> None:
        peer.accept()
        peer.send_json(id=peer.call()["id"], error={"code": 401, "message": sentence})

    with pytest.raises(Unauthorized) as caught:
        connect(serve(script))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "url", ["ws://[", "ws://[x]:1", "ws://localhost:99999", "ws+unix:///a%00b", "", "ws://\x1b[2J"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="is not an address"):
        parse_url(url)


def test_tls_without_a_fingerprint_is_refused_before_anything_is_connected() -> None:
    with pytest.raises(Refused, match="TORC_FINGERPRINT"):
        connect("wss://node1:4711")


def test_plain_tcp_works_on_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            stream, _ = listener.accept()
            with stream:
                Peer(stream).greet()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        connection = connect(f"ws://127.0.0.1:{listener.getsockname()[1]}")
        assert isinstance(connection, Connection)
        connection.close()
        thread.join(5)
