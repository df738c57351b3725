"""What an actor is at, and when it last got on: noted by itself, read by whoever asks how the daemon is."""

import trio

from torcd.core.health import LOAD
from torcd.protocol.requests import Request


class Activity:
    """Of one actor, from its first moment on."""

    def __init__(self) -> None:
        self.at: str | None = LOAD
        """What it handles; None: nothing."""
        self.progress_at = trio.current_time()

    def begin(self, body: object) -> None:
        """It takes up a message."""
        self.at = body.METHOD if isinstance(body, Request) else type(body).__name__
        self.progress_at = trio.current_time()

    def rest(self) -> None:
        """It has handled what it took."""
        self.at = None
        self.progress_at = trio.current_time()
