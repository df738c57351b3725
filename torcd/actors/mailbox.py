"""Messages to an actor and the answers to them.

The supervisor owns the mailboxes, so that what is queued survives an actor's crash.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

from torcd.protocol.errors import Busy, TorcError

T = TypeVar("T")

MAILBOX_SIZE = 8192
"""Messages that may wait for one workflow; a caller beyond that is told to try again."""

GROUP_SIZE = 512
"""Most messages that one transaction takes: more would only lengthen the first one's wait."""


class Reply(Generic[T]):
    """The answer to one message, given once. Whoever waits may go away: nothing is cancelled by that."""

    __slots__ = ("_error", "_event", "_value", "is_given")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: T | None = None
        self._error: TorcError | None = None
        self.is_given = False

    def succeed(self, value: T) -> None:
        """Answers with a value."""
        self._value = value
        self._give()

    def fail(self, error: TorcError) -> None:
        """Answers with an expected failure."""
        self._error = error
        self._give()

    def _give(self) -> None:
        assert not self.is_given, "a message is answered once"
        self.is_given = True
        self._event.set()

    async def wait(self) -> T:
        """The value; raises the error."""
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # a given value may be None when T allows it


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A request, or something that an actor's own helper tells it, with the place for its answer."""

    body: object
    reply: Reply[object] = field(default_factory=Reply)


class Mailbox:
    """A bounded queue that outlives the actor which reads it."""

    def __init__(self, workflow_id: int) -> None:
        self._workflow_id = workflow_id
        self._send, self._receive = trio.open_memory_channel[Message](MAILBOX_SIZE)

    def put(self, body: object) -> Message:
        """Queues a message without waiting; raises Busy when too many wait already."""
        message = Message(body)
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            raise Busy(
                f"workflow {self._workflow_id} has {MAILBOX_SIZE} requests waiting: try again",
                limit=MAILBOX_SIZE,
            ) from None
        return message

    async def post(self, body: object) -> None:
        """Queues a message of the actor's own helpers, waiting for room when there is none."""
        await self._send.send(Message(body))

    async def get_group(self) -> list[Message]:
        """Waits for a message and takes what else is there."""
        return [await self._receive.receive(), *self._take(GROUP_SIZE - 1)]

    def take_all(self) -> list[Message]:
        """Empties the mailbox."""
        return self._take(MAILBOX_SIZE)

    def _take(self, most: int) -> list[Message]:
        taken: list[Message] = []
        while len(taken) < most:
            try:
                taken.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                break
        return taken

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.count == 0

    @property
    def count(self) -> int:
        """How many messages wait."""
        return self._receive.statistics().current_buffer_used
