"""How many connections the operating system lets this process have."""

import logging
import resource

import msgspec

from torcd.api.limits import Limits

logger = logging.getLogger(__name__)

RESERVED = 64
"""Descriptors for everything but connections: the database, the helpers that scan files, the event loop."""


def fit(limits: Limits, descriptors: int) -> Limits:
    """The limits with no more connections than there can be, so that one too many gets an answer that says so.

    Without that it would wait unanswered until another one ends. A quarter at most is for strangers.
    """
    heard, waiting = (min(most, descriptors // 8) for most in (limits.heard_strangers, limits.strangers))
    reserved = RESERVED + heard + waiting
    if descriptors == resource.RLIM_INFINITY or limits.connections <= descriptors - reserved:
        return limits
    connections = max(1, descriptors - reserved)
    logger.warning(
        "at most %d connections are served, not %d: the hard limit of open files (ulimit -Hn) is %d",
        connections,
        limits.connections,
        descriptors,
    )
    return msgspec.structs.replace(limits, connections=connections, heard_strangers=heard, strangers=waiting)
