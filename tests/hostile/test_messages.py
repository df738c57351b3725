"""No message harms the daemon: each gets an answer with a documented code, and the next one is served (INTERFACE 4)."""

import math
from collections.abc import Iterator

import pytest
from fuzzing import fuzzing
from hypothesis import given
from hypothesis import strategies as st
from message_strategies import messages
from raw_peer import Closed, RawPeer
from real_system import System

from torcd.protocol.errors import ERRORS, TorcError
from torcd.protocol.methods import METHODS

WORKFLOWS = 8
"""Ids that messages name are mostly small: these exist."""

NEVER = {"daemon.stop", "workflows.delete", "session.hello"}
"""Methods that would end what the others need; they have tests of their own."""

MESSAGES_OF_A_CONNECTION = 50
"""Then there is a new one: uploads and subscriptions of a connection are limited."""

PIPELINE = {
    "name": "pipeline",
    "files": [{"name": "in", "path": "in"}, {"name": "out", "path": "out"}],
    "user_data": [{"name": "value", "data": 1}],
    "jobs": [
        {"name": "maker", "command": "cp in out", "input_files": ["in"], "output_files": ["out"]},
        {"name": "user", "command": "cat out", "input_files": ["out"], "input_user_data": ["value"]},
    ],
}


class Target:
    """The daemon under fire: workflows of every kind, and a connection."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.sent = 0
        self.peer = RawPeer(system.socket)

    def send(self, text: str) -> dict[str, object]:
        """The answer to a message, which must come soon. It may be that to a later one that ends a wait."""
        self.sent += 1
        if self.sent % MESSAGES_OF_A_CONNECTION == 0:
            self.renew()
        self.peer.send_text(text)
        while "method" in (answer := self.peer.receive()):
            pass
        return answer

    def create(self) -> int:
        """Creates another workflow; its id."""
        piece = {name: PIPELINE[name] for name in ("files", "user_data", "jobs")}
        self.peer.call("uploads.append", {"upload": "pipeline", "piece": piece})
        params = {
            "header": {"name": "pipeline"},
            "directory": str(self.system.work),
            "user": "me",
            "upload": "pipeline",
        }
        created: int = self.peer.call("workflows.create", params)["result"]["workflow_id"]
        return created

    def renew(self) -> None:
        self.peer.close()
        self.peer = RawPeer(self.system.socket)


@pytest.fixture(scope="module")
def target(shared: System) -> Iterator[Target]:
    shared.write("in", "x")
    made = Target(shared)
    for _ in range(WORKFLOWS):
        made.create()
    shared.torcctl("run", 1)
    made.peer.call("workflows.archive", {"workflow_id": 2})
    made.peer.call("workflows.reinit", {"workflow_id": 4})
    yield made
    made.peer.close()


methods = st.sampled_from(sorted(METHODS.keys() - NEVER))


@fuzzing(500)
@given(call=methods.flatmap(lambda method: messages(method, "the id")))
def test_every_message_is_answered_with_a_documented_code(target: Target, call: tuple[str, bool]) -> None:
    """INTERFACE 4"""
    text, is_told = call
    try:
        answer = target.send(text)
    except (Closed, TimeoutError) as error:
        target.renew()
        raise AssertionError(f"{error!r} after {text[:2000]!a}") from error
    assert answer["jsonrpc"] == "2.0"
    if "error" in answer:
        error = answer["error"]
        assert isinstance(error, dict)
        assert error["code"] in ERRORS, f"{error!a} to {text[:2000]!a}"
        assert error["code"] != TorcError.code
        assert error["message"]
        assert error["data"]["name"] == ERRORS[error["code"]].name
    else:
        assert "result" in answer
    if is_told and not ("error" in answer and answer["error"]["code"] == -32700):  # type: ignore[index,call-overload]
        assert answer["id"] == "the id"


def test_the_daemon_serves_as_before(target: Target) -> None:
    """After all that: a workflow is created, run and rerun."""
    target.system.write("in", "y")
    target.renew()
    workflow_id = target.create()
    target.system.torcctl("run", workflow_id)
    assert target.system.statuses(workflow_id) == {"maker": "completed", "user": "completed"}
    target.system.write("in", "z")
    assert target.system.plan(workflow_id)["count"] == 2


@pytest.mark.parametrize(
    "frame",
    [
        "[" * 1_000_000,
        '{"a":' * 1_000_000,
        '{"jsonrpc":"2.0","id":"x","method":"user_data.update","params":' + '{"data":' * 5000 + "1" + "}" * 5000 + "}",
        '{"jsonrpc":"2.0","id":' + "9" * 1_000_000 + ',"method":"daemon.status"}',
        '{"jsonrpc":"2.0","id":1e400,"method":"daemon.status"}',
        '{"jsonrpc":"2.0","id":"' + "x" * 15_000_000 + '"}',
        "\0" * 1_000_000,
        "1" * 15_000_000,
    ],
    ids=["lists", "objects", "data", "digits", "float", "id", "nuls", "number"],
)
def test_a_frame_made_to_hurt_is_refused_at_once(target: Target, frame: str) -> None:
    """INTERFACE 4"""
    target.renew()
    answer = target.send(frame)
    assert answer["error"]["code"] in (-32700, -32600, -32602)  # type: ignore[index]
    assert target.peer.call("daemon.status", {})["result"]["running"]


@pytest.mark.parametrize("depth", [101, 900, 990, 1000, 1010])
def test_a_value_that_no_answer_could_hold_is_not_stored(target: Target, depth: int) -> None:
    """A decoder takes it, and the encoder of an answer around it would not."""
    target.renew()
    workflow_id = target.create()
    text = '{"jsonrpc":"2.0","id":"x","method":"user_data.update","params":{"workflow_id":%d,"name":"value","data":%s}}'
    answer = target.send(text % (workflow_id, "[" * depth + "]" * depth))
    assert answer["error"]["code"] in (422, -32700, -32602)  # type: ignore[index]
    rows = target.peer.call("user_data.list", {"workflow_id": workflow_id})["result"]["user_data"]
    assert rows[0]["data"] == 1


def test_refused_specifications_leave_no_memory_behind(target: Target) -> None:
    """SEMANTICS 3.5: what a few characters expand to is freed with the refusal, however often it is asked for."""
    spec = {"user_data": [{"name": "d{i}", "data": ["{i}", *[1] * 50_000], "parameters": {"i": "1:200000"}}]}
    peaks = []
    for _ in range(4):
        target.renew()
        target.peer.call("uploads.append", {"upload": "u", "piece": spec})
        header = {"header": {"name": "x"}, "directory": "/tmp", "user": "me", "upload": "u"}
        answer = target.peer.call("workflows.create", header)
        assert "characters in all" in answer["error"]["message"]
        peaks.append(_resident_kib(target.system))
    assert peaks[-1] - peaks[0] < 20_000, peaks  # each makes 30 MB and more before it is refused


def test_no_number_harms(target: Target) -> None:
    """Wherever a number is taken, the largest and the smallest are, too, or are refused."""
    target.renew()
    for value in (2**62, -(2**62), 2**63, -(2**63), 2**64, 1e308, math.pi):
        for method, params in (
            ("workflows.get", {"workflow_id": value}),
            ("jobs.get", {"job_id": value}),
            ("tasks.wait", {"task_id": value, "timeout_s": value}),
            ("events.list", {"workflow_id": 1, "cursor": value, "limit": 1}),
            ("jobs.disable", {"workflow_id": 4, "jobs": [value]}),
            ("workers.report", {"worker_id": value, "wait_s": value}),
        ):
            answer = target.peer.call(method, params)
            assert answer.get("error", {}).get("code", 0) != TorcError.code, answer


def _resident_kib(system: System) -> int:
    assert system.daemon is not None
    with open(f"/proc/{system.daemon.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
