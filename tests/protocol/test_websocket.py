"""Frames, apart from any socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Message, Ping

from torcd.protocol.websocket import (
    CLOSE,
    PING,
    TEXT,
    ProtocolViolation,
    Receiver,
    accept_of,
    check_upgrade,
    decode_close,
    encode_close,
    encode_frame,
)


@given(st.text(max_size=300), st.binary(max_size=125))
def test_what_is_encoded_is_read_by_another_implementation(text: str, payload: bytes) -> None:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(encode_frame(TEXT, text.encode()) + encode_frame(PING, payload))
    first, second = server.events()
    assert isinstance(first, Message)
    assert first.data == text
    assert isinstance(second, Ping)
    assert bytes(second.payload) == payload


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5), st.data())
def test_messages_are_put_together_however_they_are_cut(texts: list[str], data: st.DataObject) -> None:
    """Cut into fragments by the sender, with pings in between, and into chunks by the network."""
    server = Connection(ConnectionType.SERVER)
    stream = b""
    for text in texts:
        cut = data.draw(st.integers(0, len(text)))
        stream += server.send(Message(data=text[:cut], message_finished=False))
        stream += server.send(Ping(payload=b"p"))
        stream += server.send(Message(data=text[cut:], message_finished=True))
    receiver, received = Receiver(10_000), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        receiver.feed(stream[:size])
        stream = stream[size:]
        received += list(receiver.messages())
    assert [message.payload.decode() for message in received if message.opcode == TEXT] == texts
    assert sum(message.opcode == PING for message in received) == len(texts)


def test_fragments_cannot_exceed_the_limit_together() -> None:
    receiver = Receiver(10)
    receiver.feed(bytes((0x01, 6)) + b"x" * 6 + bytes((0x80, 6)) + b"x" * 6)
    with pytest.raises(ProtocolViolation, match="exceeds 10") as caught:
        list(receiver.messages())
    assert caught.value.close_code == 1009


def test_a_close_carries_code_and_reason() -> None:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(encode_close(1001, "bye"))
    (event,) = server.events()
    assert (event.code, event.reason) == (1001, "bye")  # type: ignore[attr-defined]  # it is a close
    assert decode_close(b"") == (1005, "")
    assert decode_close(b"\x03\xe9bye") == (1001, "bye")
    assert encode_frame(CLOSE)[0] == 0x88


def test_the_answer_to_the_handshake_must_match_the_key() -> None:
    """The key and its answer are those of RFC 6455, 1.3."""
    key, accept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accept_of(key) == accept
    assert check_upgrade(f"HTTP/1.1 101 OK\r\nSEC-WebSocket-Accept:  {accept}".encode(), key) == 101
    assert check_upgrade(b"HTTP/1.1 503 Full", key) == 503
    with pytest.raises(ProtocolViolation):
        check_upgrade(b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: other", key)
