"""Fan-out of committed events and of progress to whoever follows a workflow.

The bus keeps the newest events of a followed workflow as text, once for all its subscriptions; a
subscription holds only its place in the log. A reader that is slower than the memory reaches back finds the
rest in the log, so publishing never waits and nothing grows with a slow reader. This module does no I/O and
knows neither connections nor storage: whoever drains a subscription reads the log itself, when told to.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import trio

from torcd.protocol.model import Event

RING_EVENTS = 1024
"""Events kept for each followed workflow: what a reader may be behind before it has to read the log."""

BATCH_EVENTS = 64
"""Most events taken from the memory at once, so that a drain holds few of them."""

_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> str:
    """The event as JSON text."""
    return _encoder.encode(event).decode()


class _Feed:
    """What the subscriptions of one workflow share. `next_seq` follows the newest event of `ring`.

    It is None as long as nothing was published since the feed was made, or since `begin` found unpublished events.
    """

    def __init__(self) -> None:
        self.ring: deque[str] = deque(maxlen=RING_EVENTS)
        self.next_seq: int | None = None
        self.version = 0
        """Counts publications and refreshes: as long as it stands, a log read to its end stays read."""
        self.progress = ""
        self.progress_count = 0
        self.is_closed = False
        self.changed = trio.Event()
        self.subscriptions: set[Subscription] = set()

    def notify(self) -> None:
        """Wakes every reader that sleeps."""
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    def append(self, events: Sequence[Event]) -> None:
        if self.next_seq is None:
            for subscription in self.subscriptions:
                subscription.start_at(events[0].seq)
        elif events[0].seq != self.next_seq:
            # Events that were committed but never published lie between: they are in the log alone.
            self.ring.clear()
        self.ring.extend(encode_event(event) for event in events[-RING_EVENTS:])
        self.next_seq = events[-1].seq + 1
        self.version += 1


class Subscription:
    """One reader's place in a workflow's events: every event once, in order, from the ring or from the log.

    The reader asks, in this order: `take`, `log_after`, `is_closed`. When none of them has anything, and
    before awaiting anything else, it waits on `changed`. Nothing is missed or comes twice, since the number
    of the next event decides it all. Closed by `close`.
    """

    def __init__(self, bus: "Bus", workflow_id: int, feed: _Feed, from_seq: int | None) -> None:
        self.workflow_id = workflow_id
        self.next_seq = bus.next_seq(workflow_id) if from_seq is None else from_seq + 1
        """The event that comes next; None: the first one published from now on."""
        self._bus = bus
        self._feed = feed
        self._progress_seen = feed.progress_count
        self._log_ended_at = feed.version if from_seq is None else -1
        feed.subscriptions.add(self)

    def start_at(self, seq: int) -> None:
        """Fixes the place of a subscription that waits for the first event."""
        if self.next_seq is None:
            self.next_seq = seq

    def take(self) -> list[str]:
        """The next events that are in memory, as JSON text; moves on past them."""
        feed = self._feed
        if self.next_seq is None or feed.next_seq is None:
            return []
        start = self.next_seq - (feed.next_seq - len(feed.ring))
        if start < 0:
            return []
        stop = min(start + BATCH_EVENTS, len(feed.ring))
        taken = [feed.ring[place] for place in range(start, stop)]
        self.next_seq += len(taken)
        return taken

    def log_after(self) -> int | None:
        """The event after which the log has to be read; None when memory suffices or the log has no more."""
        feed = self._feed
        if self.next_seq is None or self._log_ended_at == feed.version:
            return None
        if feed.next_seq is None or self.next_seq < feed.next_seq - len(feed.ring):
            return self.next_seq - 1
        return None

    def missing(self) -> tuple[int, int] | None:
        """First and last number of the events that left the memory before they were taken, if any did."""
        feed = self._feed
        if self.next_seq is None or feed.next_seq is None:
            return None
        oldest = feed.next_seq - len(feed.ring)
        return (self.next_seq, oldest - 1) if self.next_seq < oldest else None

    def log_version(self) -> int:
        """To be fetched before a read of the log and handed to `end_log` when that finds nothing."""
        return self._feed.version

    def end_log(self, version: int) -> None:
        """Says that the log held nothing more: no need to look again before the next publication."""
        self._log_ended_at = version

    def skip_past(self, seq: int) -> None:
        """Says that the events up to `seq` were taken from the log."""
        self.next_seq = seq + 1

    def has_progress(self) -> bool:
        """Whether there is progress that this reader has not taken."""
        return self._progress_seen != self._feed.progress_count

    def take_progress(self) -> str:
        """The newest progress as JSON text; what came before it is gone."""
        self._progress_seen = self._feed.progress_count
        return self._feed.progress

    @property
    def changed(self) -> trio.Event:
        """Set at the next publication, progress or end."""
        return self._feed.changed

    @property
    def is_closed(self) -> bool:
        """Whether the workflow was deleted: nothing comes any more."""
        return self._feed.is_closed

    def close(self) -> None:
        """Ends the subscription; with a workflow's last one its memory of events goes."""
        self._feed.subscriptions.discard(self)
        self._bus.forget(self.workflow_id, self._feed)


