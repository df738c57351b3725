"""How many connections the daemon can have open: each is a descriptor, and the usual soft limit is 1024."""

import resource

ENOUGH = 16 * 1024
"""All connections and strangers of `api.limits`, and the rest, with room to spare."""


def allow_descriptors() -> None:
    """Raises the soft limit as far as the hard one allows, so that strangers do not use up what others need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
