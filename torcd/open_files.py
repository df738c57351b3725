"""The limit of open files: as high as it may be for the daemon, as it was before for what it starts.

Programs that use select, or close every descriptor that they might have, do badly with a high one.
"""

import resource
from collections.abc import Sequence

_before: list[int] = []
"""The soft limit that was raised."""

LOWER = 'ulimit -S -n "$0" && exec "$@"'


def raise_limit() -> int:
    """Raises the soft limit to the hard one, which may be done by anybody; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _before.append(soft)
    return hard


def with_limit_of_before(argv: Sequence[str]) -> list[str]:
    """The command line that runs this one with the limit that the daemon was started with."""
    return ["/bin/sh", "-c", LOWER, str(_before[0]), *argv] if _before else list(argv)
