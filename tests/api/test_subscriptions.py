"""Subscriptions over a connection: nothing lost, nothing twice, and no reader holds up anybody."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from api_rig import RawClient, Refusal, Rig, running_server

from torcd.api.limits import Limits
from torcd.api.pump import PROGRESS_INTERVAL_S
from torcd.bus import RING_EVENTS
from torcd.protocol.errors import Unavailable
from torcd.protocol.model import Event

BIG = "x" * 4000
"""Text that makes an event fill a socket's buffer soon."""


async def _subscribe(client: RawClient, **params: Any) -> int:
    answer = await client.call("events.subscribe", workflow_id=7, **params)
    number = answer["subscription"]
    assert isinstance(number, int)
    return number


async def _seqs(client: RawClient, count: int) -> list[int]:
    seqs = []
    for _ in range(count):
        message = await client.receive()
        assert message["method"] == "event", message
        seqs.append(message["params"]["event"]["seq"])
    return seqs


async def _all_blocked() -> None:
    await trio.testing.wait_all_tasks_blocked(0.02)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_server(tmp_path) as rig:
        yield rig


async def test_an_event_is_sent_with_its_subscription(rig: Rig) -> None:
    async with rig.greeted() as client:
        number = await _subscribe(client)
        rig.log.commit(1)
        assert await client.receive() == {
            "jsonrpc": "2.0",
            "method": "event",
            "params": {
                "subscription": number,
                "event": {"seq": 1, "workflow_id": 7, "timestamp": "", "kind": "test", "data": {"text": ""}},
            },
        }


async def test_replay_then_live_without_a_seam(rig: Rig) -> None:
    """SEMANTICS 7.1"""
    rig.log.append(600)
    async with rig.greeted() as client:
        await _subscribe(client, from_seq=50)
        async with trio.open_nursery() as nursery:

            async def commit() -> None:
                for _ in range(300):
                    rig.log.commit(1)
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(commit)
            assert await _seqs(client, 850) == list(range(51, 901))


async def test_from_now_on_nothing_before_comes_and_the_log_is_not_read(rig: Rig) -> None:
    rig.log.commit(5)
    async with rig.greeted() as client:
        await _subscribe(client)
        rig.log.commit(200)
        assert await _seqs(client, 200) == list(range(6, 206))
        assert rig.log.reads == []


async def test_several_subscriptions_do_not_mix(rig: Rig) -> None:
    rig.log.append(3)
    async with rig.greeted() as client:
        first = await _subscribe(client)
        rig.log.commit(1)
        assert await _seqs(client, 1) == [4]
        second = await client.request("events.subscribe", workflow_id=7, from_seq=2)
        got: dict[int, list[int]] = {}
        while got != {first: [], first + 1: [3, 4]}:
            message = await client.receive()
            if message.get("id") == second:
                got = {first: [], message["result"]["subscription"]: []}
            else:
                got[message["params"]["subscription"]].append(message["params"]["event"]["seq"])


