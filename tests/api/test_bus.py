"""The bus: every event once and in order, from memory or from the log; cheap for who publishes."""

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from torcd.bus import BATCH_EVENTS, RING_EVENTS, Bus, Subscription
from torcd.protocol.model import Event


def _events(first: int, count: int) -> list[Event]:
    return [Event(seq=seq, workflow_id=7, timestamp="", kind="test", data={}) for seq in range(first, first + count)]


def _taken(subscription: Subscription) -> list[int]:
    seqs: list[int] = []
    while batch := subscription.take():
        assert len(batch) <= BATCH_EVENTS
        seqs += [json.loads(text)["seq"] for text in batch]
    return seqs


def test_from_now_begins_with_the_next_event_published() -> None:
    bus = Bus()
    bus.publish(7, _events(1, 5))
    first = bus.subscribe(7, None)
    assert first.log_after() is None
    bus.publish(7, _events(6, 2))
    second = bus.subscribe(7, None)
    bus.publish(7, _events(8, 1))
    bus.publish(8, _events(1, 1))
    assert _taken(first) == [6, 7, 8]
    assert _taken(second) == [8]
    assert first.log_after() is None


def test_a_replay_starts_in_the_log_and_joins_the_memory() -> None:
    bus = Bus()
    subscription = bus.subscribe(7, 2)
    assert subscription.take() == []
    assert subscription.log_after() == 2
    bus.publish(7, _events(6, 1))
    assert subscription.take() == []
    assert subscription.log_after() == 2
    subscription.skip_past(5)
    assert _taken(subscription) == [6]
    assert subscription.log_after() is None


def test_what_was_read_from_the_log_before_it_was_published_does_not_come_twice() -> None:
    bus = Bus()
    subscription = bus.subscribe(7, 0)
    subscription.skip_past(3)
    bus.publish(7, _events(2, 2))
    assert _taken(subscription) == []
    bus.publish(7, _events(4, 1))
    assert _taken(subscription) == [4]


def test_a_log_read_to_its_end_is_not_read_again_until_something_is_published() -> None:
    bus = Bus()
    subscription = bus.subscribe(7, 4)
    version = subscription.log_version()
    subscription.end_log(version)
    assert subscription.log_after() is None
    bus.progress(7, {"done": 1})
    assert subscription.log_after() is None
    bus.publish(7, _events(7, 1))
    assert subscription.log_after() == 4


def test_a_publication_during_a_read_of_the_log_is_not_taken_for_its_end() -> None:
    bus = Bus()
    subscription = bus.subscribe(7, 4)
    version = subscription.log_version()
    bus.publish(7, _events(7, 1))
    subscription.end_log(version)
    assert subscription.log_after() == 4


def test_a_reader_behind_the_memory_is_sent_to_the_log() -> None:
    """SEMANTICS 7.2"""
    bus = Bus()
    subscription = bus.subscribe(7, None)
    bus.publish(7, _events(1, 1))
    assert subscription.missing() is None
    bus.publish(7, _events(2, RING_EVENTS + 9))
    assert subscription.take() == []
    assert subscription.log_after() == 0
    assert subscription.missing() == (1, 10)
    subscription.skip_past(10)
    assert _taken(subscription) == list(range(11, RING_EVENTS + 11))


def test_events_that_were_never_published_are_found_in_the_log() -> None:
    bus = Bus()
    subscription = bus.subscribe(7, None)
    bus.publish(7, _events(1, 3))
    assert _taken(subscription) == [1, 2, 3]
    bus.publish(7, _events(6, 1))
    assert subscription.log_after() == 3
    subscription.skip_past(5)
    assert _taken(subscription) == [6]
    bus.begin(7, 6)
    assert subscription.log_after() is None
    bus.begin(7, 8)
    assert subscription.log_after() == 6


def test_whoever_asked_for_what_comes_from_now_on_finds_unpublished_events_in_the_log() -> None:
    """An actor that crashed between a commit and its publication, before or after anything was published."""
    bus = Bus()
    early = bus.subscribe(7, None)
    bus.begin(7, 5)
    late = bus.subscribe(7, None)
    assert (early.log_after(), late.log_after()) == (None, None)
    bus.begin(7, 6)
    assert (early.log_after(), late.log_after()) == (5, 5)


