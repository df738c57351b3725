"""The daemon's token: whoever knows it may talk to the daemon from another host.

It lives in memory and in the connection file, nowhere else, and ends with the daemon. Replacing it ends the
sessions that were let in with the former one.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable

import trio

TOKEN_BYTES = 32


class Token:
    """The token and who came in with it."""

    def __init__(self, value: str | None = None) -> None:
        """`value`: instead of a new one."""
        self._value = value or _new_value()
        self._next: str | None = None
        """Written or about to be: somebody may have read it already."""
        self._replacing = trio.Lock()
        self._admitted: dict[object, Callable[[], None]] = {}

    @property
    def value(self) -> str:
        """The token; for the connection file only."""
        return self._value

    def accepts(self, given: str) -> bool:
        """Whether this is the token, in a time that does not depend on how much of it is right."""
        known = [self._value] if self._next is None else [self._value, self._next]
        matches = [hmac.compare_digest(given.encode(), value.encode()) for value in known]
        return True in matches

    def admit(self, session: object, end: Callable[[], None]) -> None:
        """Remembers a session that was let in; `end` ends it when the token is replaced."""
        self._admitted[session] = end

    def forget(self, session: object) -> None:
        """A session has ended; again is fine."""
        self._admitted.pop(session, None)

    async def replace(self, save: Callable[[str], Awaitable[None]], keep: object = None) -> int:
        """Saves a new token, which holds from then on, and ends the sessions but `keep`; how many.

        When `save` raises or is cancelled the former token still holds, and no session is ended.
        """
        async with self._replacing:  # what is saved last must be what holds
            new = self._next = _new_value()
            try:
                await save(new)
            finally:
                self._next = None
            self._value = new
        ended = [end for session, end in self._admitted.items() if session is not keep]
        for end in ended:
            end()
        return len(ended)


def _new_value() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)