async def test_a_slow_reader_is_told_and_gets_everything_and_nobody_waits_for_it(rig: Rig) -> None:
    """SEMANTICS 7.2"""
    total = 3 * RING_EVENTS
    async with rig.greeted() as slow, rig.greeted() as quick:
        await _subscribe(slow)
        await _subscribe(quick)
        for _ in range(total // 64):
            # No checkpoint in between: publishing does not wait, not even for the quick one.
            rig.log.commit(64, BIG)
            assert len(await _seqs(quick, 64)) == 64
        messages = [await slow.receive()]
        while messages[-1].get("params", {}).get("event", {}).get("seq") != total:
            messages.append(await slow.receive())
        events = [m["params"]["event"]["seq"] for m in messages if m["method"] == "event"]
        assert events == list(range(1, total + 1))
        lagged = [m["params"] for m in messages if m["method"] == "lagged"]
        assert len(lagged) == 1
        assert lagged[0]["from_seq"] <= lagged[0]["to_seq"] == total - RING_EVENTS
        place = next(n for n, m in enumerate(messages) if m["method"] == "lagged")
        assert messages[place + 1]["params"]["event"]["seq"] == lagged[0]["from_seq"]
        assert rig.log.reads[0] == lagged[0]["from_seq"] - 1


async def test_a_replay_that_takes_long_is_not_called_lagging(rig: Rig) -> None:
    rig.log.append(2 * RING_EVENTS, BIG)
    async with rig.greeted() as client:
        await _subscribe(client, from_seq=0)
        await _all_blocked()
        rig.log.commit(2 * RING_EVENTS, BIG)
        assert await _seqs(client, 4 * RING_EVENTS) == list(range(1, 4 * RING_EVENTS + 1))


async def test_a_reader_that_reads_nothing_is_dropped(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_server(tmp_path, limits=Limits(send_s=7)) as rig, rig.greeted() as dead:
        await dead.call("daemon.status")
        await _subscribe(dead)
        started = trio.current_time()
        rig.log.commit(RING_EVENTS, BIG)
        await rig.sessions[0].closed.wait()
        assert trio.current_time() - started == pytest.approx(7, abs=1)
    assert "has not read for 7 s" in caplog.text


async def test_progress_is_thinned_out_and_the_last_one_arrives(
    rig: Rig, autojump_clock: trio.testing.MockClock
) -> None:
    """SEMANTICS 7.2"""
    async with rig.greeted() as client:
        await _subscribe(client)
        received: list[tuple[float, int]] = []

        async def receive() -> None:
            while not received or received[-1][1] != 299:
                message = await client.receive()
                assert message["method"] == "progress"
                received.append((trio.current_time(), message["params"]["progress"]["done"]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            started = trio.current_time()
            for done in range(300):
                rig.bus.progress(7, {"done": done})
                await trio.sleep(0.005)
        assert received[0][1] == 0
        assert len(received) <= (received[-1][0] - started) / PROGRESS_INTERVAL_S + 1.1
        assert len(received) >= 14
        assert [done for _, done in received] == sorted(done for _, done in received)


async def test_progress_can_be_declined(rig: Rig) -> None:
    async with rig.greeted() as client:
        await _subscribe(client, progress=False)
        rig.bus.progress(7, {"done": 1})
        rig.log.commit(1)
        assert await _seqs(client, 1) == [1]


async def test_unsubscribing_ends_one_subscription(rig: Rig) -> None:
    async with rig.greeted() as client:
        first, second = await _subscribe(client), await _subscribe(client)
        await client.call("events.unsubscribe", subscription=first)
        rig.log.commit(1)
        assert (await client.receive())["params"]["subscription"] == second
        with pytest.raises(Refusal) as caught:
            await client.call("events.unsubscribe", subscription=first)
        assert caught.value.code == 404


async def test_the_number_of_subscriptions_is_limited(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits=Limits(subscriptions=2)) as rig, rig.greeted() as client:
        first, _ = await _subscribe(client), await _subscribe(client)
        with pytest.raises(Refusal) as caught:
            await _subscribe(client)
        assert caught.value.code == 429
        await client.call("events.unsubscribe", subscription=first)
        await _subscribe(client)


async def test_a_deleted_workflow_ends_its_subscriptions_after_its_last_events(rig: Rig) -> None:
    async with rig.greeted() as client:
        number = await _subscribe(client)
        rig.log.commit(2)
        rig.bus.close_workflow(7)
        assert await _seqs(client, 2) == [1, 2]
        assert await client.receive() == {
            "jsonrpc": "2.0",
            "method": "ended",
            "params": {"subscription": number, "reason": "the workflow was deleted"},
        }


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(Unavailable("torcd is stopping"), "stopping"), (KeyError("a bug"), "bug in torcd")],
)
async def test_a_subscription_whose_log_cannot_be_read_ends_alone(
    tmp_path: Path, failure: Exception, reason: str
) -> None:
    async def read_events(workflow_id: int, after_seq: int, limit: int) -> list[Event]:
        raise failure

    async with running_server(tmp_path, read_events=read_events) as rig, rig.greeted() as client:
        await _subscribe(client, from_seq=0)
        message = await client.receive()
        assert message["method"] == "ended"
        assert reason in message["params"]["reason"]
        assert await client.call("daemon.status") == {"running": True}


async def test_the_answer_comes_before_the_first_event_even_on_a_full_connection(rig: Rig) -> None:
    rig.log.append(2 * RING_EVENTS, BIG)
    async with rig.greeted() as client:
        first = await _subscribe(client, from_seq=0)
        await _all_blocked()
        call_id = await client.request("events.subscribe", workflow_id=7, from_seq=0)
        await _all_blocked()
        while (message := await client.receive()).get("id") != call_id:
            assert message["params"]["subscription"] == first
        second = message["result"]["subscription"]
        while (await client.receive())["params"]["subscription"] != second:
            pass