def test_a_place_from_now_on_holds_for_a_workflow_that_nobody_followed_before() -> None:
    bus = Bus()
    bus.begin(7, 5)
    bus.publish(7, _events(6, 2))
    subscription = bus.subscribe(7, None)
    bus.begin(7, 8)
    assert subscription.log_after() == 7


async def test_whoever_sleeps_is_woken_by_events_progress_a_new_beginning_and_the_end() -> None:
    bus = Bus()
    subscription = bus.subscribe(7, None)
    acts: list[Callable[[], None]] = [
        lambda: bus.publish(7, _events(1, 1)),
        lambda: bus.progress(7, {}),
        lambda: bus.begin(7, 2),
        lambda: bus.close_workflow(7),
    ]
    for act in acts:
        changed = subscription.changed
        assert not changed.is_set()
        act()
        assert changed.is_set()
    assert subscription.is_closed


def test_progress_is_the_newest() -> None:
    bus = Bus()
    bus.subscribe(7, None)
    bus.progress(7, {"done": 1})
    subscription = bus.subscribe(7, None)
    assert not subscription.has_progress()
    bus.progress(7, {"done": 2})
    bus.progress(7, {"done": 3})
    assert subscription.has_progress()
    assert json.loads(subscription.take_progress()) == {"done": 3}
    assert not subscription.has_progress()


def test_a_deleted_workflow_hands_out_what_it_has_and_ends() -> None:
    bus = Bus()
    subscription = bus.subscribe(7, None)
    bus.publish(7, _events(1, 2))
    bus.close_workflow(7)
    assert _taken(subscription) == [1, 2]
    assert subscription.is_closed
    assert not bus.subscribe(7, None).is_closed
    subscription.close()


def test_a_closed_subscription_leaves_no_memory_behind() -> None:
    bus = Bus()
    one, two = bus.subscribe(7, None), bus.subscribe(7, 0)
    bus.publish(7, _events(1, 3))
    one.close()
    assert _taken(two) == [1, 2, 3]
    two.close()
    bus.publish(7, _events(4, 1))
    assert bus.subscribe(7, 3).log_after() == 3


steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(1, 40)),
        st.tuples(st.just("publish"), st.just(0)),
        st.tuples(st.just("lose"), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 30)),
        st.tuples(st.just("flood"), st.just(RING_EVENTS + 50)),
    ),
    max_size=40,
)


@given(steps=steps, before=st.integers(0, 30), back=st.one_of(st.none(), st.integers(0, 30)))
def test_a_reader_gets_every_event_once_whatever_the_timing(
    steps: list[tuple[str, int]], before: int, back: int | None
) -> None:
    """SEMANTICS 7.1; back from now, or (None) from now on"""
    bus, log = Bus(), _events(1, before)
    bus.begin(7, before)
    start = max(0, before - (back or 0))
    subscription = bus.subscribe(7, None if back is None else start)
    published = before
    got: list[int] = []

    def read(limit: int) -> bool:
        """One step of a reader; False when there is nothing for it."""
        if batch := subscription.take():
            got.extend(json.loads(text)["seq"] for text in batch)
        elif (after_seq := subscription.log_after()) is not None:
            page = log[after_seq : after_seq + limit]
            if not page:
                subscription.end_log(subscription.log_version())
            for event in page:
                subscription.skip_past(event.seq)
                got.append(event.seq)
        else:
            return False
        return True

    for step, number in steps:
        if step in {"commit", "flood"}:
            log += _events(len(log) + 1, number)
        elif step == "publish":
            bus.publish(7, log[published:])
            published = len(log)
        elif step == "lose":
            published = len(log)
            bus.begin(7, published)
        else:
            read(number)
    bus.publish(7, log[published:])
    while read(10):
        pass
    assert got == list(range(start + 1, len(log) + 1))
