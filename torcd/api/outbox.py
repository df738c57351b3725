"""The frames of one connection on their way out: one queue, one task that sends.

A send that is cancelled halfway leaves half a frame on the stream, and the websocket library does not know.
So sends happen in this task alone, which outlives the session, and a send that fails or takes too long makes
the connection unusable: `is_broken` then says that no frame, not even a closing one, may follow.
"""

import logging
import math
from collections.abc import Callable

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from torcd.api.limits import Limits
from torcd.protocol import rpc

logger = logging.getLogger(__name__)


class Outbox:
    """Sends frames in the order in which they were put."""

    def __init__(self, websocket: WebSocketConnection, limits: Limits) -> None:
        self._websocket = websocket
        self._send_s = limits.send_s
        # When it is full, the session's tasks wait: a peer that does not read holds up only itself.
        self._put, self._frames = trio.open_memory_channel[str](limits.queued_frames)
        self._finished = trio.Event()
        self.is_broken = False

    async def put(self, frame: str) -> None:
        """Queues a frame; waits, in order of arrival, while the queue is full. Does not yield otherwise."""
        if len(frame) > rpc.SOFT_FRAME:
            logger.debug("a frame of %d characters is sent; less than %d is wanted", len(frame), rpc.SOFT_FRAME)
        try:
            self._put.send_nowait(frame)
        except trio.WouldBlock:
            await self._put.send(frame)

    async def run(self, on_broken: Callable[[], None]) -> None:
        """Sends until `finish` was called and the queue is empty, or until the connection breaks."""
        try:
            # One scope with a moving deadline: a scope for each frame costs a tenth of a call.
            with trio.CancelScope() as sending:
                async for frame in self._frames:
                    sending.deadline = trio.current_time() + self._send_s
                    await self._websocket.send_message(frame)
                    sending.deadline = math.inf
            if sending.cancelled_caught:
                logger.warning("a peer has not read for %g s: its connection is dropped", self._send_s)
                self.is_broken = True
        except ConnectionClosed:
            self.is_broken = True
        finally:
            self._finished.set()
        if self.is_broken:
            on_broken()

    async def finish(self) -> None:
        """Takes no more frames and returns when all are sent or the connection is broken."""
        self._put.close()
        await self._finished.wait()