class Bus:
    """Every followed workflow's feed."""

    def __init__(self) -> None:
        self._feeds: dict[int, _Feed] = {}
        self._last: dict[int, int] = {}
        """Of each workflow whose actor has begun: the number of the event that was published last."""

    def begin(self, workflow_id: int, last_seq: int) -> None:
        """Tells up to which event a workflow's log goes, when its state has been loaded.

        What lies between that and the event published last was committed and never published: followers, also those
        who asked for what comes from now on, find it in the log.
        """
        published = self._last.get(workflow_id, last_seq)
        self._last[workflow_id] = last_seq
        feed = self._feeds.get(workflow_id)
        if feed is None:
            return
        for subscription in feed.subscriptions:
            subscription.start_at(published + 1)
        if last_seq > published:
            feed.ring.clear()
            feed.next_seq = None
            feed.version += 1
            feed.notify()

    def next_seq(self, workflow_id: int) -> int | None:
        """The number of the event that is published next; None before the workflow's actor has begun."""
        last = self._last.get(workflow_id)
        return None if last is None else last + 1

    @property
    def subscription_count(self) -> int:
        """How many subscriptions there are."""
        return sum(len(feed.subscriptions) for feed in self._feeds.values())

    def publish(self, workflow_id: int, events: Sequence[Event]) -> None:
        """Hands out committed events, numbered without gaps. Never blocks; cheap when nobody follows."""
        if not events:
            return
        self._last[workflow_id] = events[-1].seq
        feed = self._feeds.get(workflow_id)
        if feed is None:
            return
        feed.append(events)
        feed.notify()

    def progress(self, workflow_id: int, progress: Mapping[str, Any]) -> None:
        """Hands out how far something is; only the newest counts."""
        feed = self._feeds.get(workflow_id)
        if feed is None:
            return
        feed.progress = _encoder.encode(progress).decode()
        feed.progress_count += 1
        feed.notify()

    def close_workflow(self, workflow_id: int) -> None:
        """Ends the subscriptions of a deleted workflow, after what is in memory."""
        self._last.pop(workflow_id, None)
        feed = self._feeds.pop(workflow_id, None)
        if feed is not None:
            feed.is_closed = True
            feed.notify()

    def subscribe(self, workflow_id: int, from_seq: int | None) -> Subscription:
        """A place after event `from_seq`, or with None at the first event published from now on."""
        feed = self._feeds.setdefault(workflow_id, _Feed())
        return Subscription(self, workflow_id, feed, from_seq)

    def forget(self, workflow_id: int, feed: _Feed) -> None:
        """Drops a feed that nobody reads any more."""
        if not feed.subscriptions and self._feeds.get(workflow_id) is feed:
            del self._feeds[workflow_id]
