"""Large pieces of work in a thread, which may be refused when much of them is made.

An exception that leaves trio's threads is part of a cycle, with the frames it came through and all that was made in
them: hundreds of megabytes that would stay until the garbage collector looks at the oldest generation, which is seldom.
"""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from torcd.protocol.errors import TorcError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def work_in_thread(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """What `work` returns; raises the TorcError that it raised, without its frames. Cancelling abandons the thread."""
    done = await trio.to_thread.run_sync(_attempt, work, arguments, abandon_on_cancel=True)
    if isinstance(done, TorcError):
        try:
            raise done
        finally:
            del done  # the frame must not hold the exception that holds the frame
    return done


def _attempt(work: Callable[[*Ts], T], arguments: tuple[*Ts]) -> T | TorcError:
    try:
        return work(*arguments)
    except TorcError as error:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
