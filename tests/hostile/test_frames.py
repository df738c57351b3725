"""No bytes harm the daemon: whoever breaks the protocol loses the connection, and nobody else notices (INTERFACE 4)."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from fuzzing import fuzzing
from hypothesis import given
from hypothesis import strategies as st
from raw_peer import UPGRADE, Closed, RawPeer, frame
from real_system import System

from torcd.protocol.rpc import MAX_FRAME
from torcd.protocol.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT

CALL = b'{"jsonrpc":"2.0","id":1,"method":"daemon.status"}'

PROTOCOL_ERROR, BAD_TEXT, TOO_BIG = 1002, 1007, 1009


@pytest.fixture
def system(shared: System) -> Iterator[System]:
    """The daemon, which must serve others after each test as it did before, and close what it has opened."""
    before = descriptors(shared)
    yield shared
    with RawPeer(shared.socket) as other:
        assert other.call("daemon.status", {})["result"]["running"]
    deadline = time.monotonic() + 30
    while (now := descriptors(shared)) > before:
        assert time.monotonic() < deadline, f"{now} are open, {before} were"
        time.sleep(0.01)  # the kernel tells nobody


def descriptors(system: System) -> int:
    """How many the daemon has, but for those of files, which its database opens when it likes."""
    assert system.daemon is not None
    count = 0
    for entry in os.scandir(f"/proc/{system.daemon.pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            count += not os.readlink(entry.path).startswith("/")
    return count


def resident_kib(system: System) -> int:
    assert system.daemon is not None
    with open(f"/proc/{system.daemon.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(CALL, masked=False), PROTOCOL_ERROR),
        (frame(CALL, reserved=4), PROTOCOL_ERROR),
        (frame(CALL, reserved=1), PROTOCOL_ERROR),
        (frame(CALL, opcode=3), PROTOCOL_ERROR),
        (frame(CALL, opcode=11), PROTOCOL_ERROR),
        (frame(b"", opcode=PING, final=False), PROTOCOL_ERROR),
        (frame(b"x" * 126, opcode=PING), PROTOCOL_ERROR),
        (frame(b"", opcode=CONTINUATION), PROTOCOL_ERROR),
        (frame(CALL, final=False) + frame(CALL), PROTOCOL_ERROR),
        (frame(b"\xff\xfe"), BAD_TEXT),
        (frame(b'{"a":"\xc3', final=False) + frame(b'("}', opcode=CONTINUATION), BAD_TEXT),
        (frame(b"\xed\xa0\x80"), BAD_TEXT),
        (frame(b"x", opcode=CLOSE), PROTOCOL_ERROR),
        (frame(b"\x03\xe8\xff", opcode=CLOSE), PROTOCOL_ERROR),
        (frame(b"\x00\x01", opcode=CLOSE), PROTOCOL_ERROR),
        (frame(b"", says=(1 << 63) + 5), PROTOCOL_ERROR),
    ],
)
def test_a_broken_frame_ends_the_connection(system: System, sent: bytes, code: int) -> None:
    """RFC 6455, 5 and 7.4"""
    with RawPeer(system.socket) as peer:
        peer.send(sent)
        assert peer.wait_closed() in (code, None, 1007 if code == PROTOCOL_ERROR else None)


def test_a_frame_that_says_it_is_endless_takes_no_memory(system: System) -> None:
    """INTERFACE 4: one frame is at most 16 MiB, and none is believed to be as long as it says."""
    before = resident_kib(system)
    with RawPeer(system.socket) as peer:
        peer.send(frame(b"", says=(1 << 62)))
        while peer.send(b"x" * (1 << 20)):
            if select.select([peer.socket], [], [], 0)[0]:
                break
        assert peer.wait_closed() in (TOO_BIG, None)
    assert resident_kib(system) - before < 3 * MAX_FRAME // 1024


@pytest.mark.parametrize("part", [b"", b"x", b"x" * 100_000], ids=["empty", "one byte", "large"])
def test_a_message_whose_fragments_do_not_end_takes_no_memory(system: System, part: bytes) -> None:
    """INTERFACE 4"""
    before = resident_kib(system)
    deadline = time.monotonic() + 1
    sent, is_closed = 0, False
    with RawPeer(system.socket) as peer:
        peer.send(frame(b"[", final=False))
        burst = frame(part, opcode=CONTINUATION, final=False) * (1 if len(part) > 1000 else 2000)
        while not is_closed and (len(part) > 1000 or time.monotonic() < deadline):
            is_closed = not peer.send(burst) or bool(select.select([peer.socket], [], [], 0)[0])
            sent += len(burst)
            assert sent < 4 * MAX_FRAME or len(part) < 1000, "a message of any length is taken"
    assert resident_kib(system) - before < 4 * MAX_FRAME // 1024


def test_control_frames_between_fragments_are_served(system: System) -> None:
    """RFC 6455, 5.4 and 5.5"""
    with RawPeer(system.socket) as peer:
        for place in range(len(CALL)):
            opcode = TEXT if place == 0 else CONTINUATION
            peer.send(frame(CALL[place : place + 1], opcode=opcode, final=place == len(CALL) - 1))
            peer.send(frame(b"still there?", opcode=PING))
        assert peer.response(1)["result"]["running"]


def test_a_binary_frame_is_answered_and_not_understood(system: System) -> None:
    with RawPeer(system.socket) as peer:
        peer.send(frame(CALL, opcode=BINARY))
        assert peer.receive()["error"]["code"] == -32600


@pytest.mark.parametrize("sent", [frame(b"x" * 125, opcode=PING), frame(CALL)], ids=["pings", "calls"])
def test_who_reads_no_answers_is_made_to_wait(system: System, sent: bytes) -> None:
    """INTERFACE 4: answers that nobody reads do not pile up. The connection is dropped after `Limits.send_s`."""
    before = resident_kib(system)
    with RawPeer(system.socket) as peer, RawPeer(system.socket) as other:
        peer.socket.setblocking(False)
        burst, sent_bytes, stuck_since = sent * 500, 0, None
        while stuck_since is None or time.monotonic() - stuck_since < 0.3:
            try:
                sent_bytes += peer.socket.send(burst)
                stuck_since = None
            except BlockingIOError:
                stuck_since = stuck_since or time.monotonic()
                time.sleep(0.005)
            assert sent_bytes < 50_000_000, "the daemon reads for ever"
        assert other.call("daemon.status", {})["result"]["running"]
    assert resident_kib(system) - before < 20_000


@pytest.mark.parametrize(
    "head",
    [
        b"\0" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"POST /v1 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET " + b"a" * 1_000_000,
        b"GET /v1 HTTP/1.1\r\n" + b"A: b\r\n" * 200_000, UPGRADE.replace(b"13", b"12"),
        b"GET /v1 HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffffffffffffffff\r\n" * 10,
    ],
    ids=["nul", "bare", "post", "line", "headers", "version", "length", "chunked"],
)  # fmt: skip
def test_what_is_no_handshake_ends_the_connection(system: System, head: bytes) -> None:
    with RawPeer(system.socket, upgrade=False) as peer:
        peer.send(head)
        deadline = time.monotonic() + 20
        try:
            while peer.socket.recv(65536):
                assert time.monotonic() < deadline
        except ConnectionResetError:
            pass


sound_frames = st.builds(
    frame,
    st.binary(max_size=140) | st.sampled_from([CALL, b"\x03\xe8", b"[" * 70_000]),
    opcode=st.sampled_from([TEXT, TEXT, CONTINUATION, BINARY, PING, 10, CLOSE]),
    final=st.booleans(),
)
broken_frames = st.builds(
    frame,
    st.binary(max_size=140),
    opcode=st.integers(0, 15),
    final=st.booleans(),
    masked=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 1, 2, 4, 7]),
    says=st.none() | st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, MAX_FRAME, MAX_FRAME + 1, 2**63, 2**64 - 1]),
)
chunks = sound_frames | sound_frames | broken_frames | st.binary(max_size=60)


@fuzzing(120)
@given(sent=st.lists(chunks, max_size=8), greet=st.booleans(), cut=st.integers(1, 400))
def test_no_frames_harm_the_daemon(shared: System, sent: list[bytes], greet: bool, cut: int) -> None:
    """INTERFACE 4: each connection ends or goes on; the next one is served."""
    with RawPeer(shared.socket, hello=greet) as peer:
        data = b"".join(sent)
        for place in range(0, len(data), cut * 50):  # in pieces that end anywhere
            if not peer.send(data[place : place + cut * 50]):
                break
        try:
            while select.select([peer.socket], [], [], 0)[0]:
                peer.receive(0.001)
        except (Closed, TimeoutError):
            pass
    with RawPeer(shared.socket) as other:
        assert other.call("daemon.status", {})["result"]["running"]
