"""Lets little of a stranger's in: a stream that ends its connection after so many bytes, until it is opened."""

from collections.abc import Callable

import trio


class Gate(trio.abc.Stream):
    """A stream around another, whose peer has not said who it is yet."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        limit_bytes: int,
        *,
        on_excess: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        """`on_excess` is called when the peer has sent more than the limit, `on_end` when it has gone before that."""
        self._stream = stream
        self._left: float = limit_bytes
        self._on_excess = on_excess
        self._on_end = on_end

    def open(self) -> None:
        """Lets everything in from now on."""
        self._left = float("inf")

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What the peer sends. After too much of it nothing more comes, not even an end."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._on_end()
            raise
        if not data:
            self._on_end()
        self._left -= len(data)
        if self._left < 0:
            self._on_excess()
            await trio.sleep_forever()  # whoever reads is cancelled when the connection is closed
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, whether open or not."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As of the stream inside."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Closes the stream inside."""
        await self._stream.aclose()
