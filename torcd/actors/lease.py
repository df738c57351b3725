"""How long a worker may stay away before its jobs are taken from it (SEMANTICS 8.4)."""

from torcd.actors.settings import parse_seconds

LEASE_S = 60.0
"""Unless the user says otherwise: a restart of the daemon and a hiccup of the network are over by then."""

SHORTEST_S, LONGEST_S = 1.0, 7 * 86400.0
"""A worker tries to come back several times in a lease, and each takes its time."""

STEPS = 20
"""A lease is counted in so many steps. What a step takes longer than it should, this process did not run: the
machine was suspended, or the daemon stopped. Nobody could have come back to it in that time, and it does not count."""


def parse_lease(text: str | None) -> float:
    """The lease that a setting stands for, in seconds; raises Refused."""
    return parse_seconds(
        text,
        name="lease",
        where="torcd --lease, TORCD_LEASE or config.toml",
        default_s=LEASE_S,
        shortest_s=SHORTEST_S,
        longest_s=LONGEST_S,
    )
