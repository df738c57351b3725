"""Moves one subscription's events and progress to a connection, at the speed of its peer.

It holds the number of the next event and nothing else: a peer that does not read makes it wait, and what it
missed meanwhile comes from the log.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from torcd.bus import Subscription, encode_event
from torcd.protocol import rpc
from torcd.protocol.model import Event

ReadEvents = Callable[[int, int, int], Awaitable[list[Event]]]
"""Reads the log: workflow_id, after_seq, limit."""

PAGE_EVENTS = 256
"""Events read from the log at once: a read costs about as much as a hundred events."""

PROGRESS_INTERVAL_S = 0.1
"""Nobody reads faster than ten times a second, and a hundred followers would keep the daemon busy."""


class Pump:
    """Drains one subscription. `number` is its name on the connection; `put` queues a frame."""

    def __init__(
        self,
        number: int,
        subscription: Subscription,
        read_events: ReadEvents,
        put: Callable[[str], Awaitable[None]],
        *,
        wants_progress: bool,
    ) -> None:
        self._number = number
        self._subscription = subscription
        self._read_events = read_events
        self._put = put
        self._wants_progress = wants_progress
        self._progress_from = -math.inf
        # A subscription that has caught up once and needs the log again has fallen behind, and is told so.
        self._is_live = subscription.log_after() is None

    async def run(self) -> None:
        """Goes on until cancelled, or until the workflow is deleted."""
        subscription = self._subscription
        while True:
            if self._progress_due() <= trio.current_time():
                await self._put_progress()
            elif batch := subscription.take():
                self._is_live = True
                for text in batch:
                    await self._put_event(text)
            elif (after_seq := subscription.log_after()) is not None:
                await self._put_from_log(after_seq)
            elif subscription.is_closed:
                await self.put_end("the workflow was deleted")
                return
            else:
                self._is_live = True
                changed = subscription.changed
                with trio.move_on_at(self._progress_due()):
                    await changed.wait()

    async def put_end(self, reason: str) -> None:
        """Tells the peer that nothing comes any more."""
        await self._put_notification("ended", reason=reason)

    def _progress_due(self) -> float:
        """When progress is to be sent, on trio's clock; infinite when there is none."""
        if self._wants_progress and self._subscription.has_progress():
            return self._progress_from
        return math.inf

    async def _put_progress(self) -> None:
        self._progress_from = trio.current_time() + PROGRESS_INTERVAL_S
        progress = msgspec.Raw(self._subscription.take_progress().encode())
        await self._put_notification("progress", progress=progress)

    async def _put_event(self, text: str) -> None:
        # Put together by hand: the event was encoded once for all subscriptions.
        await self._put(
            f'{{"jsonrpc":"2.0","method":"event","params":{{"subscription":{self._number},"event":{text}}}}}'
        )

    async def _put_from_log(self, after_seq: int) -> None:
        subscription = self._subscription
        missing = subscription.missing()
        if self._is_live and missing:
            await self._put_notification("lagged", from_seq=missing[0], to_seq=missing[1])
        self._is_live = False
        version = subscription.log_version()
        events = await self._read_events(subscription.workflow_id, after_seq, PAGE_EVENTS)
        if not events:
            subscription.end_log(version)
        for event in events:
            subscription.skip_past(event.seq)
            await self._put_event(encode_event(event))

    async def _put_notification(self, method: str, **params: Any) -> None:
        frame = rpc.encode_notification(method, {"subscription": self._number, **params})
        await self._put(frame.decode())
